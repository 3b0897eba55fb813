//! The result of a finished fetch, and what each provider did for it.

use std::collections::HashMap;
use std::time::Duration;

use cid::Cid;
use libp2p::PeerId;

/// What one provider did for a fetch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProviderStats {
    /// The number of blocks that were needed.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The number of bytes of blocks that another peer brought first, or that were
    /// refused.
    pub wasted: u64,
}

/// The result of a finished fetch.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The content that was fetched.
    pub cid: Cid,
    /// The number of bytes of content.
    pub size: u64,
    /// The number of leaves and inner nodes, each counted once.
    pub blocks: u64,
    /// The number of bytes of blocks that came from peers.
    pub received: u64,
    /// The number of bytes of blocks that were here before.
    pub local: u64,
    /// The number of bytes that arrived but were not needed, or were refused.
    pub wasted: u64,
    /// What each provider did, for at most 64 of them.
    pub providers: HashMap<PeerId, ProviderStats>,
    /// The largest number of bytes of blocks that were in memory at once.
    pub peak_memory: usize,
    /// The time from start to end.
    pub elapsed: Duration,
}
