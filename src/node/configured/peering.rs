//! The peers that this node is always connected to.

use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

use super::target::Target;
use crate::neighbours::backoff::Backoff;

/// The longest pause between two tries at a peer of `P2P_PEERING`.
const PEERING: Duration = Duration::from_secs(30);

/// The peers to which the node is always connected (`P2P_PEERING`).
#[derive(Debug, Default)]
pub(in crate::node) struct Peering {
    targets: Vec<Target>,
}

impl Peering {
    pub(in crate::node) fn new(addresses: Vec<Multiaddr>) -> Self {
        Peering {
            targets: addresses.into_iter().map(Target::new).collect(),
        }
    }

    /// Changes the addresses from now on. What is known of those that stay is kept.
    pub(in crate::node) fn adjust(&mut self, addresses: &[Multiaddr]) {
        let mut before = std::mem::take(&mut self.targets);
        for address in addresses {
            let at = before.iter().position(|t| t.address == *address);
            self.targets.push(match at {
                Some(at) => before.swap_remove(at),
                None => Target::new(address.clone()),
            });
        }
    }

    /// Returns the peers.
    pub(in crate::node) fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.targets.iter().filter_map(|t| t.peer)
    }

    /// Returns whether `peer` is one of them.
    pub(in crate::node) fn contains(&self, peer: &PeerId) -> bool {
        self.peers().any(|p| p == *peer)
    }

    /// Returns the peers that are not connected and due to be dialed, with all the
    /// addresses that are given for each.
    pub(in crate::node) fn due(
        &mut self,
        now: Instant,
        connected: impl Fn(&PeerId) -> bool,
        mut chance: impl FnMut() -> f64,
    ) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let mut due: Vec<(PeerId, Vec<Multiaddr>)> = Vec::new();
        let mut seen = Vec::new();
        for target in &mut self.targets {
            let Some(peer) = target.peer else { continue };
            // The addresses of one peer are tried in one dial, when the first of them is
            // due.
            if seen.contains(&peer) {
                if let Some((_, addresses)) = due.iter_mut().find(|(p, _)| *p == peer) {
                    addresses.push(target.address.clone());
                }
                continue;
            }
            seen.push(peer);
            if connected(&peer) {
                target.backoff = Backoff::default();
                continue;
            }
            if target.backoff.due(now) {
                target.backoff.failed_within(PEERING, now, chance());
                due.push((peer, vec![target.address.clone()]));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::configured::testing::{nobody, target};

    #[test]
    fn peers_that_are_to_be_connected_always_are_dialed_for_ever_at_all_their_addresses() {
        let (peer, first) = target();
        let second: Multiaddr = format!("/ip4/192.0.2.2/udp/1/quic-v1/p2p/{peer}")
            .parse()
            .unwrap();
        let (other, third) = target();
        let all = vec![first.clone(), second.clone(), third.clone()];
        let mut peering = Peering::new(all.clone());
        let mut now = Instant::now();
        for _ in 0..50 {
            let due = peering.due(now, nobody, || 0.0);
            assert_eq!(
                due,
                [
                    (peer, vec![first.clone(), second.clone()]),
                    (other, vec![third.clone()])
                ]
            );
            assert!(peering.due(now, nobody, || 0.0).is_empty());
            now += PEERING;
        }
        // A connected peer is not dialed; it is dialed at once when its connection has
        // ended.
        assert_eq!(peering.due(now, |p| *p == peer, || 0.0).len(), 1);
        let due = peering.due(now, |p| *p == other, || 0.0);
        assert_eq!(due, [(peer, vec![first.clone(), second])]);
        peering.adjust(&[third]);
        assert!(!peering.contains(&peer) && peering.contains(&other));
        assert_eq!(peering.due(now, nobody, || 0.0).len(), 1);
    }
}
