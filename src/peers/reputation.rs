//! Reputation: one number for what a peer did, which fades with time.
//!
//! | score | consequence |
//! |---|---|
//! | 0 to 100 | up to twice the budget of a stranger |
//! | 0 to -50 | slowed: the budget falls to an eighth (see [`super::bucket`]) |
//! | -50 or below after an offence | the peer is disconnected |
//! | -80 or below after an offence | the peer is banned, each time for longer |
//!
//! Half of a score is gone after an hour, whether it is good or bad: what a peer did
//! yesterday says little about it today. Merit does not make up for offences. Below zero,
//! only time raises a score. Otherwise a flooder could raise its score with cheap valid
//! messages between its attacks.
//!
//! The count of a peer's bans halves in a week. So a peer that was banned again and again
//! gets long bans, and a peer that was once banned because of a mistake of its operator
//! does not get them for ever.
//!
//! # What is remembered
//!
//! At most [`CAPACITY`] peers are remembered. Each takes some 400 bytes of resident
//! memory, as `benches/peers.rs` measures it, so that all take 6 MiB when the memory is
//! full. Ids are free, so somebody can fill it:
//!
//! - Peers of good and of bad reputation have half of the room each, and each group may
//!   use room that the other does not need. An attacker that makes many ids and
//!   misbehaves with them pushes out other bad peers, but never good ones. If it behaves
//!   well with them, it pushes out other good peers, but never bad ones.
//! - Within a group, the entry that is nearest to zero is removed first, and among equal
//!   ones the oldest. To push out a peer at -60, an attacker needs thousands of ids that
//!   did worse, and this node has cut off each of them. Bans are kept elsewhere and are
//!   not removed.
//! - A connected peer is never pushed out. Otherwise, an attacker that had filled the
//!   memory would have no reputation to lose with its next id.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::conduct::Conduct;

/// The highest score.
pub const BEST: f32 = 100.0;

/// The lowest score.
pub const WORST: f32 = -100.0;

/// An offence that leaves the score here or below disconnects the peer.
pub const DISCONNECT: f32 = -50.0;

/// An offence that leaves the score here or below bans the peer.
pub const BAN: f32 = -80.0;

/// The time after which a score is half of what it was.
pub const HALF_LIFE: Duration = Duration::from_secs(3600);

/// The time after which the count of a peer's bans is half of what it was.
pub const STRIKE_HALF_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// The length of the first ban. It is long enough to end an attack that restarts by
/// itself, and short enough that an operator who fixes a bug does not have to ask
/// anybody.
pub const FIRST_BAN: Duration = Duration::from_secs(600);

/// How many times longer each further ban is: 10 min, 40 min, 2.7 h, 11 h, 43 h.
const LONGER: f64 = 4.0;

/// The length of the longest automatic ban.
pub const LONGEST_BAN: Duration = Duration::from_secs(7 * 86_400);

/// The number of peers that are remembered: forty times the connections of a default
/// node.
pub const CAPACITY: usize = 16_384;

/// The part of the entries that is removed at once when there is no more room. To look at
/// all of them costs a fraction of a millisecond, so it is done rarely.
const BATCH: usize = 16;

/// The rank below which an entry is forgotten.
const NOTHING: f32 = 0.5;

/// The change of a score that is worth a write to the disk.
const WORTH_SAVING: f32 = 1.0;

/// The consequence of an offence or merit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// It is remembered.
    Note,
    /// The peer is to be disconnected.
    Disconnect,
    /// The peer is to be banned.
    Ban,
}

/// What is remembered of one peer, at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reputation {
    /// The score, from -100 to 100.
    pub score: f32,
    /// The number of bans so far; older ones count less.
    pub strikes: f32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    reputation: Reputation,
    /// The time at which `reputation` was correct.
    at: Instant,
    /// The score that is on the disk; NaN if there is none.
    saved: f32,
    /// Whether the peer waits in `dirty`.
    dirty: bool,
}

impl Entry {
    fn now(&self, now: Instant) -> Reputation {
        let elapsed = now.saturating_duration_since(self.at);
        Reputation {
            score: self.reputation.score * left(elapsed, HALF_LIFE),
            strikes: self.reputation.strikes * left(elapsed, STRIKE_HALF_LIFE),
        }
    }
}

/// Returns the part of a score or count that is left after `elapsed`.
fn left(elapsed: Duration, half_life: Duration) -> f32 {
    // Nothing fades between reports within the same microsecond, as in a flood.
    if elapsed.is_zero() {
        return 1.0;
    }
    (-elapsed.as_secs_f32() / half_life.as_secs_f32()).exp2()
}

/// Returns how much an entry is worth keeping.
fn rank(reputation: Reputation) -> f32 {
    // One ban is worth as much as a quarter of the scale.
    reputation.score.abs() + 25.0 * reputation.strikes
}

/// Returns whether nothing is held against a peer now: no offence, and no ban that is not
/// nearly forgotten.
pub(super) fn is_clean(reputation: Reputation) -> bool {
    // An offence counts until so little of it is left that it is forgotten.
    reputation.score > -NOTHING && reputation.strikes < 0.5
}

fn is_good(reputation: Reputation) -> bool {
    reputation.score > 0.0 && reputation.strikes < 0.5
}

/// All peers that are remembered. The time is an argument.
#[derive(Debug, Default)]
pub struct Reputations {
    map: HashMap<PeerId, Entry>,
    /// Peers whose entries differ from what is on the disk. The rows of peers that are no
    /// longer in the map are to be removed.
    dirty: Vec<PeerId>,
}

impl Reputations {
    /// Records what `peer` did. `keep` tells which peers must not be forgotten to make
    /// room: the connected ones.
    pub fn apply(
        &mut self,
        peer: &PeerId,
        conduct: Conduct,
        now: Instant,
        keep: impl Fn(&PeerId) -> bool,
    ) -> (Reputation, Action) {
        let weight = conduct.weight();
        let before = self.of(peer, now);
        let score = if weight < 0.0 {
            (before.score + weight).max(WORST)
        } else if before.score < 0.0 {
            before.score
        } else {
            // The closer the score is to the ceiling, the less another merit adds.
            let ceiling = conduct.ceiling();
            let room = (1.0 - before.score / ceiling).max(0.0);
            (before.score + weight * room)
                .min(ceiling)
                .max(before.score)
        };
        let reputation = Reputation { score, ..before };
        self.set(peer, reputation, now, keep);
        let action = match score {
            _ if weight >= 0.0 => Action::Note,
            score if score <= BAN => Action::Ban,
            score if score <= DISCONNECT => Action::Disconnect,
            _ => Action::Note,
        };
        (reputation, action)
    }

    /// Counts one more ban of `peer`, and returns the length of that ban.
    pub fn sentence(&mut self, peer: &PeerId, now: Instant) -> Duration {
        let before = self.of(peer, now);
        let reputation = Reputation {
            strikes: before.strikes + 1.0,
            ..before
        };
        self.set(peer, reputation, now, |_| true);
        ban_length(before.strikes)
    }

    /// Forgets what `peer` did. An operator who lifts a ban wants that as well.
    pub fn forgive(&mut self, peer: &PeerId) {
        if let Some(entry) = self.map.remove(peer)
            && !entry.dirty
        {
            self.dirty.push(*peer);
        }
    }

    /// Returns what is remembered of `peer`; zeros for a stranger.
    pub fn of(&self, peer: &PeerId, now: Instant) -> Reputation {
        self.map.get(peer).map_or(
            Reputation {
                score: 0.0,
                strikes: 0.0,
            },
            |e| e.now(now),
        )
    }

    /// Returns the number of peers that are remembered.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Returns whether no peer is remembered.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Adds what an earlier run saved, `elapsed` ago.
    pub fn restore(&mut self, peer: PeerId, saved: Reputation, elapsed: Duration, now: Instant) {
        if self.map.len() >= CAPACITY || !saved.score.is_finite() || !saved.strikes.is_finite() {
            return;
        }
        let reputation = Reputation {
            score: saved.score.clamp(WORST, BEST) * left(elapsed, HALF_LIFE),
            strikes: saved.strikes.clamp(0.0, 64.0) * left(elapsed, STRIKE_HALF_LIFE),
        };
        if rank(reputation) < NOTHING {
            // Its row is removed with the next save.
            self.dirty.push(peer);
            return;
        }
        let entry = Entry {
            reputation,
            at: now,
            saved: reputation.score,
            dirty: false,
        };
        self.map.insert(peer, entry);
    }

    /// Forgets the peers whose reputation has faded to nearly nothing.
    pub fn sweep(&mut self, now: Instant) {
        let dirty = &mut self.dirty;
        self.map.retain(|peer, entry| {
            let stays = rank(entry.now(now)) >= NOTHING;
            if !stays && !entry.dirty && !entry.saved.is_nan() {
                dirty.push(*peer);
            }
            stays
        });
        // Free the memory of many peers that are no longer remembered.
        if self.map.capacity() > 4 * self.map.len().max(64) {
            self.map.shrink_to(2 * self.map.len());
        }
    }

    /// Takes up to `limit` peers whose saved row is out of date, and returns what to
    /// write for each, or `None` for a row that is to be removed. They count as saved
    /// from now on.
    pub fn take_unsaved(
        &mut self,
        limit: usize,
        now: Instant,
    ) -> Vec<(PeerId, Option<Reputation>)> {
        let few = self.dirty.len().min(limit);
        let taken: Vec<PeerId> = self.dirty.drain(..few).collect();
        if self.dirty.is_empty() {
            self.dirty.shrink_to(64);
        }
        self.settle(taken, now)
    }

    /// Does the same as [`Self::take_unsaved`] for these peers only, and without a limit.
    pub fn take_unsaved_of(
        &mut self,
        peers: &HashSet<PeerId>,
        now: Instant,
    ) -> Vec<(PeerId, Option<Reputation>)> {
        if peers.is_empty() {
            return Vec::new();
        }
        let taken = self.dirty.extract_if(.., |p| peers.contains(p)).collect();
        self.settle(taken, now)
    }

    fn settle(&mut self, taken: Vec<PeerId>, now: Instant) -> Vec<(PeerId, Option<Reputation>)> {
        taken
            .into_iter()
            .map(|peer| {
                let reputation = self.map.get_mut(&peer).map(|entry| {
                    let reputation = entry.now(now);
                    entry.saved = reputation.score;
                    entry.dirty = false;
                    reputation
                });
                (peer, reputation)
            })
            .collect()
    }

    /// Marks peers as not saved, when a save has failed.
    pub fn put_back(&mut self, peers: impl IntoIterator<Item = PeerId>) {
        for peer in peers {
            match self.map.get_mut(&peer) {
                Some(entry) if entry.dirty => continue,
                Some(entry) => entry.dirty = true,
                None => {}
            }
            self.dirty.push(peer);
        }
        self.bound_dirty();
    }

    /// Returns whether there is something to save.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    fn set(
        &mut self,
        peer: &PeerId,
        reputation: Reputation,
        now: Instant,
        keep: impl Fn(&PeerId) -> bool,
    ) {
        if !self.map.contains_key(peer) {
            if rank(reputation) == 0.0 {
                return;
            }
            if self.map.len() >= CAPACITY {
                self.make_room(is_good(reputation), now, keep);
            }
        }
        let entry = self.map.entry(*peer).or_insert(Entry {
            reputation,
            at: now,
            saved: f32::NAN,
            dirty: false,
        });
        let struck = entry.reputation.strikes < reputation.strikes;
        entry.reputation = reputation;
        entry.at = now;
        let saved = if entry.saved.is_nan() {
            0.0
        } else {
            entry.saved
        };
        if !entry.dirty && (struck || (reputation.score - saved).abs() >= WORTH_SAVING) {
            entry.dirty = true;
            self.dirty.push(*peer);
            self.bound_dirty();
        }
    }

    /// Bounds `dirty`. Rows of forgotten peers wait there too, so it may hold more than
    /// the map, and it must not grow without end while a disk is away for long.
    fn bound_dirty(&mut self) {
        if self.dirty.len() > 2 * CAPACITY {
            let map = &self.map;
            self.dirty.retain(|peer| map.contains_key(peer));
        }
    }

    /// Forgets a part of the group that has more than its share.
    fn make_room(&mut self, newcomer_is_good: bool, now: Instant, keep: impl Fn(&PeerId) -> bool) {
        let good = self.map.values().filter(|e| is_good(e.now(now))).count();
        let bad = self.map.len() - good;
        let from_good = match good.cmp(&bad) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => newcomer_is_good,
        };
        let mut weakest: Vec<(f32, Instant, PeerId)> = self
            .map
            .iter()
            .map(|(peer, e)| (e.now(now), e.at, peer))
            .filter(|(s, _, peer)| is_good(*s) == from_good && !keep(peer))
            .map(|(s, at, peer)| (rank(s), at, *peer))
            .collect();
        let few = (self.map.len() / BATCH).min(weakest.len());
        if few == 0 {
            return;
        }
        weakest.select_nth_unstable_by(few - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (_, _, peer) in weakest.into_iter().take(few) {
            if let Some(entry) = self.map.remove(&peer)
                && !entry.saved.is_nan()
                && !entry.dirty
            {
                self.dirty.push(peer);
            }
        }
        self.bound_dirty();
    }
}

/// Returns how long a ban lasts after `strikes` earlier ones.
pub fn ban_length(strikes: f32) -> Duration {
    let times = LONGER.powf(f64::from(strikes.max(0.0)).round().min(32.0));
    FIRST_BAN.mul_f64(times).min(LONGEST_BAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &PeerId) -> bool {
        false
    }

    fn offend(r: &mut Reputations, peer: &PeerId, conduct: Conduct, now: Instant) -> Action {
        r.apply(peer, conduct, now, none).1
    }

    #[test]
    fn offences_slow_then_disconnect_then_ban_and_time_forgets() {
        let (mut r, peer, t) = (Reputations::default(), PeerId::random(), Instant::now());
        let done: Vec<Action> = (0..4)
            .map(|_| offend(&mut r, &peer, Conduct::InvalidSignature, t))
            .collect();
        use Action::{Ban, Disconnect, Note};
        assert_eq!(done, [Note, Note, Disconnect, Ban]);
        let later = t + HALF_LIFE;
        assert!((r.of(&peer, later).score + 40.0).abs() < 0.01);
        r.sweep(t + HALF_LIFE * 20);
        assert!(r.is_empty());
    }

    #[test]
    fn bans_of_the_same_peer_grow_and_their_count_decays() {
        let (mut r, peer, t) = (Reputations::default(), PeerId::random(), Instant::now());
        let lengths: Vec<u64> = (0..8).map(|_| r.sentence(&peer, t).as_secs()).collect();
        assert_eq!(
            lengths,
            [600, 2400, 9600, 38_400, 153_600, 604_800, 604_800, 604_800]
        );
        // After a few months, nothing is left of eight strikes.
        let later = t + STRIKE_HALF_LIFE * 5;
        assert_eq!(r.sentence(&peer, later), FIRST_BAN);
        assert_eq!(r.sentence(&PeerId::random(), t), FIRST_BAN);
    }

    #[test]
    fn merit_does_not_pay_for_offences_and_messages_alone_do_not_lift_far() {
        let (mut r, peer, t) = (Reputations::default(), PeerId::random(), Instant::now());
        for _ in 0..100_000 {
            offend(&mut r, &peer, Conduct::MessageDelivered, t);
        }
        let score = r.of(&peer, t).score;
        assert!((19.0..=20.0).contains(&score), "{score}");
        for _ in 0..100_000 {
            offend(&mut r, &peer, Conduct::BlockDelivered, t);
        }
        let score = r.of(&peer, t).score;
        assert!((95.0..=100.0).contains(&score), "{score}");
        // Messages do not lower the score that blocks raised.
        offend(&mut r, &peer, Conduct::MessageDelivered, t);
        assert_eq!(r.of(&peer, t).score, score);

        let bad = PeerId::random();
        offend(&mut r, &bad, Conduct::Malformed, t);
        for _ in 0..1000 {
            offend(&mut r, &bad, Conduct::BlockDelivered, t);
        }
        assert_eq!(r.of(&bad, t).score, -10.0);
    }

    #[test]
    fn free_ids_push_out_neither_the_bad_nor_the_good_nor_the_connected() {
        let (mut r, t) = (Reputations::default(), Instant::now());
        let (bad, good, here) = (PeerId::random(), PeerId::random(), PeerId::random());
        for _ in 0..3 {
            offend(&mut r, &bad, Conduct::InvalidSignature, t);
        }
        for _ in 0..100 {
            offend(&mut r, &good, Conduct::BlockDelivered, t);
        }
        offend(&mut r, &here, Conduct::PingLost, t);
        let keep = |p: &PeerId| *p == here;
        for n in 0..3 * CAPACITY {
            let at = t + Duration::from_millis(n as u64);
            r.apply(&PeerId::random(), Conduct::Malformed, at, keep);
        }
        assert!(r.len() <= CAPACITY, "{}", r.len());
        let now = t + Duration::from_secs(60);
        assert!(r.of(&bad, now).score < -58.0);
        assert!(r.of(&good, now).score > 15.0);
        assert!(r.of(&here, now).score < 0.0);
        // The reverse: many peers that behave well.
        for _ in 0..3 * CAPACITY {
            r.apply(&PeerId::random(), Conduct::MessageDelivered, now, keep);
        }
        assert!(r.len() <= CAPACITY, "{}", r.len());
        assert!(r.of(&bad, now).score < -58.0);
        assert!(r.of(&good, now).score > 15.0);
        assert!(r.of(&here, now).score < 0.0);
    }

    #[test]
    fn what_is_saved_comes_back_and_a_clock_that_went_back_forgives_nothing() {
        let (mut r, peer, t) = (Reputations::default(), PeerId::random(), Instant::now());
        offend(&mut r, &peer, Conduct::Bomb, t);
        r.sentence(&peer, t);
        let unsaved = r.take_unsaved(10, t);
        assert_eq!(unsaved.len(), 1);
        assert!(!r.is_dirty());
        let (id, saved) = unsaved[0];
        let mut again = Reputations::default();
        again.restore(id, saved.unwrap(), HALF_LIFE, t);
        assert_eq!(again.of(&peer, t).score, -25.0);
        let mut same = Reputations::default();
        same.restore(id, saved.unwrap(), Duration::ZERO, t);
        assert_eq!(same.of(&peer, t).score, -50.0);
        // The data on a disk may be anything.
        let odd = Reputation {
            score: f32::NAN,
            strikes: f32::INFINITY,
        };
        same.restore(PeerId::random(), odd, Duration::ZERO, t);
        assert_eq!(same.len(), 1);
    }

    #[test]
    fn small_merits_cost_no_writes_and_the_forgotten_lose_their_row() {
        let (mut r, peer, t) = (Reputations::default(), PeerId::random(), Instant::now());
        offend(&mut r, &peer, Conduct::MessageDelivered, t);
        assert!(!r.is_dirty());
        offend(&mut r, &peer, Conduct::Malformed, t);
        assert_eq!(r.take_unsaved(10, t).len(), 1);
        offend(&mut r, &peer, Conduct::Malformed, t);
        r.forgive(&peer);
        assert_eq!(r.take_unsaved(10, t), [(peer, None)]);
        // When a save has failed, it is done again.
        r.put_back([peer]);
        assert_eq!(r.take_unsaved(10, t), [(peer, None)]);
    }
}
