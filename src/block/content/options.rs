//! How to treat content, unless a call says otherwise.

use std::time::Duration;

use super::super::exchange::Limits;

/// How to treat content, unless a call says otherwise.
#[derive(Debug, Clone)]
pub struct ContentOptions {
    /// The largest block that is accepted from a peer, in bytes (`P2P_MAX_BLOCK_BYTES`).
    pub max_block: usize,
    /// The time to live of content that is put (`P2P_BLOCK_TTL`). Content that is fetched
    /// has the time to live that its publisher has set.
    pub ttl: Duration,
    /// Every root is announced again after at most this time. It is less than half of the
    /// time after which the DHT forgets a provider (48 h by the specification of libp2p,
    /// 24 h in older nodes).
    pub reprovide: Duration,
    /// The limits of the serving side.
    pub serve: Limits,
}

impl Default for ContentOptions {
    fn default() -> Self {
        ContentOptions {
            max_block: 2 << 20,
            ttl: Duration::from_secs(24 * 3600),
            reprovide: Duration::from_secs(10 * 3600),
            serve: Limits::default(),
        }
    }
}
