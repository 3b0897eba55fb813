//! Everything that `p2p-node status` shows.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

use crate::text::size;

/// Everything that `p2p-node status` shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// This node's identity; `None` only from a daemon that did not say.
    pub peer_id: Option<PeerId>,
    /// Name and version of the daemon.
    pub agent: String,
    /// Name of the network (`P2P_NETWORK`).
    pub network: String,
    /// The time since the daemon's start.
    pub uptime: Duration,
    /// How far it is between its start and its end.
    pub state: State,
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
    /// Whether and how the node can be reached through NAT.
    pub nat: NatStatus,
    /// Files of this host that wait to be announced.
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

/// Files of the host that wait to be announced to the DHT, in [`Status`].
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
    /// What the two numbers count.
    pub unit: Unit,
    /// How much is used now.
    pub used: u64,
    /// How much is allowed.
    pub allowed: u64,
    /// The variable that raises it, for example `P2P_MAX_CONNECTIONS`.
    pub variable: String,
}

/// How far a node is between its start and its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The daemon did not say, or used a word that this version does not know.
    #[default]
    Unknown,
    /// It does not serve yet.
    Starting,
    /// It serves.
    Running,
    /// It is stopping and takes no new work.
    Draining,
}

impl State {
    /// The word that status, health pages and the wire have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Unknown => "unknown",
            State::Starting => "starting",
            State::Running => "running",
            State::Draining => "draining",
        }
    }

    /// What a word means.
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
    /// Things, such as connections.
    #[default]
    Count,
    /// Bytes of memory or disk.
    Bytes,
    /// Bytes a second of bandwidth.
    BytesPerSecond,
}

impl Unit {
    /// The word that JSON and the wire have for it; plain numbers have none.
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Count => "",
            Unit::Bytes => "bytes",
            Unit::BytesPerSecond => "bytes_per_second",
        }
    }

    /// What a word means; one that is not known stands for plain numbers.
    pub fn of(word: &str) -> Unit {
        match word {
            "bytes" => Unit::Bytes,
            "bytes_per_second" => Unit::BytesPerSecond,
            _ => Unit::Count,
        }
    }

    /// An amount in this unit, for people.
    pub fn show(self, amount: u64) -> String {
        match self {
            Unit::Count => amount.to_string(),
            Unit::Bytes => size::show(amount),
            Unit::BytesPerSecond => size::show_rate(amount),
        }
    }
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
