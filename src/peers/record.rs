//! The record of one connected peer.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;

use super::subnet::{direct_ip, ip_of, ip_of_inbound};
use crate::text::foreign;

/// Longest agent string kept, in characters. Real ones have some tens of them.
const MAX_AGENT: usize = 128;

/// Protocols of the exchange of blocks that are kept of a peer. A node of IPFS
/// speaks four versions of bitswap, and one of this program one protocol.
const MAX_EXCHANGES: usize = 4;

/// Refused DHT records that are held against a peer once, and at most once in
/// [`REFUSED_EVERY`]. A provider of more content than its share announces all of
/// it, a hundred a second for a quarter of an hour at its budget: that costs it
/// less than its connection. Whoever goes on for half an hour has another aim.
const REFUSED_RECORDS: u32 = 600;
const REFUSED_EVERY: Duration = Duration::from_secs(60);

/// The number of pings in a row that libp2p reports as failed before a connection is
/// closed. A connection can be dead although nobody closed it: a host lost its power, a
/// firewall forgot the flow, or the remote process is stopped. libp2p does not report
/// the first failure, so this is the third lost ping. With a ping 15 s after the last
/// answer and 20 s for its own answer (`Options::ping_interval` and `ping_timeout`), a
/// dead connection is closed after 55 to 70 s: up to 15 s until the first ping that is
/// lost, 20 s for its answer, 15 s until a stream for the second one is requested, and
/// 10 s each until libp2p gives up the negotiation of that stream and of the third
/// ping's. So a route change or a laptop that is closed for a moment does not cost any
/// connections, and a dead connection does not hold its place longer than necessary.
/// (QUIC itself gives up after 30 s.)
const UNANSWERED: u32 = 2;

/// One established connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// This node dialed it.
    pub outbound: bool,
    /// It leads through a relay. The remote address of an inbound one does not tell:
    /// it names only the peer.
    pub relayed: bool,
    /// The remote address.
    pub address: Multiaddr,
    /// When it was established.
    pub since: Instant,
    /// The IP address that it counts for: the remote's, or the relay's.
    pub counted: Option<IpAddr>,
    /// The IP address of the peer itself; `None` through a relay.
    pub direct: Option<IpAddr>,
    /// Pings in a row without an answer.
    unanswered: u32,
}

impl Connection {
    /// A connection that is established at `now`.
    pub fn new(endpoint: &ConnectedPoint, now: Instant) -> Self {
        let address = endpoint.get_remote_address().clone();
        let counted = match endpoint {
            ConnectedPoint::Dialer { address, .. } => ip_of(address),
            ConnectedPoint::Listener {
                local_addr,
                send_back_addr,
            } => ip_of_inbound(local_addr, send_back_addr),
        };
        Connection {
            outbound: endpoint.is_dialer(),
            relayed: endpoint.is_relayed(),
            direct: direct_ip(&address),
            counted,
            address,
            since: now,
            unanswered: 0,
        }
    }

    /// Whether it leads over this host's loopback.
    pub fn is_near(&self) -> bool {
        ip_of(&self.address).is_some_and(|ip| ip.is_loopback())
    }

    /// A ping was answered.
    pub fn ping_answered(&mut self) {
        self.unanswered = 0;
    }

    /// A ping was not answered in time, or could not be sent. Answers whether the
    /// connection is to be closed for it, which it says once.
    pub fn ping_lost(&mut self) -> bool {
        self.unanswered += 1;
        self.unanswered == UNANSWERED
    }

    /// Whether so many pings were not answered that it was to be closed.
    pub fn is_silent(&self) -> bool {
        self.unanswered >= UNANSWERED
    }
}

/// What is known of a peer while it is connected.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// In the order in which they were established. A few: the limit of connections with
    /// one peer bounds them, and for trusted peers the descriptors of the process.
    pub(super) connections: Vec<(ConnectionId, Connection)>,
    agent: Option<String>,
    exchanges: Vec<String>,
    /// The round trip of its last ping.
    pub ping: Option<Duration>,
    /// DHT records refused since they were last held against it, and when that was.
    refused: (u32, Option<Instant>),
}

impl Record {
    /// Its connections, in the order in which they were established.
    pub fn connections(&self) -> impl Iterator<Item = (ConnectionId, &Connection)> + Clone {
        self.connections.iter().map(|(id, c)| (*id, c))
    }

    /// One of its connections.
    pub fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections()
            .find_map(|(at, c)| (at == id).then_some(c))
    }

    /// One of its connections.
    pub fn connection_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let mut all = self.connections.iter_mut();
        all.find_map(|(at, c)| (*at == id).then_some(c))
    }

    /// The address of its first direct connection.
    pub fn ip(&self) -> Option<IpAddr> {
        self.connections.iter().find_map(|(_, c)| c.direct)
    }

    /// What the peer calls itself, when it has said so, in printable characters.
    pub fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    /// The protocols that exchange blocks, of those that it named.
    pub fn exchanges(&self) -> &[String] {
        &self.exchanges
    }

    /// The peer has said who it is and which protocols it speaks. Of these, those that
    /// exchange blocks are kept, to say what it speaks when it does not speak this
    /// network's.
    pub fn identified<'a>(&mut self, agent: &str, protocols: impl Iterator<Item = &'a str>) {
        self.agent = Some(foreign::printable_start(agent, MAX_AGENT));
        let exchanges = protocols
            .filter(|name| is_exchange(name))
            .map(|name| foreign::printable_start(name, MAX_AGENT));
        self.exchanges = exchanges.take(MAX_EXCHANGES).collect();
    }

    /// Counts a refused DHT record. Answers whether it is time to hold them against
    /// the peer: see [`REFUSED_RECORDS`].
    pub fn record_refused(&mut self, now: Instant) -> bool {
        let (refused, since) = &mut self.refused;
        *refused += 1;
        let rested = since.is_none_or(|at| now.saturating_duration_since(at) >= REFUSED_EVERY);
        let due = *refused >= REFUSED_RECORDS && rested;
        if due {
            self.refused = (0, Some(now));
        }
        due
    }

    /// The age of its oldest connection.
    pub fn age(&self, now: Instant) -> Duration {
        let since = self.connections.iter().map(|(_, c)| c.since).min();
        now.saturating_duration_since(since.unwrap_or(now))
    }

    /// The remote addresses that this node dialed, which are known to work.
    pub fn dialed(&self) -> impl Iterator<Item = &Multiaddr> {
        let outbound = self.connections.iter().filter(|(_, c)| c.outbound);
        outbound.map(|(_, c)| &c.address)
    }

    /// Its connections through a relay, when a direct one has been established for
    /// `age` as they have.
    pub fn superseded(&self, age: Duration, now: Instant) -> impl Iterator<Item = ConnectionId> {
        let old = move |c: &Connection| now.saturating_duration_since(c.since) >= age;
        let direct = self.connections.iter().any(|(_, c)| !c.relayed && old(c));
        let relayed = move |(id, c): (ConnectionId, &Connection)| {
            (direct && c.relayed && old(c)).then_some(id)
        };
        self.connections().filter_map(relayed)
    }

    /// Whether a connection leads over this host's loopback.
    pub fn is_near(&self) -> bool {
        self.connections.iter().any(|(_, c)| c.is_near())
    }
}

/// Whether a protocol exchanges blocks: bitswap, or that of this program on another
/// network.
fn is_exchange(protocol: &str) -> bool {
    protocol.starts_with("/ipfs/bitswap") || protocol.ends_with("/block/1.0.0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener() -> ConnectedPoint {
        ConnectedPoint::Listener {
            local_addr: "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
            send_back_addr: "/ip4/127.0.0.1/tcp/2".parse().unwrap(),
        }
    }

    #[test]
    fn an_agent_cannot_carry_control_characters_or_grow() {
        let mut record = Record::default();
        let agent = format!("kubo/0.4\x1b[2J\n{}", "x".repeat(10_000));
        record.identified(&agent, std::iter::empty());
        let text = record.agent().unwrap();
        assert!(text.starts_with("kubo/0.4\\u{1b}[2J\\nxxx"), "{text}");
        assert_eq!(text.chars().count(), MAX_AGENT);
    }

    #[test]
    fn of_the_protocols_of_a_peer_those_that_exchange_blocks_are_kept() {
        let mut record = Record::default();
        let told = [
            "/ipfs/kad/1.0.0",
            "/ipfs/bitswap/1.2.0",
            "/other/block/1.0.0",
        ];
        record.identified("", told.into_iter());
        assert_eq!(record.exchanges(), &told[1..]);
        let many = std::iter::repeat_n("/ipfs/bitswap\n", 100);
        record.identified("", many);
        assert_eq!(record.exchanges(), ["/ipfs/bitswap\\n"; 4]);
    }

    #[test]
    fn refused_records_are_held_against_a_peer_by_hundreds_and_once_a_minute() {
        let (mut record, now) = (Record::default(), Instant::now());
        let mut reports =
            |records: u32, at: Instant| (0..records).filter(|_| record.record_refused(at)).count();
        assert_eq!(reports(REFUSED_RECORDS - 1, now), 0);
        assert_eq!(reports(10 * REFUSED_RECORDS, now), 1);
        assert_eq!(reports(1, now + REFUSED_EVERY), 1);
    }

    #[test]
    fn lost_pings_in_a_row_close_a_connection_once_and_an_answer_forgives() {
        let mut connection = Connection::new(&listener(), Instant::now());
        for _ in 0..10 {
            assert!(!connection.ping_lost());
            connection.ping_answered();
        }
        assert!(!connection.ping_lost());
        assert!(!connection.is_silent());
        assert!(connection.ping_lost());
        assert!(!connection.ping_lost(), "closing is said once");
        assert!(connection.is_silent());
    }

    /// libp2p tells of an inbound circuit only who comes, and that in the remote
    /// address; the relay is in the local one.
    #[test]
    fn an_inbound_circuit_is_relayed_although_its_remote_address_names_no_relay() {
        let relay = libp2p::PeerId::random();
        let circuit = ConnectedPoint::Listener {
            local_addr: format!("/ip4/192.0.2.1/tcp/1/p2p/{relay}/p2p-circuit")
                .parse()
                .unwrap(),
            send_back_addr: format!("/p2p/{}", libp2p::PeerId::random())
                .parse()
                .unwrap(),
        };
        let connection = Connection::new(&circuit, Instant::now());
        assert!(connection.relayed && !connection.outbound);
        assert_eq!(connection.direct, None);
        let relays = connection.counted.map(|ip| ip.to_string());
        assert_eq!(relays.as_deref(), Some("192.0.2.1"));
    }
}
