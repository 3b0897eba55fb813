//! What is known of one connected peer.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;

use super::subnet::{direct_ip, ip_of, ip_of_inbound};
use crate::text::foreign;

/// The length of the longest agent string that is kept, in characters. Real ones have
/// some tens of them.
const MAX_AGENT: usize = 128;

/// The number of block exchange protocols that are kept for a peer. A node of IPFS speaks
/// four versions of bitswap, and a node of this program speaks one protocol.
const MAX_EXCHANGES: usize = 4;

/// The number of refused DHT records that is reported as one offence of a peer, at most
/// once in [`REFUSED_EVERY`]. A provider of more content than its share announces all of
/// it: at its budget, a hundred a second for a quarter of an hour. That does not cost it
/// enough reputation to lose its connection. A peer that goes on for half an hour has
/// another aim.
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
    /// Whether this node dialed it.
    pub outbound: bool,
    /// Whether it leads through a relay. The remote address of an inbound connection does
    /// not tell: it names only the peer.
    pub relayed: bool,
    /// The remote address.
    pub address: Multiaddr,
    /// When it was established.
    pub since: Instant,
    /// The IP address that the connection counts for: the remote's, or the relay's.
    pub counted: Option<IpAddr>,
    /// The IP address of the peer itself; `None` through a relay.
    pub direct: Option<IpAddr>,
    /// The number of pings in a row without an answer.
    unanswered: u32,
}

impl Connection {
    /// Returns a connection that is established at `now`.
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

    /// Returns whether it uses this host's loopback interface.
    pub fn is_near(&self) -> bool {
        ip_of(&self.address).is_some_and(|ip| ip.is_loopback())
    }

    /// Records that a ping was answered.
    pub fn ping_answered(&mut self) {
        self.unanswered = 0;
    }

    /// Records that a ping was not answered in time, or could not be sent. Returns
    /// whether the connection is to be closed because of it; it returns `true` only once.
    pub fn ping_lost(&mut self) -> bool {
        self.unanswered += 1;
        self.unanswered == UNANSWERED
    }

    /// Returns whether so many pings were not answered that the connection was to be
    /// closed.
    pub fn is_silent(&self) -> bool {
        self.unanswered >= UNANSWERED
    }
}

/// What is known of a peer while it is connected.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The connections, in the order in which they were established. They are few: the
    /// limit of connections with one peer bounds them, and for trusted peers the
    /// descriptors of the process do.
    pub(super) connections: Vec<(ConnectionId, Connection)>,
    agent: Option<String>,
    exchanges: Vec<String>,
    /// The round-trip time of the last ping.
    pub ping: Option<Duration>,
    /// The number of DHT records refused since they were last reported as an offence, and
    /// the time of that report.
    refused: (u32, Option<Instant>),
}

impl Record {
    /// Returns the connections, in the order in which they were established.
    pub fn connections(&self) -> impl Iterator<Item = (ConnectionId, &Connection)> + Clone {
        self.connections.iter().map(|(id, c)| (*id, c))
    }

    /// Returns the connection with this id.
    pub fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections()
            .find_map(|(at, c)| (at == id).then_some(c))
    }

    /// Returns the connection with this id, to be changed.
    pub fn connection_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let mut all = self.connections.iter_mut();
        all.find_map(|(at, c)| (*at == id).then_some(c))
    }

    /// Returns the address of the first direct connection.
    pub fn ip(&self) -> Option<IpAddr> {
        self.connections.iter().find_map(|(_, c)| c.direct)
    }

    /// Returns what the peer calls itself, when it has said so, in printable characters.
    pub fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    /// Returns those of the protocols which the peer named that exchange blocks.
    pub fn exchanges(&self) -> &[String] {
        &self.exchanges
    }

    /// Records that the peer has said who it is and which protocols it speaks. Of these,
    /// those that exchange blocks are kept, in order to tell which of them it speaks when
    /// it does not speak this network's.
    pub fn identified<'a>(&mut self, agent: &str, protocols: impl Iterator<Item = &'a str>) {
        self.agent = Some(foreign::printable_start(agent, MAX_AGENT));
        let exchanges = protocols
            .filter(|name| is_exchange(name))
            .map(|name| foreign::printable_start(name, MAX_AGENT));
        self.exchanges = exchanges.take(MAX_EXCHANGES).collect();
    }

    /// Counts a refused DHT record. Returns whether it is time to report them as an
    /// offence of the peer: see [`REFUSED_RECORDS`].
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

    /// Returns the age of the oldest connection.
    pub fn age(&self, now: Instant) -> Duration {
        let since = self.connections.iter().map(|(_, c)| c.since).min();
        now.saturating_duration_since(since.unwrap_or(now))
    }

    /// Returns the remote addresses that this node dialed. These are known to work.
    pub fn dialed(&self) -> impl Iterator<Item = &Multiaddr> {
        let outbound = self.connections.iter().filter(|(_, c)| c.outbound);
        outbound.map(|(_, c)| &c.address)
    }

    /// Returns the connections through a relay that are at least `age` old, if a direct
    /// one is at least `age` old too.
    pub fn superseded(&self, age: Duration, now: Instant) -> impl Iterator<Item = ConnectionId> {
        let old = move |c: &Connection| now.saturating_duration_since(c.since) >= age;
        let direct = self.connections.iter().any(|(_, c)| !c.relayed && old(c));
        let relayed = move |(id, c): (ConnectionId, &Connection)| {
            (direct && c.relayed && old(c)).then_some(id)
        };
        self.connections().filter_map(relayed)
    }

    /// Returns whether a connection uses this host's loopback interface.
    pub fn is_near(&self) -> bool {
        self.connections.iter().any(|(_, c)| c.is_near())
    }
}

/// Returns whether a protocol exchanges blocks: bitswap, or the protocol of this program
/// on another network.
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

    /// For an inbound circuit, libp2p gives only the id of the peer in the remote
    /// address. The relay is in the local address.
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
