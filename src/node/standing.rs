//! Standing connections: the peers that this node enters the network through,
//! and the relays that it wants to be reachable at. Each is tried again for
//! ever, with backoff and jitter.
//!
//! Pure: time and chance come as arguments. Configured bootstrap peers are mixed
//! with peers remembered from the last run. Remembered ones alone would let
//! whoever once filled the routing table keep the node captive.

use std::time::{Duration, Instant};

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use super::backoff::Backoff;

/// Remembered peers dialed in one round, beside all configured ones.
pub(super) const REMEMBERED_AT_ONCE: usize = 8;

/// How soon a node that is left without any connection returns to a bootstrap
/// peer. Idle connections end after half a minute on both sides, so a quiet node
/// is often alone; it must hear of the network and be heard all the same, and a
/// bootstrap node with hundreds of quiet clients must not see each of them every
/// few seconds.
const ALONE: Duration = Duration::from_secs(20);

/// An address that the node keeps trying.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) address: Multiaddr,
    /// The peer, when the address names it (a `/dnsaddr` need not).
    pub(super) peer: Option<PeerId>,
    pub(super) backoff: Backoff,
    /// A connection with the peer stood in this run.
    met: bool,
}

impl Target {
    pub(super) fn new(address: Multiaddr) -> Self {
        let peer = peer_of(&address);
        Target {
            address,
            peer,
            backoff: Backoff::default(),
            met: false,
        }
    }
}

/// The bootstrap peers.
#[derive(Debug, Default)]
pub(super) struct Bootstrap {
    pub(super) targets: Vec<Target>,
}

impl Bootstrap {
    pub(super) fn new(addresses: Vec<Multiaddr>) -> Self {
        Bootstrap {
            targets: addresses.into_iter().map(Target::new).collect(),
        }
    }

    /// Other addresses from now on; what is known of those that stay is kept.
    pub(super) fn adjust(&mut self, addresses: &[Multiaddr]) {
        let mut before = std::mem::take(&mut self.targets);
        for address in addresses {
            let at = before.iter().position(|t| t.address == *address);
            self.targets.push(match at {
                Some(at) => before.swap_remove(at),
                None => Target::new(address.clone()),
            });
        }
    }

    /// Addresses to dial now: all that are due when the node is `lonely` (has no
    /// connection, or an empty routing table), else those of peers that were not
    /// reached in this run. Remembered peers, or whoever dials in, must not keep
    /// the node from ever meeting the configured ones.
    pub(super) fn due(
        &mut self,
        now: Instant,
        lonely: bool,
        mut chance: impl FnMut() -> f64,
    ) -> Vec<Multiaddr> {
        let mut due = Vec::new();
        for target in &mut self.targets {
            // An address without a peer cannot be recognised when it was reached.
            let unmet = target.peer.is_some() && !target.met;
            if (lonely || unmet) && target.backoff.due(now) {
                target.backoff.failed(now, chance());
                due.push(target.address.clone());
            }
        }
        due
    }

    /// A peer was connected: its target starts over.
    pub(super) fn connected(&mut self, peer: &PeerId, now: Instant, chance: f64) {
        for target in &mut self.targets {
            if target.peer.as_ref() == Some(peer) {
                target.met = true;
                target.backoff.succeeded(now, chance);
            }
        }
    }

    /// The node's last connection ended, be it by idling.
    pub(super) fn alone(&mut self, now: Instant, mut chance: impl FnMut() -> f64) {
        for target in &mut self.targets {
            target.backoff.within(ALONE, now, chance());
        }
    }

    /// Somebody on this host has something to say and nobody is there to hear it.
    pub(super) fn wanted(&mut self) {
        for target in &mut self.targets {
            target.backoff.hurry();
        }
    }

    /// The last connection with a peer ended, not by idling: try soon.
    pub(super) fn lost(&mut self, peer: &PeerId) {
        for target in &mut self.targets {
            if target.peer.as_ref() == Some(peer) {
                target.backoff.hurry();
            }
        }
    }
}

/// A relay that the node wants a reservation at.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) target: Target,
    /// The circuit listener, while one stands or is being made.
    pub(super) listener: Option<ListenerId>,
    /// Whether the reservation was accepted.
    pub(super) reserved: bool,
}

/// The relays.
#[derive(Debug, Default)]
pub(super) struct Relays {
    pub(super) list: Vec<Relay>,
}

impl Relays {
    pub(super) fn new(addresses: Vec<Multiaddr>) -> Self {
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

    /// Other relays from now on; those that stay keep their reservations. Answers
    /// the listeners of those that go.
    pub(super) fn adjust(&mut self, addresses: &[Multiaddr]) -> Vec<ListenerId> {
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

    /// Relays to ask for a reservation now, with their index.
    pub(super) fn due(
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

    /// A reservation was accepted.
    pub(super) fn accepted(&mut self, relay: &PeerId) {
        for r in self
            .list
            .iter_mut()
            .filter(|r| r.target.peer.as_ref() == Some(relay))
        {
            r.reserved = true;
            r.target.backoff = Backoff::default();
        }
    }

    /// A circuit listener ended. When it was one of ours, says at which relay
    /// and whether a reservation stood.
    pub(super) fn closed(&mut self, listener: ListenerId) -> Option<(Multiaddr, bool)> {
        let relay = self
            .list
            .iter_mut()
            .find(|r| r.listener == Some(listener))?;
        relay.listener = None;
        let reserved = std::mem::take(&mut relay.reserved);
        Some((relay.target.address.clone(), reserved))
    }
}

/// The peer at the end of an address.
pub(super) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn target() -> (PeerId, Multiaddr) {
        let peer = PeerId::random();
        (
            peer,
            format!("/ip4/192.0.2.1/tcp/4001/p2p/{peer}")
                .parse()
                .unwrap(),
        )
    }

    #[test]
    fn bootstrap_peers_are_tried_for_ever_while_lonely_and_left_alone_otherwise() {
        let (peer, address) = target();
        let mut bootstrap = Bootstrap::new(vec![address.clone()]);
        let mut now = Instant::now();
        for _ in 0..50 {
            assert_eq!(bootstrap.due(now, true, || 0.0), vec![address.clone()]);
            assert!(bootstrap.due(now, true, || 0.0).is_empty());
            now += Duration::from_secs(300);
        }
        bootstrap.connected(&peer, now, 0.0);
        let later = now + Duration::from_secs(10);
        assert!(bootstrap.due(later, true, || 0.0).is_empty());
        let much_later = now + Duration::from_secs(3600);
        assert!(bootstrap.due(much_later, false, || 0.0).is_empty());
        bootstrap.lost(&peer);
        assert_eq!(bootstrap.due(now, true, || 0.0).len(), 1);
    }

    #[test]
    fn a_node_that_idling_left_alone_returns_within_seconds_and_at_once_to_speak() {
        let (peer, address) = target();
        let mut bootstrap = Bootstrap::new(vec![address.clone()]);
        let now = Instant::now();
        bootstrap.connected(&peer, now, 0.0);
        bootstrap.alone(now, || 0.0);
        assert!(bootstrap.due(now, true, || 0.0).is_empty());
        assert_eq!(
            bootstrap.due(now + ALONE, true, || 0.0),
            vec![address.clone()]
        );

        bootstrap.connected(&peer, now, 0.0);
        bootstrap.wanted();
        assert_eq!(bootstrap.due(now, true, || 0.0), vec![address]);
        // It did not answer: asking again does not make it dial faster.
        bootstrap.wanted();
        assert!(bootstrap.due(now, true, || 0.0).is_empty());
    }

    #[test]
    fn a_bootstrap_peer_that_was_never_met_is_tried_beside_other_peers() {
        let (peer, address) = target();
        let anybody: Multiaddr = "/dnsaddr/bootstrap.example".parse().unwrap();
        let mut bootstrap = Bootstrap::new(vec![address.clone(), anybody]);
        let mut now = Instant::now();
        for _ in 0..50 {
            assert_eq!(bootstrap.due(now, false, || 0.0), vec![address.clone()]);
            now += Duration::from_secs(300);
        }
        bootstrap.connected(&peer, now, 0.0);
        now += Duration::from_secs(3600);
        assert!(bootstrap.due(now, false, || 0.0).is_empty());
    }

    #[test]
    fn a_relay_is_asked_again_when_its_reservation_ends() {
        let (peer, address) = target();
        let mut relays = Relays::new(vec![address.clone()]);
        let now = Instant::now();
        let due = relays.due(now, || 0.0);
        assert_eq!(due.len(), 1);
        assert!(due[0].1.to_string().ends_with("/p2p-circuit"));
        let id = ListenerId::next();
        relays.list[0].listener = Some(id);
        relays.accepted(&peer);
        assert!(
            relays
                .due(now + Duration::from_secs(600), || 0.0)
                .is_empty()
        );
        assert_eq!(relays.closed(ListenerId::next()), None);
        assert_eq!(relays.closed(id), Some((address.clone(), true)));
        assert_eq!(relays.due(now, || 0.0).len(), 1);
        // The next attempt meets nobody: no reservation was there to end.
        let id = ListenerId::next();
        relays.list[0].listener = Some(id);
        assert_eq!(relays.closed(id), Some((address, false)));
    }
}
