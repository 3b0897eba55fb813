//! Whom to dial while a node has fewer neighbours than its floor.
//!
//! A few peers are dialed at once; then the node waits for the result. As long as
//! that helps, the next round comes after a second. When it does not, the pauses
//! between rounds grow up to [`SLOWEST`], and rounds go on for as long as neighbours
//! are missing: whatever kept the peers away may be over now.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::backoff::Backoff;

/// The number of dials in one round.
const DIALS_A_ROUND: usize = 3;

/// The pause between two rounds that help.
const FASTEST: Duration = Duration::from_secs(1);

/// The pause between two rounds when nothing helps: within 30 s of the end of a split
/// of the network there is an attempt, and it has time to succeed.
const SLOWEST: Duration = Duration::from_secs(20);

/// The least time between two rounds that begin because a program wants to publish:
/// one that publishes without end makes the node dial no more than a few a minute.
const WANTED: Duration = Duration::from_secs(10);

/// After so many rounds that did not help, only one peer is dialed in each: three or
/// four a minute, which no alert takes for a fault.
const SLOW: u32 = 5;

/// The number of peers that are remembered as unreachable.
const MOST: usize = 512;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Search {
    failed: HashMap<PeerId, Backoff>,
    rounds: u32,
    next: Option<Instant>,
    /// When a program last wanted a round.
    wanted: Option<Instant>,
}

impl Search {
    /// The peers to dial at `now`: of `candidates`, those that are due and failed least,
    /// or the one that will be due first when none is.
    pub(crate) fn due(
        &mut self,
        missing: usize,
        candidates: &[PeerId],
        now: Instant,
        mut chance: impl FnMut() -> f64,
    ) -> Vec<PeerId> {
        if missing == 0 {
            self.rounds = 0;
            self.next = None;
            return Vec::new();
        }
        if self.next.is_some_and(|next| now < next) || candidates.is_empty() {
            return Vec::new();
        }
        // The remaining peers have failed again and again.
        let slow = self.rounds >= SLOW;
        let free = |peer: &&PeerId| self.failed.get(peer).is_none_or(|b| b.due(now));
        let mut chosen: Vec<PeerId> = candidates.iter().filter(free).copied().collect();
        // Take those that failed least, in their order.
        chosen.sort_by_key(|peer| self.failed.get(peer).map_or(0, Backoff::failures));
        chosen.truncate(if slow { 1 } else { missing.min(DIALS_A_ROUND) });
        if chosen.is_empty() {
            let first = |peer: &&PeerId| self.failed.get(peer).and_then(Backoff::next);
            chosen.extend(candidates.iter().min_by_key(first));
        }
        let pause = FASTEST
            .saturating_mul(1 << self.rounds.min(16))
            .min(SLOWEST);
        self.rounds = self.rounds.saturating_add(1);
        self.next = Some(now + pause.mul_f64(1.0 - chance().clamp(0.0, 1.0) / 2.0));
        for peer in &chosen {
            // It counts as failed until it is connected.
            self.failed(*peer, now, chance());
        }
        chosen
    }

    /// A program on this host wants to publish and no peer is there to receive it: the
    /// next round is due, once in [`WANTED`].
    pub(crate) fn wanted(&mut self, now: Instant) {
        let rested = |at: Instant| now.saturating_duration_since(at) >= WANTED;
        if self.wanted.is_none_or(rested) {
            self.wanted = Some(now);
            self.next = None;
        }
    }

    fn failed(&mut self, peer: PeerId, now: Instant, chance: f64) {
        if self.failed.len() >= MOST && !self.failed.contains_key(&peer) {
            let first = self.failed.iter().min_by_key(|(_, b)| b.next());
            if let Some(first) = first.map(|(peer, _)| *peer) {
                self.failed.remove(&first);
            }
        }
        self.failed.entry(peer).or_default().failed(now, chance);
    }

    /// `peer` is connected, whichever side dialed.
    pub(crate) fn connected(&mut self, peer: &PeerId) {
        if self.failed.remove(peer).is_some() {
            self.rounds = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn rounds_slow_down_while_they_do_not_help_and_never_end() {
        let peers: Vec<PeerId> = (0..2).map(|_| PeerId::random()).collect();
        let (mut search, mut now) = (Search::default(), Instant::now());
        assert!(search.due(0, &peers, now, || 0.0).is_empty());
        for pause in [1, 2, 4, 8, 16, 20, 20, 20, 20, 20] {
            assert!(!search.due(5, &peers, now, || 0.0).is_empty());
            let almost = now + seconds(pause) - Duration::from_millis(1);
            assert!(search.due(5, &peers, almost, || 0.0).is_empty());
            now += seconds(pause);
        }
        assert_eq!(search.due(5, &peers, now, || 0.0).len(), 1);
        now += SLOWEST;
        // It is the same a day later, although each peer has its longest pause.
        for _ in 0..10 {
            assert!(!search.due(5, &peers, now, || 0.0).is_empty());
            now += SLOWEST;
        }
        search.connected(&peers[0]);
        let _ = search.due(5, &peers, now, || 0.0);
        assert!(!search.due(5, &peers, now + FASTEST, || 0.0).is_empty());
    }

    #[test]
    fn a_few_are_dialed_at_once_and_others_the_next_time() {
        let peers: Vec<PeerId> = (0..8).map(|_| PeerId::random()).collect();
        let (mut search, now) = (Search::default(), Instant::now());
        assert_eq!(search.due(9, &peers, now, || 0.0), peers[..3]);
        assert_eq!(search.due(2, &peers, now + seconds(1), || 0.0), peers[3..5]);
        assert_eq!(search.due(9, &peers, now + seconds(3), || 0.0), peers[5..8]);
        assert_eq!(search.due(9, &peers, now + seconds(7), || 0.0), peers[..3]);
        assert_eq!(search.due(1, &peers[..2], now, || 0.0), []);
    }

    #[test]
    fn a_program_that_publishes_makes_a_round_due_and_not_one_for_each_message() {
        let peers = [PeerId::random()];
        let (mut search, mut now) = (Search::default(), Instant::now());
        for _ in 0..10 {
            let _ = search.due(1, &peers, now, || 0.0);
            now += SLOWEST;
        }
        let _ = search.due(1, &peers, now, || 0.0);
        now += seconds(1);
        assert!(search.due(1, &peers, now, || 0.0).is_empty());
        search.wanted(now);
        assert_eq!(search.due(1, &peers, now, || 0.0), peers);
        for _ in 0..9 {
            now += seconds(1);
            search.wanted(now);
            assert!(search.due(1, &peers, now, || 0.0).is_empty());
        }
        now += seconds(1);
        search.wanted(now);
        assert_eq!(search.due(1, &peers, now, || 0.0), peers);
    }

    #[test]
    fn what_failed_is_remembered_within_bounds() {
        let (mut search, now) = (Search::default(), Instant::now());
        for n in 0..2 * MOST as u32 {
            search.failed(PeerId::random(), now + n * seconds(1), 0.0);
        }
        assert_eq!(search.failed.len(), MOST);
    }
}
