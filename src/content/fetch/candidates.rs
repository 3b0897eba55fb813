//! The peers that may be asked, and when again.
//!
//! A peer is known as a provider when the DHT or the caller names it, and a guess
//! when it is only connected. One that cannot be reached or that vanishes is tried
//! again, later each time; one that cheats is not asked again in this fetch. What
//! became of each is kept, to say at the end why nobody had the content.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::outcome::Outcome;
use super::reason::Reason;
use super::useless::Useless;

/// Peers remembered by one fetch: every connected peer of a node under default
/// limits (400), and as many named ones as a search of a large network brings.
/// Provider records cost nothing to forge, so a peer that has failed makes room for one
/// that is named now.
const MAX_PEERS: usize = 1024;

/// Time until the first retry; it doubles with each failure.
const RETRY: Duration = Duration::from_secs(1);

/// Time until a connected peer that said no is asked again: it may fetch the
/// content itself meanwhile, and a question costs it little.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Longest time until a retry.
const MAX_RETRY: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
enum Turn {
    /// To be asked from that time on.
    Waiting(Instant),
    Active,
    Banned,
}

#[derive(Debug, Clone)]
struct Peer {
    turn: Turn,
    failures: u32,
    /// Named by the DHT or by the caller.
    named: bool,
    /// Its position in the order in which peers were found.
    at: u64,
    /// What came of it last.
    outcome: Option<Outcome>,
    /// It has the content, and its session was ended because it was not needed.
    spare: bool,
    /// The network was asked for its addresses.
    looked_up: bool,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    known: HashMap<PeerId, Peer>,
    next: u64,
}

impl Candidates {
    /// A search or the caller named this peer, or it is only connected. Whether
    /// that is news.
    pub(crate) fn found(&mut self, peer: PeerId, named: bool, now: Instant) -> bool {
        if let Some(state) = self.known.get_mut(&peer) {
            let news = named && !state.named;
            state.named |= named;
            if news && let Turn::Waiting(at) = &mut state.turn {
                // What it answered while it was a guess is no reason to wait.
                *at = now.min(*at);
            }
            return news;
        }
        if self.known.len() >= MAX_PEERS && !self.make_room(named) {
            return false;
        }
        self.next += 1;
        let fresh = Peer {
            turn: Turn::Waiting(now),
            failures: 0,
            named,
            at: self.next,
            outcome: None,
            spare: false,
            looked_up: false,
        };
        self.known.insert(peer, fresh);
        true
    }

    /// Forgets a peer that failed, or a guess, for one that is worth more.
    fn make_room(&mut self, named: bool) -> bool {
        let spare = self.known.iter().filter(|(_, state)| {
            let worse = state.failures > 0 || named && !state.named;
            matches!(state.turn, Turn::Waiting(_)) && worse && (named || !state.named)
        });
        let spare = spare.max_by_key(|(_, state)| (!state.named, state.failures, state.at));
        let Some(peer) = spare.map(|(peer, _)| *peer) else {
            return false;
        };
        self.known.remove(&peer);
        true
    }

    /// A known provider, or a guess, to ask now; it counts as active until
    /// [`Candidates::failed`], [`Candidates::put_back`] or [`Candidates::ban`].
    pub(crate) fn next(&mut self, named: bool, now: Instant) -> Option<PeerId> {
        let ready = self
            .known
            .iter_mut()
            .filter_map(|(peer, state)| match state.turn {
                Turn::Waiting(at) if at <= now && state.named == named => {
                    Some(((state.failures, state.at), peer, state))
                }
                _ => None,
            });
        // Those without failures first, in the order in which they were found.
        let (_, peer, state) = ready.min_by_key(|(order, ..)| *order)?;
        state.turn = Turn::Active;
        state.spare = false;
        Some(*peer)
    }

    /// Whether the network is to be asked for the peer's addresses: true once, since
    /// each time is a walk through the DHT.
    pub(crate) fn look_up_once(&mut self, peer: &PeerId) -> bool {
        (self.known.get_mut(peer))
            .is_some_and(|state| !std::mem::replace(&mut state.looked_up, true))
    }

    /// The network was not asked for its addresses after all.
    pub(crate) fn look_up_again(&mut self, peer: &PeerId) {
        if let Some(state) = self.known.get_mut(peer) {
            state.looked_up = false;
        }
    }

    /// Whether there is one to ask now.
    pub(crate) fn has_next(&self, named: bool, now: Instant) -> bool {
        self.known.values().any(|state| {
            let due = matches!(state.turn, Turn::Waiting(at) if at <= now);
            due && state.named == named
        })
    }

    /// The peer could not be reached, vanished, or was of no use.
    pub(crate) fn failed(&mut self, peer: &PeerId, outcome: Outcome, now: Instant) {
        if let Some(state) = self.known.get_mut(peer)
            && !matches!(state.turn, Turn::Banned)
        {
            let guess = !state.named && matches!(outcome, Outcome::Lacks);
            let first = if guess { ASK_AGAIN } else { RETRY };
            let wait = first
                .saturating_mul(1 << state.failures.min(5))
                .min(MAX_RETRY);
            state.failures += 1;
            state.turn = Turn::Waiting(now + wait);
            state.outcome = Some(outcome.after(state.outcome.take()));
        }
    }

    /// The peer has the content and is not needed now.
    pub(crate) fn put_back(&mut self, peer: &PeerId, now: Instant) {
        if let Some(state) = self.known.get_mut(peer)
            && !matches!(state.turn, Turn::Banned)
        {
            state.turn = Turn::Waiting(now + MAX_RETRY);
            state.spare = true;
        }
    }

    /// Those that were not needed are needed now.
    pub(crate) fn recall(&mut self, now: Instant) {
        for state in self.known.values_mut().filter(|state| state.spare) {
            if let Turn::Waiting(at) = &mut state.turn {
                *at = now.min(*at);
            }
        }
    }

    /// The peer delivered: earlier failures are forgiven.
    pub(crate) fn delivered(&mut self, peer: &PeerId) {
        if let Some(state) = self.known.get_mut(peer) {
            state.failures = 0;
            state.outcome = None;
        }
    }

    /// The peer is not asked again in this fetch. False when it was banned before.
    pub(crate) fn ban(&mut self, peer: &PeerId, why: Useless) -> bool {
        let Some(state) = self.known.get_mut(peer) else {
            return true;
        };
        state.outcome = Some(Outcome::Useless(why));
        let before = std::mem::replace(&mut state.turn, Turn::Banned);
        !matches!(before, Turn::Banned)
    }

    /// Whether the DHT or the caller named the peer.
    pub(crate) fn is_named(&self, peer: &PeerId) -> bool {
        self.known.get(peer).is_some_and(|state| state.named)
    }

    /// Counts what became of all of them.
    pub(crate) fn tally(&self, reason: &mut Reason) {
        let mut all: Vec<(&PeerId, &Peer)> = self.known.iter().collect();
        all.sort_by_key(|(_, state)| state.at);
        for (peer, state) in all {
            reason.add(peer, state.named, state.outcome.as_ref());
        }
    }

    /// Peers known, also those that are banned.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::fetch::{Obstacle, Unreachable};

    fn gone() -> Outcome {
        Outcome::Unreachable(Unreachable::new(Obstacle::Other, "gone"))
    }

    #[test]
    fn a_failed_peer_waits_longer_each_time_and_a_banned_one_for_ever() {
        let (one, two) = (PeerId::random(), PeerId::random());
        let start = Instant::now();
        let mut candidates = Candidates::default();
        candidates.found(one, true, start);
        assert_eq!(candidates.next(true, start), Some(one));
        assert_eq!(candidates.next(true, start), None);
        candidates.failed(&one, gone(), start);
        assert_eq!(candidates.next(true, start), None);
        let mut now = start + RETRY;
        assert_eq!(candidates.next(true, now), Some(one));
        candidates.failed(&one, gone(), now);
        assert_eq!(candidates.next(true, now + RETRY), None);
        for _ in 0..40 {
            now += MAX_RETRY;
            assert_eq!(candidates.next(true, now), Some(one));
            candidates.failed(&one, gone(), now);
        }
        candidates.found(two, true, now);
        assert_eq!(
            candidates.next(true, now + MAX_RETRY),
            Some(two),
            "who has not failed comes first"
        );
        assert!(candidates.ban(&one, Useless::StreamEnded));
        assert!(!candidates.ban(&one, Useless::StreamEnded));
        candidates.found(one, true, now);
        assert_eq!(candidates.next(true, now + MAX_RETRY * 100), None);
    }

    #[test]
    fn a_guess_is_none_of_the_known_and_becomes_one_when_it_is_named() {
        let start = Instant::now();
        let mut candidates = Candidates::default();
        let all: Vec<PeerId> = (0..3).map(|_| PeerId::random()).collect();
        for peer in &all {
            assert!(candidates.found(*peer, false, start));
        }
        assert_eq!(candidates.next(true, start), None);
        for peer in &all {
            assert_eq!(candidates.next(false, start), Some(*peer), "in their order");
            candidates.failed(peer, Outcome::Lacks, start);
        }
        assert!(!candidates.found(all[1], false, start));
        assert!(candidates.found(all[1], true, start), "that is news");
        assert!(!candidates.found(all[1], true, start));
        assert_eq!(candidates.next(true, start), Some(all[1]), "at once");
        let later = start + ASK_AGAIN;
        assert_eq!(candidates.next(false, later - RETRY), None);
        assert_eq!(candidates.next(false, later), Some(all[0]));
    }

    #[test]
    fn who_was_not_needed_waits_until_it_is() {
        let start = Instant::now();
        let mut candidates = Candidates::default();
        let peer = PeerId::random();
        candidates.found(peer, true, start);
        assert!(candidates.has_next(true, start) && !candidates.has_next(false, start));
        assert_eq!(candidates.next(true, start), Some(peer));
        assert!(!candidates.has_next(true, start));
        candidates.put_back(&peer, start);
        assert!(!candidates.has_next(true, start + ASK_AGAIN));
        candidates.recall(start);
        assert_eq!(candidates.next(true, start), Some(peer));
        candidates.failed(&peer, gone(), start);
        candidates.recall(start);
        assert_eq!(candidates.next(true, start), None, "it failed");
    }

    #[test]
    fn forged_providers_do_not_grow_it_nor_keep_others_out() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        for _ in 0..2 * MAX_PEERS {
            candidates.found(PeerId::random(), true, now);
        }
        assert_eq!(candidates.count(), MAX_PEERS);
        let honest = PeerId::random();
        assert!(
            !candidates.found(honest, true, now),
            "nobody has failed yet"
        );
        let forged = candidates.next(true, now).unwrap();
        candidates.failed(&forged, gone(), now);
        assert!(candidates.found(honest, true, now));
        assert!(!candidates.found(PeerId::random(), false, now));
        assert_eq!(candidates.count(), MAX_PEERS);
        assert!(!candidates.is_named(&forged) && candidates.is_named(&honest));
    }

    #[test]
    fn guesses_make_room_for_who_is_named() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        for _ in 0..MAX_PEERS {
            candidates.found(PeerId::random(), false, now);
        }
        let named = PeerId::random();
        assert!(candidates.found(named, true, now));
        assert_eq!(candidates.next(true, now), Some(named));
        assert_eq!(candidates.count(), MAX_PEERS);
    }
}
