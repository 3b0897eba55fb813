//! Everything that `p2p-node status` shows.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

/// State of a node that does not serve yet.
pub const STARTING: &str = "starting";

/// State of a node that serves.
pub const RUNNING: &str = "running";

/// State of a node that stops, and takes no new work.
pub const DRAINING: &str = "draining";

/// Everything that `p2p-node status` shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// This node's identity; `None` only from a daemon that did not say.
    pub peer_id: Option<PeerId>,
    /// Name and version of the daemon.
    pub agent: String,
    /// Name of the network (`P2P_NETWORK`).
    pub network: String,
    /// Since the daemon's start.
    pub uptime: Duration,
    /// [`STARTING`], [`RUNNING`] or [`DRAINING`].
    pub state: String,
    /// Where it listens, wildcards expanded.
    pub listen_addrs: Vec<Multiaddr>,
    /// Where others can reach it, as configured or confirmed by them.
    pub external_addrs: Vec<Multiaddr>,
    /// Connected peers, each counted once.
    pub peers: u64,
    /// Connections that peers made.
    pub connections_inbound: u64,
    /// Connections that this node made.
    pub connections_outbound: u64,
    /// Connections being made, both directions.
    pub connections_pending: u64,
    /// Open streams of all connections.
    pub streams: u64,
    /// The DHT.
    pub dht: DhtStatus,
    /// Topics joined here.
    pub topics: Vec<TopicStatus>,
    /// The block store.
    pub store: StoreStatus,
    /// How the node stands towards NAT.
    pub nat: NatStatus,
    /// How far the files of this host are announced.
    pub announcements: AnnouncementStatus,
    /// What is used of what is allowed.
    pub limits: Vec<LimitStatus>,
    /// Bytes of resident memory of the daemon.
    pub resident_bytes: u64,
    /// Bans in force.
    pub bans: u64,
    /// Peers whose reputation is remembered.
    pub reputations: u64,
}

/// The DHT's part of [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DhtStatus {
    /// `server` or `client`, as it is now.
    pub mode: String,
    /// The DHT's protocol id.
    pub protocol: String,
    /// Peers in the routing table.
    pub table_size: u64,
    /// Values held here.
    pub values: u64,
    /// Provider records held here.
    pub provider_records: u64,
    /// Queries under way.
    pub queries: u64,
}

/// How far the files of the host are announced to the DHT, in [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnouncementStatus {
    /// Files that wait to be announced, those under way included.
    pub waiting: u64,
    /// For how long the most overdue of them has waited.
    pub lateness: Duration,
}

/// One gossip topic in [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicStatus {
    /// The topic.
    pub topic: String,
    /// Peers in the topic's mesh.
    pub mesh_peers: u64,
    /// Connected peers that subscribe to it.
    pub peers: u64,
}

/// The block store's part of [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Blocks.
    pub blocks: u64,
    /// Bytes of their payload.
    pub bytes: u64,
    /// The cap (`P2P_STORE_MAX_BYTES`).
    pub max_bytes: u64,
    /// Files among the blocks.
    pub roots: u64,
    /// Bytes of disk that they take, which is what the cap counts.
    pub disk_bytes: u64,
}

/// The NAT's part of [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatStatus {
    /// Whether strangers can dial the node.
    pub state: Reachability,
    /// Relays at which this node holds a reservation.
    pub relays: Vec<String>,
    /// Connections that hole punching made direct.
    pub hole_punched: u64,
}

/// One limit in [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitStatus {
    /// What is limited, for a person, such as `inbound connections`.
    pub name: String,
    /// `bytes`, `bytes_per_second`, or nothing for plain numbers.
    pub unit: String,
    /// Used now.
    pub used: u64,
    /// Allowed.
    pub allowed: u64,
    /// The variable that raises it, for example `P2P_MAX_CONNECTIONS`.
    pub variable: String,
}

/// Whether strangers can dial a node, as autonat found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reachability {
    /// Nobody has tested yet.
    #[default]
    Unknown,
    /// An address was dialed back with success.
    Public,
    /// All addresses that were tested so far could not be dialed.
    Private,
}

impl Reachability {
    /// The word that status, logs and the wire have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reachability::Unknown => "unknown",
            Reachability::Public => "public",
            Reachability::Private => "private",
        }
    }

    /// What a word means; one that is not known means that nothing is known.
    pub fn of(word: &str) -> Reachability {
        match word {
            "public" => Reachability::Public,
            "private" => Reachability::Private,
            _ => Reachability::Unknown,
        }
    }
}

/// Unit of a limit of memory or disk.
pub const BYTES: &str = "bytes";

/// Unit of a ceiling of bandwidth.
pub const BYTES_A_SECOND: &str = "bytes_per_second";
