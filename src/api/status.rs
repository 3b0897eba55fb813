//! Everything that `p2p-node status` shows.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

use crate::text::size;

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
    /// `server` or `client`, as it is now.
    pub mode: String,
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

/// How the node can be reached through NAT, in [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatStatus {
    /// Whether peers that it is not connected with can dial the node.
    pub state: Reachability,
    /// The relays at which this node holds a reservation.
    pub relays: Vec<String>,
    /// The number of connections that hole punching made direct.
    pub hole_punched: u64,
}

/// One limit in [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitStatus {
    /// What is limited, for a person, such as `inbound connections`.
    pub name: String,
    /// What the two numbers count.
    pub unit: Unit,
    /// How much is used now.
    pub used: u64,
    /// How much is allowed.
    pub allowed: u64,
    /// The variable that raises the limit, for example `P2P_MAX_CONNECTIONS`.
    pub variable: String,
}

/// Whether a node is starting, running or stopping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The daemon did not report it, or used a word that this version does not know.
    #[default]
    Unknown,
    /// The node does not serve yet.
    Starting,
    /// The node serves.
    Running,
    /// The node is stopping and takes no new work.
    Draining,
}

impl State {
    /// Returns the word for it in the status, on the health pages and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Unknown => "unknown",
            State::Starting => "starting",
            State::Running => "running",
            State::Draining => "draining",
        }
    }

    /// Returns the meaning of a word.
    pub fn of(word: &str) -> State {
        match word {
            "starting" => State::Starting,
            "running" => State::Running,
            "draining" => State::Draining,
            _ => State::Unknown,
        }
    }
}

/// What the numbers of a [`LimitStatus`] count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// A number of things, such as connections.
    #[default]
    Count,
    /// Bytes of memory or disk.
    Bytes,
    /// Bytes per second of bandwidth.
    BytesPerSecond,
}

impl Unit {
    /// Returns the word for it in JSON and on the wire. Plain numbers have none.
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Count => "",
            Unit::Bytes => "bytes",
            Unit::BytesPerSecond => "bytes_per_second",
        }
    }

    /// Returns the meaning of a word. A word that is not known stands for plain numbers.
    pub fn of(word: &str) -> Unit {
        match word {
            "bytes" => Unit::Bytes,
            "bytes_per_second" => Unit::BytesPerSecond,
            _ => Unit::Count,
        }
    }

    /// Writes an amount in this unit for people.
    pub fn show(self, amount: u64) -> String {
        match self {
            Unit::Count => amount.to_string(),
            Unit::Bytes => size::show(amount),
            Unit::BytesPerSecond => size::show_rate(amount),
        }
    }
}

/// Whether peers that a node is not connected with can dial it, according to autonat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reachability {
    /// No one has tested it yet.
    #[default]
    Unknown,
    /// A peer has dialed one of the addresses successfully.
    Public,
    /// All addresses that were tested so far could not be dialed.
    Private,
}

impl Reachability {
    /// Returns the word for it in the status, in logs and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Reachability::Unknown => "unknown",
            Reachability::Public => "public",
            Reachability::Private => "private",
        }
    }

    /// Returns the meaning of a word. A word that is not known means that nothing is
    /// known.
    pub fn of(word: &str) -> Reachability {
        match word {
            "public" => Reachability::Public,
            "private" => Reachability::Private,
            _ => Reachability::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_means_what_it_was_written_for() {
        for state in [
            State::Unknown,
            State::Starting,
            State::Running,
            State::Draining,
        ] {
            assert_eq!(State::of(state.as_str()), state);
        }
        for unit in [Unit::Count, Unit::Bytes, Unit::BytesPerSecond] {
            assert_eq!(Unit::of(unit.as_str()), unit);
        }
        assert_eq!(State::of("a word of tomorrow"), State::Unknown);
        assert_eq!(Unit::of("furlongs"), Unit::Count);
    }
}
