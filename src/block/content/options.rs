//! How content is treated, unless a call says otherwise.

use std::time::Duration;

use super::super::exchange::Limits;

/// How content is treated, unless a call says otherwise.
#[derive(Debug, Clone)]
pub struct ContentOptions {
    /// Largest block that is taken from a peer, in bytes (`P2P_MAX_BLOCK_BYTES`).
    pub max_block: usize,
    /// Time to live of what is put (`P2P_BLOCK_TTL`). What is fetched has its
    /// publisher's.
    pub ttl: Duration,
    /// Every root is announced again after at most this long. Less than half of
    /// the time after which the DHT forgets a provider (48 h by the
    /// specification of libp2p, 24 h in older nodes).
    pub reprovide: Duration,
    /// What the serving side allows.
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
