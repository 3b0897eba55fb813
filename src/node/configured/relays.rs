//! The relays through which this node wants to be reachable.

use std::time::Instant;

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use super::target::Target;
use crate::neighbours::backoff::Backoff;

/// A relay at which the node wants a reservation.
#[derive(Debug)]
struct Relay {
    target: Target,
    /// The circuit listener, if there is one or one is being made.
    listener: Option<ListenerId>,
    /// Whether the reservation was accepted.
    reserved: bool,
}

/// The relays.
#[derive(Debug, Default)]
pub(in crate::node) struct Relays {
    list: Vec<Relay>,
}

impl Relays {
    pub(in crate::node) fn new(addresses: Vec<Multiaddr>) -> Self {
        Relays {
            list: addresses
                .into_iter()
                .map(|a| Relay {
                    target: Target::new(a),
                    listener: None,
                    reserved: false,
                })
                .collect(),
        }
    }

    /// Changes the relays from now on. Those that stay keep their reservations. Returns
    /// the listeners of those that are removed.
    pub(in crate::node) fn adjust(&mut self, addresses: &[Multiaddr]) -> Vec<ListenerId> {
        let mut before = std::mem::take(&mut self.list);
        for address in addresses {
            let at = before.iter().position(|r| r.target.address == *address);
            self.list.push(match at {
                Some(at) => before.swap_remove(at),
                None => Relay {
                    target: Target::new(address.clone()),
                    listener: None,
                    reserved: false,
                },
            });
        }
        before.into_iter().filter_map(|r| r.listener).collect()
    }

    /// Returns the relays to ask for a reservation now, with their indices.
    pub(in crate::node) fn due(
        &mut self,
        now: Instant,
        mut chance: impl FnMut() -> f64,
    ) -> Vec<(usize, Multiaddr)> {
        let mut due = Vec::new();
        for (index, relay) in self.list.iter_mut().enumerate() {
            if relay.listener.is_none() && relay.target.backoff.due(now) {
                relay.target.backoff.failed(now, chance());
                due.push((
                    index,
                    relay.target.address.clone().with(Protocol::P2pCircuit),
                ));
            }
        }
        due
    }

    /// Records that the relay with this index, which [`Self::due`] returned, is asked
    /// through this listener.
    pub(in crate::node) fn asked(&mut self, index: usize, listener: ListenerId) {
        if let Some(relay) = self.list.get_mut(index) {
            relay.listener = Some(listener);
        }
    }

    /// Returns whether `peer` is one of the relays.
    pub(in crate::node) fn contains(&self, peer: &PeerId) -> bool {
        self.list
            .iter()
            .any(|r| r.target.peer.as_ref() == Some(peer))
    }

    /// Returns the peers at which there is a reservation; `None` for a relay whose peer
    /// id is not known.
    pub(in crate::node) fn reserved(&self) -> impl Iterator<Item = Option<PeerId>> {
        let reserved = self.list.iter().filter(|r| r.reserved);
        reserved.map(|r| r.target.peer)
    }

    /// Records that a reservation was accepted.
    pub(in crate::node) fn accepted(&mut self, relay: &PeerId) {
        for r in self
            .list
            .iter_mut()
            .filter(|r| r.target.peer.as_ref() == Some(relay))
        {
            r.reserved = true;
            r.target.backoff = Backoff::default();
        }
    }

    /// Records that a circuit listener ended. If it was one of these, returns the address
    /// of the relay and whether there was a reservation.
    pub(in crate::node) fn closed(&mut self, listener: ListenerId) -> Option<(Multiaddr, bool)> {
        let relay = self
            .list
            .iter_mut()
            .find(|r| r.listener == Some(listener))?;
        relay.listener = None;
        let reserved = std::mem::take(&mut relay.reserved);
        Some((relay.target.address.clone(), reserved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::configured::testing::target;
    use std::time::Duration;

    #[test]
    fn a_relay_is_asked_again_when_its_reservation_ends() {
        let (peer, address) = target();
        let mut relays = Relays::new(vec![address.clone()]);
        let now = Instant::now();
        let due = relays.due(now, || 0.0);
        assert_eq!(due.len(), 1);
        assert!(due[0].1.to_string().ends_with("/p2p-circuit"));
        let id = ListenerId::next();
        relays.asked(0, id);
        relays.accepted(&peer);
        assert!(
            relays
                .due(now + Duration::from_secs(600), || 0.0)
                .is_empty()
        );
        assert_eq!(relays.closed(ListenerId::next()), None);
        assert_eq!(relays.closed(id), Some((address.clone(), true)));
        assert_eq!(relays.due(now, || 0.0).len(), 1);
        // The next attempt does not reach the relay, so there is no reservation that
        // could end.
        let id = ListenerId::next();
        relays.asked(0, id);
        assert_eq!(relays.closed(id), Some((address, false)));
    }
}
