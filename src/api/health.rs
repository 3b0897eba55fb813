//! Whether the node is live and ready.

use std::time::Duration;

/// The answer to a health request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether the event loop makes progress.
    pub live: bool,
    /// Whether the node serves.
    pub ready: bool,
    /// Why it is not ready; `None` when it is.
    pub reason: Option<String>,
    /// The number of connected peers.
    pub connected_peers: u64,
    /// The number of peers in the DHT's routing table.
    pub routing_table_size: u64,
    /// The time since the daemon's start.
    pub uptime: Duration,
}
