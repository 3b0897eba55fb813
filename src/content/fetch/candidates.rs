//! The peers that may be asked, and when to ask them again.
//!
//! A peer that the DHT or the caller names is a known provider; a peer that is only
//! connected is a guess. A peer that cannot be reached or that disappears is tried again,
//! with a longer wait each time. A peer that cheats is not asked again in this fetch. The
//! last outcome of each peer is kept, to report at the end why no one had the content.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::outcome::Outcome;
use super::reason::Reason;
use super::useless::Useless;

/// The maximum number of peers that one fetch remembers. This is enough for every
/// connected peer of a node with default limits (400), and for as many named ones as a
/// search of a large network finds. Provider records can be forged at no cost, so a peer
/// that has failed makes room for one that is newly named.
const MAX_PEERS: usize = 1024;

/// The time until the first retry. It doubles with each failure.
const RETRY: Duration = Duration::from_secs(1);

/// The time until a connected peer that does not have the content is asked again. It may
/// be fetching the content itself, and a question costs it little.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// The longest time until a retry.
const MAX_RETRY: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
enum Turn {
    /// The peer can be asked from this time on.
    Waiting(Instant),
    Active,
    Banned,
}

#[derive(Debug, Clone)]
struct Peer {
    turn: Turn,
    failures: u32,
    /// The DHT or the caller named it.
    named: bool,
    /// Its position in the order in which the peers were found.
    at: u64,
    /// The outcome of the last attempt.
    outcome: Option<Outcome>,
    /// It has the content, but its session was ended because it was not needed.
    spare: bool,
    /// The network has been asked for its addresses.
    looked_up: bool,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    known: HashMap<PeerId, Peer>,
    next: u64,
}

impl Candidates {
    /// Adds a peer, which a search or the caller has named, or which is only connected.
    /// Returns whether this is news.
    pub(crate) fn found(&mut self, peer: PeerId, named: bool, now: Instant) -> bool {
        if let Some(state) = self.known.get_mut(&peer) {
            let news = named && !state.named;
            state.named |= named;
            if news && let Turn::Waiting(at) = &mut state.turn {
                // What the peer answered as a guess is no reason to wait longer.
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

    /// Forgets a peer that has failed, or a guess, to make room for a peer that is more
    /// likely to help. Returns whether there was one.
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

    /// Returns a known provider, or a guess, that can be asked now. It counts as active
    /// until [`Candidates::failed`], [`Candidates::put_back`] or [`Candidates::ban`] is
    /// called.
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
        // Peers without failures come first, in the order in which they were found.
        let (_, peer, state) = ready.min_by_key(|(order, ..)| *order)?;
        state.turn = Turn::Active;
        state.spare = false;
        Some(*peer)
    }

    /// Returns whether to ask the network for the peer's addresses. This is true only
    /// once, since each time is a walk through the DHT.
    pub(crate) fn look_up_once(&mut self, peer: &PeerId) -> bool {
        (self.known.get_mut(peer))
            .is_some_and(|state| !std::mem::replace(&mut state.looked_up, true))
    }

    /// Notes that the network was not asked for the peer's addresses after all.
    pub(crate) fn look_up_again(&mut self, peer: &PeerId) {
        if let Some(state) = self.known.get_mut(peer) {
            state.looked_up = false;
        }
    }

    /// Returns whether there is a peer to ask now.
    pub(crate) fn has_next(&self, named: bool, now: Instant) -> bool {
        self.known.values().any(|state| {
            let due = matches!(state.turn, Turn::Waiting(at) if at <= now);
            due && state.named == named
        })
    }

    /// Notes that the peer could not be reached, has disappeared, or was of no use.
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

    /// Notes that the peer has the content but is not needed now.
    pub(crate) fn put_back(&mut self, peer: &PeerId, now: Instant) {
        if let Some(state) = self.known.get_mut(peer)
            && !matches!(state.turn, Turn::Banned)
        {
            state.turn = Turn::Waiting(now + MAX_RETRY);
            state.spare = true;
        }
    }

    /// Makes the peers that were not needed available again.
    pub(crate) fn recall(&mut self, now: Instant) {
        for state in self.known.values_mut().filter(|state| state.spare) {
            if let Turn::Waiting(at) = &mut state.turn {
                *at = now.min(*at);
            }
        }
    }

    /// Notes that the peer has delivered, which cancels its earlier failures.
    pub(crate) fn delivered(&mut self, peer: &PeerId) {
        if let Some(state) = self.known.get_mut(peer) {
            state.failures = 0;
            state.outcome = None;
        }
    }

    /// Makes sure that the peer is not asked again in this fetch. Returns false when it
    /// was already banned.
    pub(crate) fn ban(&mut self, peer: &PeerId, why: Useless) -> bool {
        let Some(state) = self.known.get_mut(peer) else {
            return true;
        };
        state.outcome = Some(Outcome::Useless(why));
        let before = std::mem::replace(&mut state.turn, Turn::Banned);
        !matches!(before, Turn::Banned)
    }

    /// Returns whether the DHT or the caller has named the peer.
    pub(crate) fn is_named(&self, peer: &PeerId) -> bool {
        self.known.get(peer).is_some_and(|state| state.named)
    }

    /// Adds the outcomes of all peers to `reason`.
    pub(crate) fn tally(&self, reason: &mut Reason) {
        let mut all: Vec<(&PeerId, &Peer)> = self.known.iter().collect();
        all.sort_by_key(|(_, state)| state.at);
        for (peer, state) in all {
            reason.add(peer, state.named, state.outcome.as_ref());
        }
    }

    /// Returns the number of known peers, including those that are banned.
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
