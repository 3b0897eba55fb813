//! The replay windows of all publishers: a bounded set of them.
//!
//! # The bound, and which window is dropped when it is reached
//!
//! When a window is dropped, its publisher's old messages can be replayed, and
//! peer ids cost nothing: an attacker who wants to replay somebody's messages would
//! make ids until that window is dropped. So the set does not simply drop the window
//! that was used least recently. It keeps two kinds:
//!
//! - **Established** publishers came back: they published again
//!   [`ESTABLISHED_AFTER`] or later after their first message. No new publisher pushes
//!   them out. Only another that is to become established replaces the one that was
//!   silent for longest, and only when that one was silent for [`SILENT_AFTER`] or more.
//! - **New** publishers are sorted into [`LANES`] lanes by the peer that forwarded
//!   their first message, under a hash that changes with every start. When the set is
//!   full, the longest lane drops its least recent publisher. A peer that sends
//!   thousands of made-up publishers over one connection has the longest lane and
//!   pushes out its own.
//!
//! An attacker who waits can make ids established as well, but over one connection no
//! more than an eighth of those that may be ([`ESTABLISHED_PER_LANE`]), and publishers
//! that were established before stay. What remains possible: a publisher that has been
//! known for less than [`ESTABLISHED_AFTER`] can be pushed out by a flood that comes
//! through its own lane, or through most lanes at once, and then the few messages that
//! it has sent can be replayed once.
//!
//! The bound is [`MAX_PUBLISHERS`]. A window with its entry in the set takes
//! [`BYTES_PER_PUBLISHER`], so a full set is under 2 MiB.

mod rows;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use libp2p::PeerId;

use super::window::{Refused, Window};
pub use rows::{Changes, Id, Mark, Row, id_of};

/// Publishers whose windows are kept. A network whose topics have more active
/// publishers than this wants a rate limit before it wants more windows.
pub const MAX_PUBLISHERS: usize = 16_384;

/// Established publishers among them, at most: half, so that there is always room
/// for new ones.
pub const MAX_ESTABLISHED: usize = MAX_PUBLISHERS / 2;

/// Of these, at most so many whose first message came through one lane. A
/// mesh has some eight neighbours, so a node whose neighbours are all honest
/// can still fill the set.
pub const ESTABLISHED_PER_LANE: usize = MAX_ESTABLISHED / 8;

/// Seconds from a publisher's first message to the one that establishes it.
/// Long enough that a flood is over or its sender banned by then.
pub const ESTABLISHED_AFTER: u32 = 600;

/// Seconds of silence after which an established publisher may be replaced by
/// another: a week, so that one that publishes on workdays only stays.
pub const SILENT_AFTER: u32 = 7 * 86_400;

/// Lanes of introducing peers. With more of them than a mesh has neighbours,
/// an attacker rarely shares one with an honest neighbour.
pub const LANES: usize = 256;

/// Memory of one publisher: its entry, and the one in the index with the slack of a
/// hash map.
pub const BYTES_PER_PUBLISHER: usize = size_of::<Entry>() + 2 * (size_of::<(Id, u32)>() + 1);

/// No entry: the end of a list.
const NONE: u32 = u32::MAX;

/// What is known of a publisher, linked into the list of its lane or of the
/// established ones.
#[derive(Clone, Copy, Debug)]
struct Entry {
    id: Id,
    window: Window,
    first: u32,
    last: u32,
    older: u32,
    newer: u32,
    lane: u8,
    established: bool,
    changed: bool,
    /// Whether a row of it was ever given out to be stored.
    stored: bool,
}

/// A list of entries in the order in which they were used.
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
    entries: Vec<Entry>,
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
            entries: Vec::new(),
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
            let at = self.add(Entry {
                id: row.id,
                window: Window::from_parts(row.highest, row.seen),
                first: row.first,
                last: row.last,
                older: NONE,
                newer: NONE,
                lane: row.lane,
                established: row.established && self.has_room_for_established(row.lane),
                changed: false,
                stored: true,
            });
            self.link(at);
        }
    }

    /// How many publishers there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no publishers.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many of them are established.
    pub fn established(&self) -> usize {
        self.established.len
    }

    /// The lane of the publishers whose first message `peer` forwards. It differs from
    /// one start of a node to the next.
    pub fn lane_of(&self, peer: &PeerId) -> u8 {
        self.lane_hash.hash_one(peer) as u8
    }

    /// Whether [`Self::accept`] would refuse `number` of `id` now.
    ///
    /// # Errors
    /// Why it would.
    pub fn check(&self, id: &Id, number: u64) -> Result<(), Refused> {
        match self.index.get(id) {
            Some(at) => self.entries[*at as usize].window.check(number),
            None => Ok(()),
        }
    }

    /// Marks a message as seen. A publisher seen for the first time gets a
    /// window, and that of another may be dropped.
    ///
    /// # Errors
    /// Why the window refuses it; nothing has changed then.
    pub fn accept(&mut self, mark: Mark) -> Result<(), Refused> {
        if let Some(&at) = self.index.get(&mark.id) {
            let entry = &mut self.entries[at as usize];
            entry.window.accept(mark.number)?;
            entry.last = entry.last.max(mark.at);
            entry.changed = true;
            self.unlink(at);
            self.establish(at);
            self.link(at);
            return Ok(());
        }
        if self.entries.len() >= self.max {
            self.make_room();
        }
        let mut window = Window::default();
        window.accept(mark.number)?;
        let at = self.add(Entry {
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

    /// What has changed and has to be stored.
    pub fn take_changes(&mut self) -> Changes {
        let mut rows = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| entry.changed) {
            entry.changed = false;
            entry.stored = true;
            rows.push(Row {
                id: entry.id,
                highest: entry.window.highest(),
                seen: entry.window.seen(),
                first: entry.first,
                last: entry.last,
                lane: entry.lane,
                established: entry.established,
            });
        }
        Changes {
            rows,
            gone: std::mem::take(&mut self.gone),
        }
    }

    /// Takes back changes that could not be stored.
    pub fn give_back(&mut self, changes: Changes) {
        for row in changes.rows {
            if let Some(&at) = self.index.get(&row.id) {
                self.entries[at as usize].changed = true;
            }
        }
        // Ids that are in the set again are stored anew, after these are removed.
        self.gone.extend(changes.gone);
    }

    /// Makes the publisher at `at`, which is in no list now, established if it has
    /// been known for long enough and there is room.
    fn establish(&mut self, at: u32) {
        let entry = &self.entries[at as usize];
        let lane = entry.lane;
        if entry.established || entry.last.saturating_sub(entry.first) < ESTABLISHED_AFTER {
            return;
        }
        if self.established.len >= self.max_established {
            let oldest = self.established.oldest;
            let silent = entry
                .last
                .saturating_sub(self.entries[oldest as usize].last);
            let room_in_lane = self.established_of_lane[usize::from(lane)]
                < self.max_established_per_lane
                || self.entries[oldest as usize].lane == lane;
            if silent < SILENT_AFTER || !room_in_lane {
                return;
            }
            self.unlink(oldest);
            let demoted = &mut self.entries[oldest as usize];
            demoted.established = false;
            demoted.changed = true;
            self.link_oldest(oldest);
        }
        if self.has_room_for_established(lane) {
            let entry = &mut self.entries[at as usize];
            entry.established = true;
        }
    }

    fn has_room_for_established(&self, lane: u8) -> bool {
        self.established.len < self.max_established
            && self.established_of_lane[usize::from(lane)] < self.max_established_per_lane
    }

    /// Drops the least recent publisher of the longest lane. There always is
    /// one: at most half of the set is established.
    fn make_room(&mut self) {
        let longest = self.lanes.iter().max_by_key(|lane| lane.len);
        let Some(at) = longest.map(|lane| lane.oldest).filter(|at| *at != NONE) else {
            return;
        };
        self.unlink(at);
        let entry = self.entries.swap_remove(at as usize);
        self.index.remove(&entry.id);
        if entry.stored {
            self.gone.push(entry.id);
        }
        // The last entry has moved into the gap.
        let Some(moved) = self.entries.get(at as usize).copied() else {
            return;
        };
        self.index.insert(moved.id, at);
        match moved.older {
            NONE => self.list_mut(&moved).oldest = at,
            older => self.entries[older as usize].newer = at,
        }
        match moved.newer {
            NONE => self.list_mut(&moved).newest = at,
            newer => self.entries[newer as usize].older = at,
        }
    }

    /// Adds an entry, to no list yet.
    fn add(&mut self, entry: Entry) -> u32 {
        let at = self.entries.len() as u32;
        self.index.insert(entry.id, at);
        self.entries.push(entry);
        at
    }

    fn list_mut(&mut self, entry: &Entry) -> &mut List {
        if entry.established {
            &mut self.established
        } else {
            &mut self.lanes[usize::from(entry.lane)]
        }
    }

    /// Adds `at` to its list as the one used last.
    fn link(&mut self, at: u32) {
        let entry = self.entries[at as usize];
        let list = self.list_mut(&entry);
        let older = std::mem::replace(&mut list.newest, at);
        list.len += 1;
        if older == NONE {
            list.oldest = at;
        } else {
            self.entries[older as usize].newer = at;
        }
        let linked = &mut self.entries[at as usize];
        (linked.older, linked.newer) = (older, NONE);
        self.count(&entry, 1);
    }

    /// Adds `at` to its list as the one used longest ago.
    fn link_oldest(&mut self, at: u32) {
        let entry = self.entries[at as usize];
        let list = self.list_mut(&entry);
        let newer = std::mem::replace(&mut list.oldest, at);
        list.len += 1;
        if newer == NONE {
            list.newest = at;
        } else {
            self.entries[newer as usize].older = at;
        }
        let linked = &mut self.entries[at as usize];
        (linked.older, linked.newer) = (NONE, newer);
        self.count(&entry, 1);
    }

    /// Removes `at` from its list.
    fn unlink(&mut self, at: u32) {
        let entry = self.entries[at as usize];
        match entry.older {
            NONE => self.list_mut(&entry).oldest = entry.newer,
            older => self.entries[older as usize].newer = entry.newer,
        }
        match entry.newer {
            NONE => self.list_mut(&entry).newest = entry.older,
            newer => self.entries[newer as usize].older = entry.older,
        }
        self.list_mut(&entry).len -= 1;
        self.count(&entry, -1);
    }

    fn count(&mut self, entry: &Entry, change: isize) {
        if entry.established {
            let count = &mut self.established_of_lane[usize::from(entry.lane)];
            *count = count.saturating_add_signed(change);
        }
    }
}

#[cfg(test)]
mod tests;
