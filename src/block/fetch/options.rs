//! How to fetch content, and for how long to try.

use std::time::Duration;

use libp2p::PeerId;

/// How to fetch content, and for how long to try.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Peers to ask in addition to those that the DHT names.
    pub providers: Vec<PeerId>,
    /// How long to wait without receiving anything that is needed. When several searches
    /// have found no peer that is worth waiting for, a sixth of this is enough.
    pub patience: Duration,
    /// Content with more than this number of bytes is refused when its size is known.
    pub max_size: Option<u64>,
    /// The name under which the content is kept.
    pub name: Option<String>,
    /// Whether to keep the content when all of it is here. Otherwise its blocks stay in
    /// the cache until their space is needed.
    pub keep: bool,
    /// Whether it must never be evicted to make space. With or without this, it is kept
    /// for as long as its publisher says.
    pub pin: bool,
    /// The largest block to accept from a peer, in bytes.
    pub max_block: usize,
}

impl Default for FetchOptions {
    fn default() -> Self {
        FetchOptions {
            providers: Vec::new(),
            // There is enough time for a dial, a walk through the DHT and one retry of
            // both.
            patience: Duration::from_secs(60),
            max_size: None,
            name: None,
            keep: true,
            pin: false,
            max_block: 2 << 20,
        }
    }
}
