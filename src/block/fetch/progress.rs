//! The progress of a fetch.

/// The progress of a fetch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of bytes of content that were delivered.
    pub done: u64,
    /// The number of bytes of the whole content, if known.
    pub total: Option<u64>,
    /// The number of bytes of blocks that came from peers.
    pub received: u64,
    /// The number of peers that are connected for this fetch.
    pub providers: usize,
}
