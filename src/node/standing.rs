//! Standing connections: the peers that this node enters the network through,
//! those that it is connected with always, and the relays that it wants to be
//! reachable at. Each is tried again for ever, with backoff and jitter.
//!
//! Pure: time and chance come as arguments. Configured bootstrap peers are mixed
//! with peers remembered from the last run. Remembered ones alone would let
//! whoever once filled the routing table keep the node captive.

use std::time::{Duration, Instant};

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::neighbours::backoff::Backoff;

/// Remembered peers dialed in one round, beside all configured ones.
pub(super) const REMEMBERED_AT_ONCE: usize = 8;

/// The longest pause between two tries at a bootstrap peer of a node without any
/// connection. Within 30 s of the end of a break, of whatever length, the node has
/// tried, and the try had time to succeed. Chance takes up to half of it off.
const ALONE: Duration = Duration::from_secs(20);

/// The same of a node that has peers, but fewer than it should and nobody else to
/// dial.
const FEW: Duration = Duration::from_secs(60);

/// How long a bootstrap peer is left alone that has refused to keep the connection
/// (see [`super::keep`]), doubling from one to the other. The node has nobody
/// else, but a full peer with ten thousand such clients must not see more of them
/// than it can take: 10,000 in 300 s are 33 a second, half of the default of
/// P2P_MAX_INBOUND_RATE.
const TURNED_AWAY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(300));

/// The longest pause between two tries at a peer of `P2P_PEERING`.
const PEERING: Duration = Duration::from_secs(30);

/// How badly the node needs somebody to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// It has the peers that it should have.
    None,
    /// It has fewer, or knows nobody of the DHT.
    Few,
    /// It has no connection at all.
    Alone,
}

/// An address that the node keeps trying.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) address: Multiaddr,
    /// The peer, when the address names it (a `/dnsaddr` need not).
    pub(super) peer: Option<PeerId>,
    pub(super) backoff: Backoff,
    /// A connection with the peer stood in this run.
    met: bool,
    /// How often in a row it refused to keep the connection, and until when it
    /// is left alone for that.
    turned_away: (u32, Option<Instant>),
}

impl Target {
    pub(super) fn new(address: Multiaddr) -> Self {
        let peer = peer_of(&address);
        Target {
            address,
            peer,
            backoff: Backoff::default(),
            met: false,
            turned_away: (0, None),
        }
    }
}

/// Other targets from now on; what is known of those that stay is kept.
fn adjust(targets: &mut Vec<Target>, addresses: &[Multiaddr]) {
    let mut before = std::mem::take(targets);
    for address in addresses {
        let at = before.iter().position(|t| t.address == *address);
        targets.push(match at {
            Some(at) => before.swap_remove(at),
            None => Target::new(address.clone()),
        });
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

    /// Other addresses from now on.
    pub(super) fn adjust(&mut self, addresses: &[Multiaddr]) {
        adjust(&mut self.targets, addresses);
    }

    /// Whether `peer` is one.
    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.targets.iter().any(|t| t.peer.as_ref() == Some(peer))
    }

    /// Addresses to dial now: all that are due when the node is in need of peers,
    /// else those of peers that were not reached in this run. Remembered peers, or
    /// whoever dials in, must not keep the node from ever meeting the configured
    /// ones.
    pub(super) fn due(
        &mut self,
        now: Instant,
        need: Need,
        connected: impl Fn(&PeerId) -> bool,
        mut chance: impl FnMut() -> f64,
    ) -> Vec<Multiaddr> {
        let mut due = Vec::new();
        for target in &mut self.targets {
            if target.peer.as_ref().is_some_and(&connected)
                || target.turned_away.1.is_some_and(|until| now < until)
            {
                continue;
            }
            // An address without a peer cannot be recognised when it was reached.
            let unmet = target.peer.is_some() && !target.met;
            if (need != Need::None || unmet) && target.backoff.due(now) {
                match need {
                    Need::None => target.backoff.failed(now, chance()),
                    Need::Few => target.backoff.failed_within(FEW, now, chance()),
                    Need::Alone => target.backoff.failed_within(ALONE, now, chance()),
                }
                due.push(target.address.clone());
            }
        }
        due
    }

    fn of(&mut self, peer: &PeerId) -> impl Iterator<Item = &mut Target> {
        let targets = self.targets.iter_mut();
        targets.filter(move |t| t.peer.as_ref() == Some(peer))
    }

    /// A peer was connected: its target starts over.
    pub(super) fn connected(&mut self, peer: &PeerId, now: Instant, chance: f64) {
        for target in self.of(peer) {
            target.met = true;
            target.backoff.succeeded(now, chance);
        }
    }

    /// The peer refused to keep the connection.
    pub(super) fn turned_away(&mut self, peer: &PeerId, now: Instant, chance: f64) {
        for target in self.of(peer) {
            let (times, until) = &mut target.turned_away;
            let pause = TURNED_AWAY.0.saturating_mul(1 << (*times).min(16));
            let pause = pause.min(TURNED_AWAY.1);
            *times = times.saturating_add(1);
            *until = Some(now + pause.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0));
        }
    }

    /// The peer keeps the connection.
    pub(super) fn kept(&mut self, peer: &PeerId) {
        for target in self.of(peer) {
            target.turned_away = (0, None);
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
        for target in self.of(peer) {
            target.backoff.hurry();
        }
    }
}

/// The peers that are connected always (`P2P_PEERING`).
#[derive(Debug, Default)]
pub(super) struct Peering {
    targets: Vec<Target>,
}

impl Peering {
    pub(super) fn new(addresses: Vec<Multiaddr>) -> Self {
        Peering {
            targets: addresses.into_iter().map(Target::new).collect(),
        }
    }

    /// Other addresses from now on.
    pub(super) fn adjust(&mut self, addresses: &[Multiaddr]) {
        adjust(&mut self.targets, addresses);
    }

    /// The peers.
    pub(super) fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.targets.iter().filter_map(|t| t.peer)
    }

    /// Whether `peer` is one.
    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.peers().any(|p| p == *peer)
    }

    /// Peers that are not connected and due to be dialed, with all the addresses
    /// that are given for each.
    pub(super) fn due(
        &mut self,
        now: Instant,
        connected: impl Fn(&PeerId) -> bool,
        mut chance: impl FnMut() -> f64,
    ) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let mut due: Vec<(PeerId, Vec<Multiaddr>)> = Vec::new();
        let mut seen = Vec::new();
        for target in &mut self.targets {
            let Some(peer) = target.peer else { continue };
            // The addresses of one peer are tried in one dial, at the time of the first.
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

    fn nobody(_: &PeerId) -> bool {
        false
    }

    #[test]
    fn bootstrap_peers_are_tried_for_ever_while_lonely_and_left_alone_otherwise() {
        let (peer, address) = target();
        let mut bootstrap = Bootstrap::new(vec![address.clone()]);
        let mut now = Instant::now();
        for _ in 0..50 {
            assert_eq!(
                bootstrap.due(now, Need::Few, nobody, || 0.0),
                vec![address.clone()]
            );
            assert!(bootstrap.due(now, Need::Few, nobody, || 0.0).is_empty());
            now += FEW;
        }
        bootstrap.connected(&peer, now, 0.0);
        let later = now + Duration::from_secs(10);
        assert!(bootstrap.due(later, Need::Few, nobody, || 0.0).is_empty());
        let much_later = now + Duration::from_secs(3600);
        assert!(
            bootstrap
                .due(much_later, Need::None, nobody, || 0.0)
                .is_empty()
        );
        assert!(
            bootstrap
                .due(much_later, Need::Few, |p| *p == peer, || 0.0)
                .is_empty()
        );
        bootstrap.lost(&peer);
        assert_eq!(bootstrap.due(now, Need::Few, nobody, || 0.0).len(), 1);
    }

    #[test]
    fn a_node_that_idling_left_alone_returns_within_seconds_and_at_once_to_speak() {
        let (peer, address) = target();
        let mut bootstrap = Bootstrap::new(vec![address.clone()]);
        let now = Instant::now();
        bootstrap.connected(&peer, now, 0.0);
        bootstrap.alone(now, || 0.0);
        assert!(bootstrap.due(now, Need::Alone, nobody, || 0.0).is_empty());
        assert_eq!(
            bootstrap.due(now + ALONE, Need::Alone, nobody, || 0.0),
            vec![address.clone()]
        );

        bootstrap.connected(&peer, now, 0.0);
        bootstrap.wanted();
        assert_eq!(
            bootstrap.due(now, Need::Alone, nobody, || 0.0),
            vec![address]
        );
        // It did not answer: asking again does not make it dial faster.
        bootstrap.wanted();
        assert!(bootstrap.due(now, Need::Alone, nobody, || 0.0).is_empty());
    }

    #[test]
    fn a_node_that_is_alone_tries_every_twenty_seconds_whatever_failed_before() {
        let (_, address) = target();
        let mut bootstrap = Bootstrap::new(vec![address]);
        let mut now = Instant::now();
        for _ in 0..20 {
            bootstrap.due(now, Need::None, nobody, || 0.0);
            now += Duration::from_secs(300);
        }
        // Its other peers are gone in the middle of a pause of five minutes.
        now -= Duration::from_secs(299);
        assert!(bootstrap.due(now, Need::Alone, nobody, || 0.0).is_empty());
        bootstrap.alone(now, || 0.0);
        for _ in 0..20 {
            now += ALONE;
            assert_eq!(bootstrap.due(now, Need::Alone, nobody, || 0.0).len(), 1);
        }
    }

    #[test]
    fn a_bootstrap_peer_that_is_full_is_left_alone_for_longer_and_longer() {
        let (peer, address) = target();
        let mut bootstrap = Bootstrap::new(vec![address]);
        let mut now = Instant::now();
        for pause in [60, 120, 240, 300, 300] {
            bootstrap.connected(&peer, now, 0.0);
            bootstrap.turned_away(&peer, now, 0.0);
            bootstrap.alone(now, || 0.0);
            let pause = Duration::from_secs(pause);
            let almost = now + pause - Duration::from_millis(1);
            assert!(
                bootstrap
                    .due(almost, Need::Alone, nobody, || 0.0)
                    .is_empty()
            );
            now += pause;
            assert_eq!(bootstrap.due(now, Need::Alone, nobody, || 0.0).len(), 1);
        }
        bootstrap.connected(&peer, now, 0.0);
        bootstrap.kept(&peer);
        bootstrap.alone(now, || 0.0);
        now += ALONE;
        assert_eq!(bootstrap.due(now, Need::Alone, nobody, || 0.0).len(), 1);
    }

    #[test]
    fn a_bootstrap_peer_that_was_never_met_is_tried_beside_other_peers() {
        let (peer, address) = target();
        let anybody: Multiaddr = "/dnsaddr/bootstrap.example".parse().unwrap();
        let mut bootstrap = Bootstrap::new(vec![address.clone(), anybody]);
        let mut now = Instant::now();
        for _ in 0..50 {
            assert_eq!(
                bootstrap.due(now, Need::None, nobody, || 0.0),
                vec![address.clone()]
            );
            now += Duration::from_secs(300);
        }
        bootstrap.connected(&peer, now, 0.0);
        now += Duration::from_secs(3600);
        assert!(bootstrap.due(now, Need::None, nobody, || 0.0).is_empty());
    }

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
        // Who is connected is not dialed, and at once when it is gone.
        assert_eq!(peering.due(now, |p| *p == peer, || 0.0).len(), 1);
        let due = peering.due(now, |p| *p == other, || 0.0);
        assert_eq!(due, [(peer, vec![first.clone(), second])]);
        peering.adjust(&[third]);
        assert!(!peering.contains(&peer) && peering.contains(&other));
        assert_eq!(peering.due(now, nobody, || 0.0).len(), 1);
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
