//! Whether the node is live and ready.

use std::time::Duration;

/// Answer to a health question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether the event loop makes progress.
    pub live: bool,
    /// Whether the node serves.
    pub ready: bool,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// Connected peers.
    pub connected_peers: u64,
    /// Peers in the DHT's routing table.
    pub routing_table_size: u64,
    /// The time since the daemon's start.
    pub uptime: Duration,
}
