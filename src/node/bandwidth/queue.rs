//! Who may move bytes next: one token bucket, and the peers that wait for it.
//! Pure: time comes as an argument, and the tasks to wake are returned as a list.
//!
//! The bucket fills continuously, at the rate, up to the burst. What is taken
//! may bring it below zero (a debt), by one grant for bulk and by a second's
//! worth for the node's own protocols; nothing more is granted until the refill
//! has paid it back. So in any time `t` at most
//! `burst + rate × t + one second's worth + one grant` bytes pass, and without
//! the node's own protocols at most `burst + rate × t + one grant`.
//!
//! Example, at 1 MiB/s: burst 102 KiB, grant 51 KiB. After a quiet second two
//! readers come at the time 0. Both get 51 KiB at once, and the bucket is empty.
//! From then on one of them gets 51 KiB every 50 ms, in turn. A ping of 32 bytes
//! at any of these times passes at once and costs the next grant 30 µs.
//!
//! Turns go by peer and not by stream: each peer has a tally of the bytes that it
//! was granted, and the lowest tally is next (start-time fair queueing, Goyal,
//! Vin and Cheng 1996). A peer that comes back starts at the tally that is being
//! served, so that having been silent gives no advantage.
//!
//! Peer ids are free, so a host with many of them has many turns. It is not held
//! to one by its address: behind one address of a home or a mobile network are
//! many honest peers, which would all get one share, and how many ids one subnet
//! can have here is limited already (P2P_MAX_CONNECTIONS_PER_SUBNET).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::task::Waker;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::class::Class;
use crate::rate::{Bucket, Capacity};

/// One grant, whatever the rate: enough for a frame of each multiplexer.
const MAX_GRANT: u64 = 64 << 10;

/// So that under a low ceiling not every grant is tiny and costs a wake-up.
const MIN_GRANT: u64 = 4 << 10;

/// The node's own protocols are let through before bulk; but for each of these
/// many bytes of theirs that pass while bulk waits, bulk gets one byte, so that
/// a flood of gossip cannot starve it.
const OWN_PER_BULK: i128 = 4;

/// Units of the bucket's level in a byte: at rates in bytes a second and times
/// in nanoseconds all sums are whole numbers.
const UNIT: i128 = 1_000_000_000;

/// Peers that are remembered before those without a claim or a debt are forgotten.
const TALLIES: usize = 64;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Queue {
    /// Bytes a second; not zero.
    rate: u64,
    /// In [`UNIT`]s of a byte.
    bucket: Bucket,
    own: Lanes,
    bulk: Lanes,
    /// Bytes that bulk may take though the bucket is in debt, in [`UNIT`]s.
    owed_to_bulk: i128,
    /// Granted while their streams waited, and not taken yet.
    granted: HashMap<u64, Grant>,
}

#[derive(Debug)]
struct Grant {
    class: Class,
    peer: PeerId,
    bytes: usize,
}

/// The peers of one class.
#[derive(Debug, Default)]
struct Lanes {
    lanes: HashMap<PeerId, Lane>,
    /// Peers that wait, by tally.
    order: BTreeSet<(u64, PeerId)>,
    /// The tally that was served last.
    served: u64,
    /// How many tallies are too many; doubled with those in use.
    forget_at: usize,
}

#[derive(Debug, Default)]
struct Lane {
    tally: u64,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    want: usize,
    waker: Waker,
}

impl Lanes {
    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The peer's lane, its tally brought up to what is being served.
    fn enter(&mut self, peer: PeerId) -> &mut Lane {
        if self.lanes.len() >= self.forget_at.max(TALLIES) {
            let served = self.served;
            // While nobody waits, nobody is ahead of anybody.
            let idle = self.order.is_empty();
            self.lanes
                .retain(|_, lane| !idle && (!lane.waiting.is_empty() || lane.tally > served));
            self.forget_at = 2 * self.lanes.len();
        }
        let lane = self.lanes.entry(peer).or_default();
        if lane.waiting.is_empty() {
            lane.tally = lane.tally.max(self.served);
        }
        lane
    }

    fn push(&mut self, peer: PeerId, waiting: Waiting) {
        let lane = self.enter(peer);
        lane.waiting.push_back(waiting);
        let tally = lane.tally;
        self.order.insert((tally, peer));
    }

    /// Counts bytes that were granted without waiting.
    fn pass(&mut self, peer: PeerId, bytes: usize) {
        let lane = self.enter(peer);
        let start = lane.tally;
        lane.tally += bytes as u64;
        self.served = self.served.max(start);
    }

    /// The next to be served, and what it gets.
    fn pop(&mut self, grant: usize) -> Option<(PeerId, Waiting, usize)> {
        let (tally, peer) = self.order.pop_first()?;
        let lane = self.lanes.get_mut(&peer)?;
        let next = lane.waiting.pop_front()?;
        let bytes = next.want.min(grant);
        self.served = self.served.max(tally);
        lane.tally += bytes as u64;
        if !lane.waiting.is_empty() {
            self.order.insert((lane.tally, peer));
        }
        Some((peer, next, bytes))
    }

    fn give_back(&mut self, peer: PeerId, bytes: usize) {
        if let Some(lane) = self.lanes.get_mut(&peer) {
            let waits = self.order.remove(&(lane.tally, peer));
            lane.tally = lane.tally.saturating_sub(bytes as u64);
            if waits {
                self.order.insert((lane.tally, peer));
            }
        }
    }

    /// The one that waits with this ticket.
    fn find(&mut self, peer: &PeerId, ticket: u64) -> Option<&mut Waiting> {
        let lane = self.lanes.get_mut(peer)?;
        lane.waiting.iter_mut().find(|w| w.ticket == ticket)
    }

    fn leave(&mut self, peer: PeerId, ticket: u64) {
        if let Some(lane) = self.lanes.get_mut(&peer) {
            lane.waiting.retain(|w| w.ticket != ticket);
            if lane.waiting.is_empty() {
                self.order.remove(&(lane.tally, peer));
            }
        }
    }
}

impl Queue {
    /// A full bucket of `rate` bytes a second.
    pub(super) fn new(rate: u64, now: Instant) -> Self {
        let rate = rate.max(1);
        Queue {
            rate,
            bucket: Bucket::full(capacity(rate), now),
            own: Lanes::default(),
            bulk: Lanes::default(),
            owed_to_bulk: 0,
            granted: HashMap::new(),
        }
    }

    /// Another rate from `now` on. What is owed does not take longer than a second
    /// of the new rate to pay back: a debt made at a high one would stop the node
    /// for hours at a low one.
    pub(super) fn set_rate(&mut self, rate: u64, now: Instant) {
        self.refill(now);
        self.rate = rate.max(1);
        let least = -i128::from(self.rate) * UNIT;
        self.bucket.clamp(least, capacity(self.rate).full);
        let most = i128::from(grant(self.rate)) * UNIT * 2;
        self.owed_to_bulk = self.owed_to_bulk.min(most);
    }

    fn refill(&mut self, now: Instant) {
        self.bucket.refill(capacity(self.rate), now);
    }

    fn lanes(&mut self, class: Class) -> &mut Lanes {
        match class {
            Class::Own => &mut self.own,
            Class::Bulk => &mut self.bulk,
        }
    }

    /// The level above which the class is served.
    fn floor(&self, class: Class) -> i128 {
        match class {
            Class::Own => -i128::from(self.rate) * UNIT,
            Class::Bulk if self.bulk_is_due() => self.floor(Class::Own),
            Class::Bulk => 0,
        }
    }

    fn bulk_is_due(&self) -> bool {
        self.owed_to_bulk >= i128::from(grant(self.rate)) * UNIT
    }

    fn charge(&mut self, class: Class, bytes: usize) {
        let cost = bytes as i128 * UNIT;
        self.bucket.take(cost);
        match class {
            Class::Own if !self.bulk.is_empty() => {
                // Not without bound: bulk that comes late has no old claims.
                let most = i128::from(grant(self.rate)) * UNIT * 2;
                self.owed_to_bulk = (self.owed_to_bulk + cost / OWN_PER_BULK).min(most);
            }
            Class::Own => self.owed_to_bulk = 0,
            Class::Bulk => self.owed_to_bulk = (self.owed_to_bulk - cost).max(0),
        }
    }

    /// Grants what can be granted now; puts whom to wake into `wake`.
    pub(super) fn pump(&mut self, now: Instant, wake: &mut Vec<Waker>) {
        self.refill(now);
        let most = usize::try_from(grant(self.rate)).unwrap_or(usize::MAX);
        loop {
            let ready = |q: &Queue, class| match class {
                Class::Own => !q.own.is_empty() && q.bucket.level() > q.floor(class),
                Class::Bulk => !q.bulk.is_empty() && q.bucket.level() > q.floor(class),
            };
            let class = if self.bulk_is_due() && ready(self, Class::Bulk) {
                Class::Bulk
            } else if ready(self, Class::Own) {
                Class::Own
            } else if ready(self, Class::Bulk) {
                Class::Bulk
            } else {
                return;
            };
            let Some((peer, next, bytes)) = self.lanes(class).pop(most) else {
                return;
            };
            self.charge(class, bytes);
            let grant = Grant { class, peer, bytes };
            self.granted.insert(next.ticket, grant);
            wake.push(next.waker);
        }
    }

    /// A stream without a place in the queue asks for up to `want` bytes. `None`:
    /// it has a place now, under its ticket, and is woken when its turn comes.
    pub(super) fn ask(
        &mut self,
        (class, peer, ticket): (Class, PeerId, u64),
        want: usize,
        waker: &Waker,
        now: Instant,
        wake: &mut Vec<Waker>,
    ) -> Option<usize> {
        self.pump(now, wake);
        if self.lanes(class).is_empty() && self.bucket.level() > self.floor(class) {
            let most = usize::try_from(grant(self.rate)).unwrap_or(usize::MAX);
            let bytes = want.min(most);
            self.lanes(class).pass(peer, bytes);
            self.charge(class, bytes);
            return Some(bytes);
        }
        let waker = waker.clone();
        let waiting = Waiting {
            ticket,
            want,
            waker,
        };
        self.lanes(class).push(peer, waiting);
        None
    }

    /// What a stream that waits was granted. `None`: it waits on, and `waker`
    /// takes the place of the earlier one.
    pub(super) fn claim(
        &mut self,
        (class, peer, ticket): (Class, PeerId, u64),
        waker: &Waker,
    ) -> Option<usize> {
        if let Some(grant) = self.granted.remove(&ticket) {
            return Some(grant.bytes);
        }
        if let Some(waiting) = self.lanes(class).find(&peer, ticket) {
            waiting.waker.clone_from(waker);
        }
        None
    }

    /// Takes back what was granted and not used.
    pub(super) fn give_back(&mut self, class: Class, peer: PeerId, bytes: usize) {
        self.bucket.give_back(bytes as i128 * UNIT);
        self.lanes(class).give_back(peer, bytes);
    }

    /// A stream that waits is gone.
    pub(super) fn leave(&mut self, (class, peer, ticket): (Class, PeerId, u64)) {
        match self.granted.remove(&ticket) {
            Some(grant) => self.give_back(grant.class, grant.peer, grant.bytes),
            None => self.lanes(class).leave(peer, ticket),
        }
    }

    /// How long until somebody who waits can be served; `None` when nobody waits.
    pub(super) fn next(&self) -> Option<Duration> {
        let floor = match (self.own.is_empty(), self.bulk.is_empty()) {
            (true, true) => return None,
            (false, _) => self.floor(Class::Own),
            (true, false) => self.floor(Class::Bulk),
        };
        // Above the floor, not at it.
        Some(self.bucket.wait(floor + 1, capacity(self.rate)))
    }
}

/// What the bucket holds and gains, in [`UNIT`]s of a byte.
fn capacity(rate: u64) -> Capacity {
    Capacity {
        full: i128::from(burst(rate)) * UNIT,
        per_nanosecond: i128::from(rate),
    }
}

/// What may pass at once after a pause: a tenth of a second, which a round trip
/// needs to fill its window again; not less than one grant.
pub(super) fn burst(rate: u64) -> u64 {
    (rate / 10).max(MIN_GRANT)
}

/// What one turn moves: a twentieth of a second, so that each of twenty peers
/// has a turn a second also under a low ceiling.
pub(super) fn grant(rate: u64) -> u64 {
    (rate / 20).clamp(MIN_GRANT, MAX_GRANT)
}

#[cfg(test)]
mod tests;
