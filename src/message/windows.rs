//! The replay windows of all publishers: a bounded set of them.
//!
//! # Which bound, and what goes when it is reached
//!
//! A window that is forgotten opens its publisher's old messages to replay, and
//! peer ids cost nothing: whoever wants to replay somebody's messages would make
//! ids until that window falls out. So the set does not simply forget the window
//! that was used least recently. It keeps two kinds:
//!
//! - **Established** publishers came back: they published again
//!   [`ESTABLISHED_AFTER`] or later after their first message. No newcomer pushes
//!   them out. Only another that would be established takes the place of the one
//!   that was silent for longest, and only when that was [`SILENT_AFTER`] or more.
//! - **New** publishers are sorted into [`LANES`] lanes by the peer that handed
//!   their first message on, under a hash that changes with every start. When
//!   there is no place left, the longest lane gives up its least recent
//!   publisher. Whoever sends thousands of made-up publishers over one connection
//!   has the longest lane and pushes out his own.
//!
//! An attacker who waits can make his ids established as well; over one
//! connection he gets no more than an eighth of those places
//! ([`ESTABLISHED_PER_LANE`]), and whoever was established before him stays.
//! What remains open: a publisher who is known for less than
//! [`ESTABLISHED_AFTER`] can be pushed out by a flood that comes through the same
//! lane as he, or through most lanes at once, and then those few messages of his
//! can be replayed once.
//!
//! The bound is [`MAX_PUBLISHERS`]. A window with its place in the set takes
//! [`BYTES_PER_PUBLISHER`], so a full set is under 2 MiB.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use libp2p::PeerId;
use sha2::{Digest, Sha256};

use super::window::{Refused, Window};

/// Publishers whose windows are kept. A network whose topics have more active
/// publishers than this wants a rate limit before it wants more windows.
pub const MAX_PUBLISHERS: usize = 16_384;

/// Established publishers among them, at most: half, so that newcomers always
/// find a place.
pub const MAX_ESTABLISHED: usize = MAX_PUBLISHERS / 2;

/// Of these, at most so many whose first message came through one lane. A
/// mesh has some eight neighbours, so a node whose neighbours are all honest
/// can still fill every place.
pub const ESTABLISHED_PER_LANE: usize = MAX_ESTABLISHED / 8;

/// Seconds from a publisher's first message to the one that establishes it.
/// Long enough that a flood is over or its sender banned by then.
pub const ESTABLISHED_AFTER: u32 = 600;

/// Seconds of silence after which an established publisher may lose its place
/// to another: a week, so that who speaks on workdays only keeps it.
pub const SILENT_AFTER: u32 = 7 * 86_400;

/// Lanes of introducing peers. With more of them than a mesh has neighbours,
/// an attacker rarely shares one with an honest neighbour.
pub const LANES: usize = 256;

/// Memory of one publisher: a place in the list and its entry in the index with
/// the slack of a hash map.
pub const BYTES_PER_PUBLISHER: usize = size_of::<Place>() + 2 * (size_of::<(Id, u32)>() + 1);

/// What a publisher is known by: the first half of the SHA-256 of its peer id.
/// A peer id takes up to 80 bytes of memory; half a hash takes 16, and making
/// an id that meets another's takes 2^128 tries.
pub type Id = [u8; 16];

/// The id of `peer` in the set.
pub fn id_of(peer: &PeerId) -> Id {
    let digest = Sha256::digest(peer.to_bytes());
    let mut id = Id::default();
    let half = id.len();
    id.copy_from_slice(&digest[..half]);
    id
}

/// A window as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose.
    pub id: Id,
    /// [`Window::highest`].
    pub highest: u64,
    /// [`Window::seen`].
    pub seen: u64,
    /// When the first message was accepted, in seconds since the Unix epoch.
    pub first: u32,
    /// When the last message was accepted, in seconds since the Unix epoch.
    pub last: u32,
    /// The lane it came through.
    pub lane: u8,
    /// Whether it is established.
    pub established: bool,
}

/// One accepted message, as it is written down before it is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whose.
    pub id: Id,
    /// Its sequence number.
    pub number: u64,
    /// When, in seconds since the Unix epoch.
    pub at: u32,
    /// The lane it came through.
    pub lane: u8,
}

/// What changed since the last time that this was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Windows that are new or differ.
    pub rows: Vec<Row>,
    /// Windows that are no more and were stored.
    pub gone: Vec<Id>,
}

/// No place: the end of a list.
const NONE: u32 = u32::MAX;

/// A publisher's place in the set, and in the list of its lane or of the
/// established ones.
#[derive(Clone, Copy, Debug)]
struct Place {
    id: Id,
    window: Window,
    first: u32,
    last: u32,
    older: u32,
    newer: u32,
    lane: u8,
    established: bool,
    changed: bool,
    /// Whether a row of it was ever handed out to be stored.
    stored: bool,
}

/// Places in the order in which they were used.
#[derive(Clone, Copy, Debug)]
struct List {
    oldest: u32,
    newest: u32,
    len: usize,
}

impl List {
    const EMPTY: List = List {
        oldest: NONE,
        newest: NONE,
        len: 0,
    };
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Windows {
    max: usize,
    max_established: usize,
    max_established_per_lane: usize,
    index: HashMap<Id, u32>,
    places: Vec<Place>,
    /// Publishers that are new, by lane.
    lanes: Vec<List>,
    established: List,
    established_of_lane: Vec<usize>,
    lane_hash: RandomState,
    gone: Vec<Id>,
}

impl Default for Windows {
    fn default() -> Self {
        Self::with_bound(MAX_PUBLISHERS)
    }
}

impl Windows {
    /// An empty set of at most `max` publishers, a multiple of 16.
    fn with_bound(max: usize) -> Self {
        Windows {
            max,
            max_established: max / 2,
            max_established_per_lane: max / 16,
            index: HashMap::new(),
            places: Vec::new(),
            lanes: vec![List::EMPTY; LANES],
            established: List::EMPTY,
            established_of_lane: vec![0; LANES],
            lane_hash: RandomState::new(),
            gone: Vec::new(),
        }
    }

    /// The set that was stored as `rows`: all of them, or the ones used last.
    pub fn restore(rows: Vec<Row>) -> Self {
        let mut windows = Self::default();
        windows.take_in(rows);
        windows
    }

    fn take_in(&mut self, mut rows: Vec<Row>) {
        rows.sort_by_key(|row| row.last);
        let excess = rows.len().saturating_sub(self.max);
        for row in rows.drain(..excess) {
            self.gone.push(row.id);
        }
        for row in rows {
            if self.index.contains_key(&row.id) {
                continue;
            }
            let at = self.add(Place {
                id: row.id,
                window: Window::from_parts(row.highest, row.seen),
                first: row.first,
                last: row.last,
                older: NONE,
                newer: NONE,
                lane: row.lane,
                established: row.established && self.has_established_place(row.lane),
                changed: false,
                stored: true,
            });
            self.link(at);
        }
    }

    /// How many publishers there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many of them are established.
    pub fn established(&self) -> usize {
        self.established.len
    }

    /// The lane of publishers that `peer` introduces. No two starts of a node
    /// agree on it.
    pub fn lane_of(&self, peer: &PeerId) -> u8 {
        self.lane_hash.hash_one(peer) as u8
    }

    /// Whether [`Self::accept`] would refuse `number` of `id` now.
    ///
    /// # Errors
    /// Why.
    pub fn check(&self, id: &Id, number: u64) -> Result<(), Refused> {
        match self.index.get(id) {
            Some(at) => self.places[*at as usize].window.check(number),
            None => Ok(()),
        }
    }

    /// Marks a message as seen. A publisher seen for the first time gets a
    /// window, and another one may lose its own.
    ///
    /// # Errors
    /// What the window says against it; nothing has changed then.
    pub fn accept(&mut self, mark: Mark) -> Result<(), Refused> {
        if let Some(&at) = self.index.get(&mark.id) {
            let place = &mut self.places[at as usize];
            place.window.accept(mark.number)?;
            place.last = place.last.max(mark.at);
            place.changed = true;
            self.unlink(at);
            self.establish(at);
            self.link(at);
            return Ok(());
        }
        if self.places.len() >= self.max {
            self.make_room();
        }
        let mut window = Window::default();
        window.accept(mark.number)?;
        let at = self.add(Place {
            id: mark.id,
            window,
            first: mark.at,
            last: mark.at,
            older: NONE,
            newer: NONE,
            lane: mark.lane,
            established: false,
            changed: true,
            stored: false,
        });
        self.link(at);
        Ok(())
    }

    /// What is to be stored to have all of it stored.
    pub fn take_changes(&mut self) -> Changes {
        let mut rows = Vec::new();
        for place in self.places.iter_mut().filter(|place| place.changed) {
            place.changed = false;
            place.stored = true;
            rows.push(Row {
                id: place.id,
                highest: place.window.highest(),
                seen: place.window.seen(),
                first: place.first,
                last: place.last,
                lane: place.lane,
                established: place.established,
            });
        }
        Changes {
            rows,
            gone: std::mem::take(&mut self.gone),
        }
    }

    /// Undoes [`Self::take_changes`] when they could not be stored.
    pub fn give_back(&mut self, changes: Changes) {
        for row in changes.rows {
            if let Some(&at) = self.index.get(&row.id) {
                self.places[at as usize].changed = true;
            }
        }
        // Ids that are in the set again are stored anew, after these are removed.
        self.gone.extend(changes.gone);
    }

    /// Establishes the publisher at `at`, in no list at present, when it is time
    /// for that and there is a place.
    fn establish(&mut self, at: u32) {
        let place = &self.places[at as usize];
        let lane = place.lane;
        if place.established || place.last.saturating_sub(place.first) < ESTABLISHED_AFTER {
            return;
        }
        if self.established.len >= self.max_established {
            let oldest = self.established.oldest;
            let silent = place.last.saturating_sub(self.places[oldest as usize].last);
            let room_in_lane = self.established_of_lane[usize::from(lane)]
                < self.max_established_per_lane
                || self.places[oldest as usize].lane == lane;
            if silent < SILENT_AFTER || !room_in_lane {
                return;
            }
            self.unlink(oldest);
            let demoted = &mut self.places[oldest as usize];
            demoted.established = false;
            demoted.changed = true;
            self.link_oldest(oldest);
        }
        if self.has_established_place(lane) {
            let place = &mut self.places[at as usize];
            place.established = true;
        }
    }

    fn has_established_place(&self, lane: u8) -> bool {
        self.established.len < self.max_established
            && self.established_of_lane[usize::from(lane)] < self.max_established_per_lane
    }

    /// Forgets the least recent publisher of the longest lane. There always is
    /// one: the established ones are half of the set at most.
    fn make_room(&mut self) {
        let longest = self.lanes.iter().max_by_key(|lane| lane.len);
        let Some(at) = longest.map(|lane| lane.oldest).filter(|at| *at != NONE) else {
            return;
        };
        self.unlink(at);
        let place = self.places.swap_remove(at as usize);
        self.index.remove(&place.id);
        if place.stored {
            self.gone.push(place.id);
        }
        // The last place has moved into the gap.
        let Some(moved) = self.places.get(at as usize).copied() else {
            return;
        };
        self.index.insert(moved.id, at);
        match moved.older {
            NONE => self.list_mut(&moved).oldest = at,
            older => self.places[older as usize].newer = at,
        }
        match moved.newer {
            NONE => self.list_mut(&moved).newest = at,
            newer => self.places[newer as usize].older = at,
        }
    }

    /// Adds a place, in no list yet.
    fn add(&mut self, place: Place) -> u32 {
        let at = self.places.len() as u32;
        self.index.insert(place.id, at);
        self.places.push(place);
        at
    }

    fn list_mut(&mut self, place: &Place) -> &mut List {
        if place.established {
            &mut self.established
        } else {
            &mut self.lanes[usize::from(place.lane)]
        }
    }

    /// Puts `at` into its list as the one used last.
    fn link(&mut self, at: u32) {
        let place = self.places[at as usize];
        let list = self.list_mut(&place);
        let older = std::mem::replace(&mut list.newest, at);
        list.len += 1;
        if older == NONE {
            list.oldest = at;
        } else {
            self.places[older as usize].newer = at;
        }
        let linked = &mut self.places[at as usize];
        (linked.older, linked.newer) = (older, NONE);
        self.count(&place, 1);
    }

    /// Puts `at` into its list as the one used longest ago.
    fn link_oldest(&mut self, at: u32) {
        let place = self.places[at as usize];
        let list = self.list_mut(&place);
        let newer = std::mem::replace(&mut list.oldest, at);
        list.len += 1;
        if newer == NONE {
            list.newest = at;
        } else {
            self.places[newer as usize].older = at;
        }
        let linked = &mut self.places[at as usize];
        (linked.older, linked.newer) = (NONE, newer);
        self.count(&place, 1);
    }

    /// Takes `at` out of its list.
    fn unlink(&mut self, at: u32) {
        let place = self.places[at as usize];
        match place.older {
            NONE => self.list_mut(&place).oldest = place.newer,
            older => self.places[older as usize].newer = place.newer,
        }
        match place.newer {
            NONE => self.list_mut(&place).newest = place.older,
            newer => self.places[newer as usize].older = place.older,
        }
        self.list_mut(&place).len -= 1;
        self.count(&place, -1);
    }

    fn count(&mut self, place: &Place, change: isize) {
        if place.established {
            let count = &mut self.established_of_lane[usize::from(place.lane)];
            *count = count.saturating_add_signed(change);
        }
    }
}

#[cfg(test)]
mod tests;
