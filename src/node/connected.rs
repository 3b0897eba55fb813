//! The connected peers: what the event loop knows of each.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

use super::keep;
use super::meter::Meters;
use super::standing::Peering;
use crate::api;
use crate::dht::addresses::is_loopback;
use crate::peers::Policy;
use crate::text::foreign;

/// Longest agent string kept. Real ones are some tens of bytes.
const MAX_AGENT: usize = 128;

/// Protocols of the exchange of blocks that are kept of a peer. A node of IPFS
/// speaks four versions of bitswap, and one of this program one protocol.
const MAX_EXCHANGES: usize = 4;

/// Refused DHT records that are held against a peer once, and at most once in
/// [`STUFFING_EVERY`]. A provider of more content than its share announces all of
/// it, a hundred a second for a quarter of an hour at its budget: that costs it
/// less than its connection. Who goes on for half an hour has another aim.
const STUFFING: u32 = 600;
const STUFFING_EVERY: Duration = Duration::from_secs(60);

/// One connection, established.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) outbound: bool,
    /// Through a relay. The remote address of an inbound one does not tell: it names
    /// only the peer.
    pub(super) relayed: bool,
    pub(super) address: Multiaddr,
    pub(super) since: Instant,
}

impl Connection {
    /// Names the way that it takes, for people and logs.
    pub(super) fn transport(&self) -> &'static str {
        if self.relayed {
            "relay"
        } else {
            transport_of(&self.address)
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Peer {
    connections: HashMap<ConnectionId, Connection>,
    agent: Option<String>,
    /// Protocols that exchange blocks, of those that it told.
    exchanges: Vec<String>,
    ping: Option<Duration>,
    /// Records refused since they were last held against it, and when that was.
    stuffing: (u32, Option<Instant>),
}

/// All connected peers. Bounded by the connection limits.
#[derive(Debug, Default)]
pub(super) struct Peers {
    map: HashMap<PeerId, Peer>,
    inbound: u32,
    outbound: u32,
}

impl Peers {
    /// Notes a connection, which it answers.
    pub(super) fn opened(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        endpoint: &ConnectedPoint,
        now: Instant,
    ) -> &Connection {
        let outbound = endpoint.is_dialer();
        if outbound {
            self.outbound += 1;
        } else {
            self.inbound += 1;
        }
        let address = endpoint.get_remote_address().clone();
        let connection = Connection {
            outbound,
            relayed: endpoint.is_relayed(),
            address,
            since: now,
        };
        let connections = &mut self.map.entry(peer).or_default().connections;
        connections.entry(id).insert_entry(connection).into_mut()
    }

    /// Takes a closed connection out; tells it, and whether it was the peer's last.
    pub(super) fn closed(&mut self, peer: &PeerId, id: ConnectionId) -> (Option<Connection>, bool) {
        let Some(entry) = self.map.get_mut(peer) else {
            return (None, true);
        };
        let connection = entry.connections.remove(&id);
        if let Some(connection) = &connection {
            if connection.outbound {
                self.outbound = self.outbound.saturating_sub(1);
            } else {
                self.inbound = self.inbound.saturating_sub(1);
            }
        }
        let last = entry.connections.is_empty();
        if last {
            self.map.remove(peer);
        }
        (connection, last)
    }

    pub(super) fn identified(&mut self, peer: &PeerId, agent: &str) {
        if let Some(entry) = self.map.get_mut(peer) {
            entry.agent = Some(foreign::printable_start(agent, MAX_AGENT));
        }
    }

    /// The peer told these protocols; those that exchange blocks are kept, to say
    /// what it speaks when it does not speak this network's.
    pub(super) fn speaks<'a>(&mut self, peer: &PeerId, protocols: impl Iterator<Item = &'a str>) {
        if let Some(entry) = self.map.get_mut(peer) {
            let exchanges = protocols
                .filter(|name| is_exchange(name))
                .map(|name| foreign::printable_start(name, MAX_AGENT));
            entry.exchanges = exchanges.take(MAX_EXCHANGES).collect();
        }
    }

    /// Whether the peer has said who it is.
    pub(super) fn is_identified(&self, peer: &PeerId) -> bool {
        self.map.get(peer).is_some_and(|p| p.agent.is_some())
    }

    pub(super) fn pinged(&mut self, peer: &PeerId, rtt: Duration) {
        if let Some(entry) = self.map.get_mut(peer) {
            entry.ping = Some(rtt);
        }
    }

    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.map.contains_key(peer)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &PeerId> {
        self.map.keys()
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn inbound(&self) -> u32 {
        self.inbound
    }

    pub(super) fn outbound(&self) -> u32 {
        self.outbound
    }

    /// Remote addresses of the peer's outbound connections: dialable, since we did.
    pub(super) fn dialed_addrs(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.map.get(peer).map_or_else(Vec::new, |p| {
            p.connections
                .values()
                .filter(|c| c.outbound)
                .map(|c| c.address.clone())
                .collect()
        })
    }

    /// Whether some peer is connected over this host's loopback. Then a network
    /// is on this host (a test, several nodes on one machine), and what peers
    /// say of loopback addresses means something here.
    pub(super) fn any_near(&self) -> bool {
        self.map
            .values()
            .flat_map(|p| p.connections.values())
            .any(|c| is_loopback(&c.address))
    }

    /// Remote addresses of a peer's connections.
    pub(super) fn addresses(&self, peer: &PeerId) -> impl Iterator<Item = &Multiaddr> {
        self.connections(peer).map(|(_, address)| address)
    }

    /// The connections of a peer with their remote addresses.
    pub(super) fn connections(
        &self,
        peer: &PeerId,
    ) -> impl Iterator<Item = (ConnectionId, &Multiaddr)> {
        let list = self.map.get(peer).into_iter();
        list.flat_map(|p| p.connections.iter().map(|(id, c)| (*id, &c.address)))
    }

    /// Connections through a relay beside one that leads to the same peer directly,
    /// when both have stood for `age`.
    pub(super) fn superseded(&self, age: Duration, now: Instant) -> Vec<(PeerId, ConnectionId)> {
        let stands = |c: &Connection| now.saturating_duration_since(c.since) >= age;
        let mut superseded = Vec::new();
        for (peer, entry) in &self.map {
            if entry.connections.len() < 2 {
                continue;
            }
            let standing = entry.connections.iter().filter(|(_, c)| stands(c));
            if standing.clone().any(|(_, c)| !c.relayed) {
                let over = standing.filter(|(_, c)| c.relayed);
                superseded.extend(over.map(|(id, _)| (*peer, *id)));
            }
        }
        superseded
    }

    /// Of a peer's connections: the age of the oldest, whether this node dialed one,
    /// and whether one does not lead through a relay.
    pub(super) fn bearing(&self, peer: &PeerId, now: Instant) -> (Duration, bool, bool) {
        let list = || {
            self.map
                .get(peer)
                .into_iter()
                .flat_map(|p| p.connections.values())
        };
        let since = list().map(|c| c.since).min().unwrap_or(now);
        (
            now.saturating_duration_since(since),
            list().any(|c| c.outbound),
            list().any(|c| !c.relayed),
        )
    }

    /// Remote address of one connection.
    pub(super) fn address_of(&self, peer: &PeerId, id: ConnectionId) -> Option<&Multiaddr> {
        self.map.get(peer)?.connections.get(&id).map(|c| &c.address)
    }

    /// Counts a refused DHT record of a peer; whether it is time to hold it against
    /// the peer: see [`STUFFING`].
    pub(super) fn stuffs(&mut self, peer: &PeerId, now: Instant) -> bool {
        let Some(entry) = self.map.get_mut(peer) else {
            return false;
        };
        let (refused, since) = &mut entry.stuffing;
        *refused += 1;
        let rested = since.is_none_or(|at| now.saturating_duration_since(at) >= STUFFING_EVERY);
        let due = *refused >= STUFFING && rested;
        if due {
            entry.stuffing = (0, Some(now));
        }
        due
    }

    /// All connected peers as programs on this host see them, in the order of their ids.
    pub(super) fn describe(
        &self,
        now: Instant,
        meters: &Meters,
        trusted: &[PeerId],
        peering: &Peering,
        keep: &keep::Behaviour,
        policy: &Policy,
    ) -> Vec<api::Peer> {
        let mut list: Vec<api::Peer> = self
            .map
            .iter()
            .map(|(peer, entry)| api::Peer {
                id: *peer,
                agent: entry.agent.clone().unwrap_or_default(),
                ping: entry.ping,
                connections: entry
                    .connections
                    .values()
                    .map(|c| api::Connection {
                        inbound: !c.outbound,
                        transport: c.transport().to_owned(),
                        addr: c.address.clone(),
                        age: now.saturating_duration_since(c.since),
                    })
                    .collect(),
                weight: 0,
                streams: meters.streams(peer) as u64,
                trusted: trusted.contains(peer),
                peering: peering.contains(peer),
                reputation: f64::from(policy.reputation(peer, now).score),
                kept_for: keep.reasons(peer).into_iter().map(str::to_owned).collect(),
                exchanges: entry.exchanges.clone(),
            })
            .collect();
        list.sort_by_key(|p| p.id);
        list
    }
}

/// Names the transport of an address, for people and logs.
fn transport_of(address: &Multiaddr) -> &'static str {
    use libp2p::multiaddr::Protocol;
    let mut name = "other";
    for part in address {
        match part {
            Protocol::P2pCircuit => return "relay",
            Protocol::QuicV1 => name = "quic",
            Protocol::Ws(_) | Protocol::Wss(_) => name = "ws",
            Protocol::Tcp(_) => name = "tcp",
            _ => {}
        }
    }
    name
}

/// Whether a protocol exchanges blocks: bitswap, or that of this program on another
/// network.
fn is_exchange(protocol: &str) -> bool {
    protocol.starts_with("/ipfs/bitswap") || protocol.ends_with("/block/1.0.0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_are_named_by_the_outermost_way() {
        for (address, name) in [
            ("/ip4/1.2.3.4/tcp/4001", "tcp"),
            ("/ip4/1.2.3.4/udp/4001/quic-v1", "quic"),
            ("/ip4/1.2.3.4/tcp/4001/ws", "ws"),
            (
                "/ip4/1.2.3.4/tcp/1/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp/p2p-circuit",
                "relay",
            ),
            ("/memory/1", "other"),
        ] {
            assert_eq!(transport_of(&address.parse().unwrap()), name, "{address}");
        }
    }

    #[test]
    fn an_agent_cannot_carry_control_characters_or_grow() {
        let text = foreign::printable_start(
            &format!("kubo/0.4\x1b[2J\n{}", "x".repeat(10_000)),
            MAX_AGENT,
        );
        assert!(text.starts_with("kubo/0.4\\u{1b}[2J\\nxxx"), "{text}");
        assert_eq!(text.chars().count(), MAX_AGENT);
    }

    #[test]
    fn of_the_protocols_of_a_peer_those_that_exchange_blocks_are_kept() {
        let mut peers = Peers::default();
        let peer = PeerId::random();
        let listener = ConnectedPoint::Listener {
            local_addr: "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
            send_back_addr: "/ip4/127.0.0.1/tcp/2".parse().unwrap(),
        };
        let now = Instant::now();
        peers.opened(peer, ConnectionId::new_unchecked(1), &listener, now);
        let told = [
            "/ipfs/kad/1.0.0",
            "/ipfs/bitswap/1.2.0",
            "/other/block/1.0.0",
        ];
        peers.speaks(&peer, told.into_iter());
        assert_eq!(peers.map[&peer].exchanges, told[1..]);
        let many = std::iter::repeat_n("/ipfs/bitswap\n", 100);
        peers.speaks(&peer, many);
        assert_eq!(peers.map[&peer].exchanges, ["/ipfs/bitswap\\n"; 4]);
    }

    #[test]
    fn refused_records_are_held_against_a_peer_by_hundreds_and_once_a_minute() {
        let mut peers = Peers::default();
        let peer = PeerId::random();
        let listener = ConnectedPoint::Listener {
            local_addr: "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
            send_back_addr: "/ip4/127.0.0.1/tcp/2".parse().unwrap(),
        };
        let now = Instant::now();
        peers.opened(peer, ConnectionId::new_unchecked(1), &listener, now);
        let reports = |peers: &mut Peers, records: u32, at: Instant| {
            (0..records).filter(|_| peers.stuffs(&peer, at)).count()
        };
        assert_eq!(reports(&mut peers, STUFFING - 1, now), 0);
        assert_eq!(reports(&mut peers, 10 * STUFFING, now), 1);
        assert_eq!(reports(&mut peers, 1, now + STUFFING_EVERY), 1);
        assert!(
            !peers.stuffs(&PeerId::random(), now),
            "nobody is remembered"
        );
    }

    #[test]
    fn loopback_addresses_mean_something_only_beside_a_peer_on_this_host() {
        let mut peers = Peers::default();
        for (n, (remote, near)) in [("192.0.2.1", false), ("127.0.0.1", true)]
            .into_iter()
            .enumerate()
        {
            let endpoint = ConnectedPoint::Listener {
                local_addr: "/ip4/192.0.2.9/tcp/1".parse().unwrap(),
                send_back_addr: format!("/ip4/{remote}/tcp/2").parse().unwrap(),
            };
            let id = ConnectionId::new_unchecked(n);
            peers.opened(PeerId::random(), id, &endpoint, Instant::now());
            assert_eq!(peers.any_near(), near, "{remote}");
        }
    }

    #[test]
    fn a_relayed_connection_is_superseded_by_a_direct_one_that_has_stood_for_a_while() {
        let (mut peers, peer) = (Peers::default(), PeerId::random());
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let direct = "/ip4/192.0.2.1/tcp/1".to_owned();
        let circuit = format!("{direct}/p2p/{}/p2p-circuit", PeerId::random());
        let mut open = |peer, n, address: &str, now| {
            let endpoint = ConnectedPoint::Dialer {
                address: address.parse().unwrap(),
                role_override: libp2p::core::Endpoint::Dialer,
                port_use: libp2p::core::transport::PortUse::Reuse,
            };
            peers.opened(peer, ConnectionId::new_unchecked(n), &endpoint, now);
        };
        open(peer, 1, &circuit, now);
        open(peer, 2, &direct, now + second);
        open(peer, 3, &circuit, now + 9 * second);
        // Those that are relayed only, or twice, have no other way.
        open(PeerId::random(), 4, &circuit, now);
        let twice = PeerId::random();
        open(twice, 5, &circuit, now);
        open(twice, 6, &circuit, now);
        let (age, first) = (10 * second, ConnectionId::new_unchecked(1));
        assert_eq!(peers.superseded(age, now + age), []);
        assert_eq!(peers.superseded(age, now + second + age), [(peer, first)]);
        assert_eq!(peers.superseded(age, now + 2 * age).len(), 2);
        peers.closed(&peer, ConnectionId::new_unchecked(2));
        assert_eq!(peers.superseded(age, now + 2 * age), []);
    }

    /// libp2p tells of an inbound circuit only who comes, and that in the remote
    /// address; the relay is in the local one.
    #[test]
    fn an_inbound_circuit_is_relayed_although_its_remote_address_names_no_relay() {
        let now = Instant::now();
        let age = Duration::from_secs(10);
        let direct = "/ip4/192.0.2.1/tcp/1".to_owned();
        let circuit = format!("{direct}/p2p/{}/p2p-circuit", PeerId::random());
        let peer = PeerId::random();
        let inbound = |local: &str, remote: &str| ConnectedPoint::Listener {
            local_addr: local.parse().unwrap(),
            send_back_addr: remote.parse().unwrap(),
        };
        let circuit_in = inbound(&circuit, &format!("/p2p/{peer}"));
        let circuit_out = ConnectedPoint::Dialer {
            address: format!("{circuit}/p2p/{peer}").parse().unwrap(),
            role_override: libp2p::core::Endpoint::Dialer,
            port_use: libp2p::core::transport::PortUse::Reuse,
        };
        let direct_in = inbound("/ip4/192.0.2.9/tcp/1", &direct);
        let first = ConnectionId::new_unchecked(1);
        for (beside, over, only_relayed) in [
            (circuit_out, vec![], true),
            (direct_in, vec![(peer, first)], false),
        ] {
            let mut peers = Peers::default();
            peers.opened(peer, first, &circuit_in, now);
            assert_eq!(peers.bearing(&peer, now), (Duration::ZERO, false, false));
            let connection = peers.map[&peer].connections.values().next();
            assert_eq!(connection.map(Connection::transport), Some("relay"));
            peers.opened(peer, ConnectionId::new_unchecked(2), &beside, now);
            assert_eq!(peers.superseded(age, now + age), over, "{beside:?}");
            let (_, _, direct) = peers.bearing(&peer, now);
            assert_eq!(direct, !only_relayed, "{beside:?}");
        }
    }

    #[test]
    fn counts_follow_connections() {
        let mut peers = Peers::default();
        let peer = PeerId::random();
        let listener = ConnectedPoint::Listener {
            local_addr: "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
            send_back_addr: "/ip4/127.0.0.1/tcp/2".parse().unwrap(),
        };
        let (a, b) = (
            ConnectionId::new_unchecked(1),
            ConnectionId::new_unchecked(2),
        );
        peers.opened(peer, a, &listener, Instant::now());
        peers.opened(peer, b, &listener, Instant::now());
        assert_eq!((peers.len(), peers.inbound(), peers.outbound()), (1, 2, 0));
        assert!(!peers.closed(&peer, a).1);
        assert!(peers.closed(&peer, b).1);
        assert_eq!((peers.len(), peers.inbound()), (0, 0));
    }
}
