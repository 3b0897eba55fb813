//! Everything that `p2p-node status` shows, with a part for each subsystem.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

use super::{DhtRole, LimitStatus, NatStatus, State};

/// Everything that `p2p-node status` shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// This node's identity; `None` only when the daemon did not report it.
    pub peer_id: Option<PeerId>,
    /// The name and version of the daemon.
    pub agent: String,
    /// The name of the network (`P2P_NETWORK`).
    pub network: String,
    /// The time since the daemon's start.
    pub uptime: Duration,
    /// Whether it is starting, running or stopping.
    pub state: State,
    /// The addresses at which it listens, with wildcards expanded.
    pub listen_addrs: Vec<Multiaddr>,
    /// The addresses at which others can reach it, as configured or confirmed by them.
    pub external_addrs: Vec<Multiaddr>,
    /// The number of connected peers, each counted once.
    pub peers: u64,
    /// The number of connections that peers made.
    pub connections_inbound: u64,
    /// The number of connections that this node made.
    pub connections_outbound: u64,
    /// The number of connections being made, in both directions.
    pub connections_pending: u64,
    /// The number of open streams on all connections.
    pub streams: u64,
    /// The DHT.
    pub dht: DhtStatus,
    /// The topics that this node has joined.
    pub topics: Vec<TopicStatus>,
    /// The block store.
    pub store: StoreStatus,
    /// Whether and how the node can be reached through NAT.
    pub nat: NatStatus,
    /// The files of this host that wait to be announced.
    pub announcements: AnnouncementStatus,
    /// How much of each limit is used.
    pub limits: Vec<LimitStatus>,
    /// The resident memory of the daemon in bytes.
    pub resident_bytes: u64,
    /// The number of bans in force.
    pub bans: u64,
    /// The number of peers whose reputation is remembered.
    pub reputations: u64,
}

/// The state of the DHT, in [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DhtStatus {
    /// What this node does in it at present.
    pub mode: DhtRole,
    /// The DHT's protocol id.
    pub protocol: String,
    /// The number of peers in the routing table.
    pub table_size: u64,
    /// The number of values held here.
    pub values: u64,
    /// The number of provider records held here.
    pub provider_records: u64,
    /// The number of queries under way.
    pub queries: u64,
}

/// Files of the host that wait to be announced to the DHT, in [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnouncementStatus {
    /// The number of files that wait to be announced, including those under way.
    pub waiting: u64,
    /// How long the most overdue of them has waited.
    pub lateness: Duration,
}

/// One gossip topic in [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicStatus {
    /// The topic.
    pub topic: String,
    /// The number of peers in the topic's mesh.
    pub mesh_peers: u64,
    /// The number of connected peers that subscribe to it.
    pub peers: u64,
}

/// The state of the block store, in [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// The number of blocks.
    pub blocks: u64,
    /// The number of bytes of their payload.
    pub bytes: u64,
    /// The cap (`P2P_STORE_MAX_BYTES`).
    pub max_bytes: u64,
    /// The number of files among the blocks.
    pub roots: u64,
    /// The bytes of disk space that they take, which is what the cap limits.
    pub disk_bytes: u64,
}
