//! Whether the node lives and serves.

use std::time::Duration;

/// Answer to a health question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The event loop turns.
    pub live: bool,
    /// The node serves.
    pub ready: bool,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// Connected peers.
    pub connected_peers: u64,
    /// Peers in the DHT's routing table.
    pub routing_table_size: u64,
    /// Since the daemon's start.
    pub uptime: Duration,
}
