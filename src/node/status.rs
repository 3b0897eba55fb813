//! What the node says of itself: plain data, made by the event loop on request.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use serde::Serialize;

/// One screen about the node, as `p2p-node status` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// This node's peer id, in its text form.
    pub peer_id: String,
    /// `p2p-node/<version>`, as identify tells it to others.
    pub agent: String,
    /// Name of the network (`P2P_NETWORK`).
    pub network: String,
    /// Since the event loop started.
    pub uptime: Duration,
    /// Addresses listened on, wildcards expanded, without `/p2p/…`.
    pub listen_addrs: Vec<Multiaddr>,
    /// Addresses that others can dial: configured, confirmed or through a relay.
    pub external_addrs: Vec<Multiaddr>,
    /// Connections established, inbound.
    pub connections_in: u32,
    /// Connections established, outbound.
    pub connections_out: u32,
    /// Connections being made, both directions.
    pub connections_pending: u32,
    /// Peers with at least one connection.
    pub connected_peers: usize,
    /// The DHT.
    pub dht: DhtStatus,
    /// One entry for each topic joined.
    pub topics: Vec<TopicStatus>,
    /// How others reach this node.
    pub nat: NatStatus,
    /// Limits: used of allowed.
    pub limits: Vec<LimitStatus>,
    /// Whether the node is draining: stopping, and taking no new work.
    pub draining: bool,
}

/// This node's part in the DHT.
#[derive(Clone, Debug, Serialize)]
pub struct DhtStatus {
    /// Protocol name, such as `/p2p-node/kad/1.0.0`.
    pub protocol: String,
    /// `server` or `client`, as it is now.
    pub mode: &'static str,
    /// Peers in the routing table.
    pub routing_table_size: usize,
    /// Values held for others or published here.
    pub values: usize,
    /// Provider records held for others or published here.
    pub provider_records: usize,
    /// Queries under way.
    pub queries: usize,
}

/// A gossip topic that this node has joined.
#[derive(Clone, Debug, Serialize)]
pub struct TopicStatus {
    /// The topic's name.
    pub topic: String,
    /// Peers in this node's mesh for it.
    pub mesh_peers: usize,
    /// Connected peers that subscribe to it.
    pub peers: usize,
}

/// How others reach this node.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NatStatus {
    /// `unknown`, `public` (an address was confirmed by a dial back) or
    /// `private` (every address tested failed).
    pub reachability: Reachability,
    /// Relays at which this node holds a reservation.
    pub relays: Vec<String>,
    /// Connections upgraded from a relay to a direct one by hole punching.
    pub hole_punched: u64,
}

/// Whether strangers can dial this node, as autonat found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reachability {
    /// Nobody tested yet.
    #[default]
    Unknown,
    /// An address was dialed back with success.
    Public,
    /// All addresses tested so far could not be dialed.
    Private,
}

impl Reachability {
    /// The word that status and logs show.
    pub fn as_str(self) -> &'static str {
        match self {
            Reachability::Unknown => "unknown",
            Reachability::Public => "public",
            Reachability::Private => "private",
        }
    }
}

/// Unit of a limit of memory or disk.
pub const BYTES: &str = "bytes";

/// Unit of a ceiling of bandwidth.
pub const BYTES_A_SECOND: &str = "bytes_per_second";

/// A limit: how much of what is allowed is used.
#[derive(Clone, Debug, Serialize)]
pub struct LimitStatus {
    /// What is limited, for a person, such as `connections`.
    pub name: &'static str,
    /// The variable that sets it, such as `P2P_MAX_CONNECTIONS`; that of the unit
    /// (`LimitNOFILE`) where the system does; empty for one that is fixed.
    pub variable: &'static str,
    /// What is counted: nothing, [`BYTES`] or [`BYTES_A_SECOND`].
    pub unit: &'static str,
    /// In use now.
    pub used: u64,
    /// Allowed: what is in force, which can be less than what is configured.
    pub allowed: u64,
}

/// A connected peer, as `p2p-node peers` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct PeerStatus {
    /// The peer.
    #[serde(serialize_with = "as_text")]
    pub peer: PeerId,
    /// Its connections.
    pub connections: Vec<ConnectionStatus>,
    /// Agent version it told by identify; escaped, bounded.
    pub agent: Option<String>,
    /// Last ping round trip.
    pub ping: Option<Duration>,
    /// Streams open on its connections now, both directions.
    pub streams: usize,
    /// Whether it is one of `P2P_TRUSTED_PEERS`.
    pub trusted: bool,
    /// Protocols that exchange blocks and that it told by identify; escaped, a few.
    #[serde(skip)]
    pub exchanges: Vec<String>,
    /// Whether it is one of `P2P_PEERING`.
    pub peering: bool,
    /// Why this node keeps a connection with it although nothing may use it: `floor`
    /// (`P2P_MIN_PEERS`), `peering` (`P2P_PEERING`), `publishing` (messages of this
    /// host went to it lately), `topic` (it is on a topic of this node) and `asked`
    /// (the peer asked for it). Empty when it ends as soon as it is idle.
    pub kept_for: Vec<&'static str>,
}

/// One connection of a peer.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionStatus {
    /// `in` or `out`.
    pub direction: &'static str,
    /// `tcp`, `quic`, `ws` or `relay`.
    pub transport: &'static str,
    /// The remote's address.
    pub address: Multiaddr,
    /// Since it was established.
    pub age: Duration,
}

/// Names the transport of an address, for people and logs.
pub fn transport_of(address: &Multiaddr) -> &'static str {
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

fn as_text<S: serde::Serializer>(peer: &PeerId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(peer)
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
}
