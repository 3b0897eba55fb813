//! Why peers could not be dialed lately.
//!
//! When a dial fails, its addresses are removed from this node's memory, whichever part
//! of the node began it. Another dial of the same peer a moment later would report only
//! that no address of it is known. That would hide what is worth knowing: that its port
//! was closed, or that another peer answered there.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::swarm::DialError;

use crate::content::fetch::Unreachable;
use crate::node::obstacle::unreachable;

/// The number of peers that are remembered. When there are more, the oldest is forgotten.
/// It is more than a fetch asks at the same time. Each takes a few hundred bytes.
const MAX: usize = 256;

/// How long a reason is remembered: longer than a user waits for a get.
const KEPT: Duration = Duration::from_secs(600);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct DialReasons {
    /// The reasons, the oldest first; each peer has one.
    list: VecDeque<(PeerId, Instant, Unreachable)>,
}

impl DialReasons {
    /// Records that a dial of `peer` has failed. Returns the reason in one line; when the
    /// dial failed because no address was known, with the reason before it.
    pub(super) fn failed(&mut self, peer: &PeerId, error: &DialError, now: Instant) -> Unreachable {
        let reason = unreachable(error);
        match error {
            DialError::NoAddresses => self.with_last(peer, reason, now),
            DialError::Transport(_) | DialError::WrongPeerId { .. } => {
                self.forget(peer);
                if self.list.len() >= MAX {
                    self.list.pop_front();
                }
                self.list.push_back((*peer, now, reason.clone()));
                reason
            }
            _ => reason,
        }
    }

    /// Forgets the reason for `peer`, which is connected now.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.list.retain(|(known, ..)| known != peer);
    }

    fn with_last(&self, peer: &PeerId, reason: Unreachable, now: Instant) -> Unreachable {
        let known = self.list.iter().find(|(known, ..)| known == peer);
        let known = known.filter(|(_, at, _)| now.saturating_duration_since(*at) < KEPT);
        match known {
            Some((.., last)) => Unreachable::new(
                last.obstacle,
                format!("{last}; no other address of it is known"),
            ),
            None => reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use libp2p::TransportError;

    use super::*;

    fn refused() -> DialError {
        let address = "/ip4/192.0.2.1/tcp/4001".parse().unwrap();
        let error = io::Error::other("nothing listens on that port");
        DialError::Transport(vec![(address, TransportError::Other(error))])
    }

    #[test]
    fn the_last_reason_is_told_while_no_address_is_known() {
        let (mut reasons, peer, now) = (DialReasons::default(), PeerId::random(), Instant::now());
        let nowhere = unreachable(&DialError::NoAddresses);
        assert_eq!(reasons.failed(&peer, &DialError::NoAddresses, now), nowhere);
        let refused = reasons.failed(&peer, &refused(), now);
        assert_eq!(refused, unreachable(&self::refused()));
        let told = reasons.failed(&peer, &DialError::NoAddresses, now);
        let words = format!("{refused}; no other address of it is known");
        assert_eq!(told, Unreachable::new(refused.obstacle, words));
        // A dial that was not made tells nothing about the peer.
        reasons.failed(&peer, &DialError::Aborted, now);
        assert_eq!(reasons.failed(&peer, &DialError::NoAddresses, now), told);
        let stranger = PeerId::random();
        assert_eq!(
            reasons.failed(&stranger, &DialError::NoAddresses, now),
            nowhere
        );
        assert_eq!(
            reasons.failed(&peer, &DialError::NoAddresses, now + KEPT),
            nowhere
        );
        reasons.forget(&peer);
        assert_eq!(reasons.failed(&peer, &DialError::NoAddresses, now), nowhere);
    }

    #[test]
    fn no_more_than_the_last_are_kept_each_once() {
        let (mut reasons, now) = (DialReasons::default(), Instant::now());
        let first = PeerId::random();
        for _ in 0..2 * MAX {
            reasons.failed(&first, &refused(), now);
        }
        assert_eq!(reasons.list.len(), 1);
        for _ in 0..MAX {
            reasons.failed(&PeerId::random(), &refused(), now);
        }
        assert_eq!(reasons.list.len(), MAX);
        assert!(reasons.list.iter().all(|(peer, ..)| *peer != first));
    }
}
