//! Who may be asked, and when again. Pure.
//!
//! A provider that cannot be reached or that vanishes is tried again, later each
//! time; one that cheats is not asked again in this fetch.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

/// Peers remembered by one fetch. Eight are asked at once; thirty times that
/// outlasts any churn, and provider records are free to forge.
const MAX_PEERS: usize = 256;

/// Time until the first retry; it doubles with each failure.
const RETRY: Duration = Duration::from_secs(1);

/// Longest time until a retry.
const MAX_RETRY: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
enum Standing {
    /// To be asked from that time on.
    Waiting(Instant),
    Active,
    Banned,
}

#[derive(Debug, Clone, Copy)]
struct Peer {
    standing: Standing,
    failures: u32,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    known: HashMap<PeerId, Peer>,
}

impl Peers {
    /// A search named this peer.
    pub(crate) fn found(&mut self, peer: PeerId, now: Instant) {
        if self.known.len() < MAX_PEERS {
            let fresh = Peer {
                standing: Standing::Waiting(now),
                failures: 0,
            };
            self.known.entry(peer).or_insert(fresh);
        }
    }

    /// A peer to ask now; it counts as active until [`Peers::failed`] or
    /// [`Peers::ban`].
    pub(crate) fn next(&mut self, now: Instant) -> Option<PeerId> {
        let ready = self
            .known
            .iter_mut()
            .filter_map(|(peer, state)| match state.standing {
                Standing::Waiting(at) if at <= now => Some((state.failures, peer, state)),
                _ => None,
            });
        // Those without failures first.
        let (_, peer, state) = ready.min_by_key(|(failures, ..)| *failures)?;
        state.standing = Standing::Active;
        Some(*peer)
    }

    /// The peer could not be reached, vanished, or was of no use.
    pub(crate) fn failed(&mut self, peer: &PeerId, now: Instant) {
        if let Some(state) = self.known.get_mut(peer)
            && !matches!(state.standing, Standing::Banned)
        {
            let wait = RETRY
                .saturating_mul(1 << state.failures.min(5))
                .min(MAX_RETRY);
            state.failures += 1;
            state.standing = Standing::Waiting(now + wait);
        }
    }

    /// The peer delivered: earlier failures are forgiven.
    pub(crate) fn delivered(&mut self, peer: &PeerId) {
        if let Some(state) = self.known.get_mut(peer) {
            state.failures = 0;
        }
    }

    /// The peer is not asked again in this fetch. False when it was banned before.
    pub(crate) fn ban(&mut self, peer: &PeerId) -> bool {
        let Some(state) = self.known.get_mut(peer) else {
            return true;
        };
        let before = std::mem::replace(&mut state.standing, Standing::Banned);
        !matches!(before, Standing::Banned)
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

    #[test]
    fn a_failed_peer_waits_longer_each_time_and_a_banned_one_for_ever() {
        let (one, two) = (PeerId::random(), PeerId::random());
        let start = Instant::now();
        let mut peers = Peers::default();
        peers.found(one, start);
        assert_eq!(peers.next(start), Some(one));
        assert_eq!(peers.next(start), None);
        peers.failed(&one, start);
        assert_eq!(peers.next(start), None);
        let mut now = start + RETRY;
        assert_eq!(peers.next(now), Some(one));
        peers.failed(&one, now);
        assert_eq!(peers.next(now + RETRY), None);
        for _ in 0..40 {
            now += MAX_RETRY;
            assert_eq!(peers.next(now), Some(one));
            peers.failed(&one, now);
        }
        peers.found(two, now);
        assert_eq!(
            peers.next(now + MAX_RETRY),
            Some(two),
            "who has not failed comes first"
        );
        assert!(peers.ban(&one));
        assert!(!peers.ban(&one));
        peers.found(one, now);
        assert_eq!(peers.next(now + MAX_RETRY * 100), None);
    }

    #[test]
    fn forged_providers_do_not_grow_it() {
        let now = Instant::now();
        let mut peers = Peers::default();
        for _ in 0..2 * MAX_PEERS {
            peers.found(PeerId::random(), now);
        }
        assert_eq!(peers.count(), MAX_PEERS);
    }
}
