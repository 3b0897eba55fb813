//! How full a store is.

/// How full the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Blocks stored.
    pub blocks: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Bytes of disk that they take, which is what the cap counts: each block
    /// is rounded up to 4 KiB.
    pub disk_bytes: u64,
    /// The cap.
    pub max_bytes: u64,
}
