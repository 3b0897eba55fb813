//! The schedule of announcements: which root is due, and when.
//!
//! Provider records expire, so every root is announced again before its record can have
//! expired. Roots that were never announced come first, and then those that are most
//! overdue. The times of announcements survive a restart: the caller stores
//! [`Schedule::take_unsaved`] and passes the times to [`Schedule::sync`], so that a start
//! announces only what is due.
//!
//! # The turn of the roots
//!
//! Each root has its turn in a round, which takes nine tenths of the interval. The turn
//! is given by the position of its key in the DHT, and the root is announced again when
//! its turn comes. Keys are hashes, so that any number of roots is spread evenly over the
//! round, whenever they were put. The last tenth of the interval is left for
//! announcements that fail and are tried again. Roots that follow each other are
//! neighbours in the DHT, whose records go to the same peers. So a node with many roots
//! needs a few connections rather than one for each record.
//!
//! A root whose announcement fails is tried again after a wait of its own. When there is
//! no DHT peer at all, nothing is tried until a common wait is over or until there is a
//! peer.

mod backlog;
mod changes;
mod outcome;

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use cid::Cid;

use super::root_key::RootKey;
pub use backlog::Backlog;
pub(crate) use changes::{Synced, Unsaved};
pub(crate) use outcome::Outcome;

/// The number of announcements that may always be under way at once. Each of them is a
/// walk through the DHT with some twenty dials, then a record and a question to each of
/// the twenty peers.
pub(crate) const CONCURRENT: usize = 16;

/// The maximum number of announcements under way at once. More of them would use up the
/// DHT queries of the programs on this host, of which 256 may run.
const MOST_CONCURRENT: usize = 48;

/// The number of roots for each announcement that may be under way. With an interval of
/// ten hours and announcements that take ten seconds, every root is then still announced
/// in time.
const ROOTS_EACH: usize = 3_000;

/// The wait after a failed announcement. It doubles, up to half of a round.
const RETRY: Duration = Duration::from_secs(5);

/// The wait while no DHT peer is known, which also doubles, up to a minute. It is short
/// at first, since the usual reason is that the node has just started.
const ALONE: Duration = Duration::from_secs(2);
const ALONE_AT_MOST: Duration = Duration::from_secs(60);

/// The number of attempts after which a root waits for its normal turn, when too few
/// peers accepted the record but some did. The others will not accept it.
const FEW_TRIES: u8 = 6;

/// One in this many announcements goes to a root that is due again although another was
/// never announced. Otherwise a program that puts files without end would keep the rest
/// waiting.
const ONE_IN: u8 = 4;

/// One in this many later announcements is verified; every first one is.
const VERIFY_ONE_IN: u32 = 8;

#[derive(Clone, Copy, Debug)]
struct Due {
    /// When it is due, from which lateness is counted. All times here are in
    /// milliseconds.
    due: i64,
    /// When it is tried next.
    at: i64,
    position: u32,
    failures: u8,
    /// The number of the last look at the store that found it, or of the look before it
    /// was added.
    look: u32,
    never: bool,
    under_way: bool,
    /// A peer was told of it in this run, or it was announced in an earlier one.
    told: bool,
    /// It was asked for again while it was under way.
    again: bool,
}

/// See the module's documentation. It takes some 170 bytes per root.
#[derive(Debug)]
pub(crate) struct Schedule {
    round: i64,
    epoch: Instant,
    /// The time in the round at the epoch, which makes a restart keep the turn of each
    /// root.
    anchor: i64,
    entries: HashMap<RootKey, Due>,
    /// The roots that are not under way. Those that were never announced come first.
    queue: BTreeSet<(bool, i64, RootKey)>,
    under_way: usize,
    untold: usize,
    look: u32,
    turn: u8,
    alone: u32,
    alone_until: i64,
    unsaved: HashMap<RootKey, Option<u64>>,
}

/// The two classes of roots, in the order of the queue.
const NEVER: bool = false;
const AGAIN: bool = true;

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl Schedule {
    /// Creates a schedule in which every root is announced again after at most
    /// `interval`. `wall` is the time of day at `now`, in milliseconds since 1970.
    pub(crate) fn new(interval: Duration, now: Instant, wall: u64) -> Self {
        let round = millis(interval.mul_f64(0.9)).max(1);
        Schedule {
            round,
            epoch: now,
            anchor: i64::try_from(wall).unwrap_or(0) % round,
            entries: HashMap::new(),
            queue: BTreeSet::new(),
            under_way: 0,
            untold: 0,
            look: 0,
            turn: 0,
            alone: 0,
            alone_until: i64::MIN,
            unsaved: HashMap::new(),
        }
    }

    fn time(&self, now: Instant) -> i64 {
        millis(now.saturating_duration_since(self.epoch))
    }

    fn instant(&self, time: i64) -> Instant {
        self.epoch + Duration::from_millis(u64::try_from(time).unwrap_or(0))
    }

    /// Returns the next turn after `time` of a root whose key is at `position`. It is
    /// within one round.
    fn turn_after(&self, position: u32, time: i64) -> i64 {
        let turn = i64::try_from((u128::from(position) * self.round as u128) >> 32).unwrap_or(0);
        let behind = (time + self.anchor - turn).rem_euclid(self.round);
        time + self.round - behind
    }

    /// Returns whether an announcement of `cid` is to be verified.
    pub(crate) fn is_verified(&self, cid: &Cid) -> bool {
        let due = RootKey::of(cid).and_then(|key| self.entries.get(&key));
        // The time changes the sample in each round.
        due.is_none_or(|due| {
            let sample = due.position.wrapping_add((due.due / self.round) as u32);
            due.never || due.failures > 0 || sample.is_multiple_of(VERIFY_ONE_IN)
        })
    }

    /// Schedules `cid` to be announced at once.
    pub(crate) fn announce(&mut self, cid: &Cid, now: Instant) {
        let Some(key) = RootKey::of(cid) else { return };
        let time = self.time(now);
        match self.entries.get_mut(&key) {
            Some(due) if due.under_way => due.again = true,
            Some(due) => {
                let mut due = *due;
                due.at = time;
                due.due = due.due.min(time);
                due.failures = 0;
                self.set(key, due);
            }
            None => self.add(key, None, time),
        }
    }

    fn add(&mut self, key: RootKey, announced: Option<i64>, time: i64) {
        let position = key.position();
        let at = announced.map_or(time, |at| self.turn_after(position, at));
        let due = Due {
            due: at,
            at,
            position,
            failures: 0,
            look: self.look,
            never: announced.is_none(),
            under_way: false,
            told: announced.is_some(),
            again: false,
        };
        self.untold += usize::from(due.never);
        self.set(key, due);
    }

    /// Removes `cid`, which is no longer here.
    pub(crate) fn forget(&mut self, cid: &Cid) {
        if let Some(key) = RootKey::of(cid) {
            self.drop_key(&key);
        }
    }

    fn drop_key(&mut self, key: &RootKey) {
        if let Some(due) = self.entries.remove(key) {
            self.queue.remove(&queued(key, &due));
            self.under_way -= usize::from(due.under_way);
            self.untold -= usize::from(!due.told);
            self.unsaved.insert(*key, None);
        }
    }

    /// Prepares for reading the store for [`Schedule::sync`]. What is put from now on is
    /// not taken to be gone if the reading misses it.
    pub(crate) fn begin_sync(&mut self) {
        self.look = self.look.wrapping_add(1);
    }

    /// Updates the schedule to the roots that are here: new ones are announced, and those
    /// that have gone are not announced any more. In the first call, `announced` holds
    /// the times at which roots were announced by an earlier run. `wall` is the time of
    /// day at `now`.
    pub(crate) fn sync(
        &mut self,
        roots: &[Cid],
        announced: &HashMap<Cid, u64>,
        now: Instant,
        wall: u64,
    ) -> Synced {
        let time = self.time(now);
        let mut synced = Synced::default();
        for cid in roots {
            let Some(key) = RootKey::of(cid) else {
                continue;
            };
            if let Some(due) = self.entries.get_mut(&key) {
                due.look = self.look;
                continue;
            }
            // If the clock was set back, it is only known that the root was announced. It
            // takes the next turn.
            let age = announced.get(cid).map(|at| wall.saturating_sub(*at));
            let age = age.map(|age| i64::try_from(age).unwrap_or(i64::MAX / 2));
            self.add(key, age.map(|age| time - age), time);
            synced.new.push(*cid);
        }
        let gone = self.entries.iter().filter(|(_, due)| due.look != self.look);
        let gone: Vec<RootKey> = gone.map(|(key, _)| *key).collect();
        for key in gone {
            self.drop_key(&key);
            synced.gone.push(key.cid());
        }
        for key in announced.keys().filter_map(RootKey::of) {
            if !self.entries.contains_key(&key) {
                self.unsaved.insert(key, None);
            }
        }
        synced
    }

    fn room(&self) -> usize {
        (self.entries.len() / ROOTS_EACH).clamp(CONCURRENT, MOST_CONCURRENT)
    }

    /// Returns the next root to announce, if one is due and there is room. Report its end
    /// with [`Schedule::done`].
    pub(crate) fn next(&mut self, now: Instant) -> Option<Cid> {
        let time = self.time(now);
        // While no peer is known, only one announcement at a time finds out whether there
        // is one.
        let room = if self.alone > 0 { 1 } else { self.room() };
        if self.under_way >= room || time < self.alone_until {
            return None;
        }
        let first = |class| {
            let mut range = self.queue.range(bounds(class));
            range.next().filter(|(_, at, _)| *at <= time).copied()
        };
        self.turn = (self.turn + 1) % ONE_IN;
        let classes = match self.turn {
            0 => [AGAIN, NEVER],
            _ => [NEVER, AGAIN],
        };
        let entry = classes.into_iter().find_map(first)?;
        self.queue.remove(&entry);
        self.under_way += 1;
        let key = entry.2;
        if let Some(due) = self.entries.get_mut(&key) {
            due.under_way = true;
        }
        Some(key.cid())
    }

    /// Returns when the next root is due.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let first = |class| self.queue.range(bounds(class)).next();
        let at = [NEVER, AGAIN].into_iter().filter_map(first);
        let at = at.map(|(_, at, _)| *at).min()?;
        Some(self.instant(at.max(self.alone_until)))
    }

    /// Notes that peers were told of `cid`. They are asked about it now.
    pub(crate) fn told(&mut self, cid: &Cid) {
        let due = RootKey::of(cid).and_then(|key| self.entries.get_mut(&key));
        if let Some(due) = due.filter(|due| !due.told) {
            due.told = true;
            self.untold -= 1;
        }
    }

    /// Notes that the announcement of `cid` has ended. `wall` is the time of day at
    /// `now`.
    pub(crate) fn done(&mut self, cid: &Cid, outcome: Outcome, now: Instant, wall: u64) {
        let Some(key) = RootKey::of(cid) else { return };
        let due = self.entries.get(&key).copied();
        let Some(mut due) = due.filter(|due| due.under_way) else {
            return;
        };
        let time = self.time(now);
        self.under_way -= 1;
        due.under_way = false;
        match outcome {
            // Announcements that ran at the same time have found out the same thing.
            Outcome::Alone if time < self.alone_until => {}
            Outcome::Alone => {
                let wait = ALONE.saturating_mul(1 << self.alone.min(8));
                self.alone_until = time + millis(wait.min(ALONE_AT_MOST));
                self.alone += 1;
            }
            _ => self.alone = 0,
        }
        let is_over = match outcome {
            Outcome::Ok | Outcome::Unverified => true,
            Outcome::Few(held) => held > 0 && due.failures + 1 >= FEW_TRIES,
            Outcome::Failed | Outcome::Alone => false,
        };
        if is_over {
            due.never = false;
            self.untold -= usize::from(!std::mem::replace(&mut due.told, true));
            due.failures = 0;
            due.due = self.turn_after(due.position, time);
            due.at = due.due;
            self.unsaved.insert(key, Some(wall));
        } else if outcome != Outcome::Alone {
            let wait = millis(RETRY).saturating_mul(1 << due.failures.min(20));
            let wait = wait.min(self.round / 2);
            // The wait is varied, so that announcements that failed together are not
            // tried again together.
            let part = due.position.rotate_left(u32::from(due.failures)) >> 24;
            due.at = time + wait * 3 / 4 + wait / 2 * i64::from(part) / 256;
            due.failures = due.failures.saturating_add(1);
        }
        if std::mem::take(&mut due.again) {
            (due.due, due.at, due.failures) = (time, time, 0);
        }
        self.set(key, due);
    }

    fn set(&mut self, key: RootKey, due: Due) {
        if let Some(old) = self.entries.insert(key, due) {
            self.queue.remove(&queued(&key, &old));
        }
        self.queue.insert(queued(&key, &due));
    }

    /// Allows an attempt at once, although no DHT peer was known at the last one.
    pub(crate) fn try_again(&mut self) {
        self.alone_until = i64::MIN;
    }

    /// Notes that a DHT peer is known.
    pub(crate) fn not_alone(&mut self) {
        self.try_again();
        self.alone = 0;
    }

    /// Returns whether no DHT peer was known at the last attempt and none has come since.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone > 0
    }

    /// Returns the number of roots that no peer has been told of yet.
    pub(crate) fn untold(&self) -> usize {
        self.untold
    }

    /// Returns what is waiting at `now`. This looks at every root, which takes a
    /// millisecond for 100,000.
    pub(crate) fn backlog(&self, now: Instant) -> Backlog {
        let time = self.time(now);
        let waiting = self.entries.values().filter(|due| due.due <= time);
        let (mut count, mut oldest) = (0, time);
        for due in waiting {
            count += 1;
            oldest = oldest.min(due.due);
        }
        let late = u64::try_from(time - oldest).unwrap_or(0);
        Backlog {
            waiting: count,
            lateness: Duration::from_millis(late),
        }
    }

    /// Returns what has changed since the last call. It then counts as stored; if it
    /// could not be stored, pass it to [`Schedule::put_back`].
    pub(crate) fn take_unsaved(&mut self) -> Unsaved {
        let mut unsaved = Unsaved::default();
        for (key, change) in std::mem::take(&mut self.unsaved) {
            match change {
                Some(at) => unsaved.announced.push((key.cid(), at)),
                None => unsaved.gone.push(key.cid()),
            }
        }
        unsaved
    }

    /// Takes back what could not be stored.
    pub(crate) fn put_back(&mut self, unsaved: Unsaved) {
        let announced = unsaved.announced.iter().map(|(cid, at)| (cid, Some(*at)));
        let gone = unsaved.gone.iter().map(|cid| (cid, None));
        for (cid, change) in announced.chain(gone) {
            if let Some(key) = RootKey::of(cid) {
                self.unsaved.entry(key).or_insert(change);
            }
        }
    }
}

fn queued(key: &RootKey, due: &Due) -> (bool, i64, RootKey) {
    (if due.never { NEVER } else { AGAIN }, due.at, *key)
}

fn bounds(class: bool) -> std::ops::RangeInclusive<(bool, i64, RootKey)> {
    (class, i64::MIN, RootKey::FIRST)..=(class, i64::MAX, RootKey::LAST)
}

#[cfg(test)]
mod tests;
