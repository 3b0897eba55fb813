//! The progress of a fetch.

/// The progress of a fetch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the file that are here and verified.
    pub done: u64,
    /// The file's length, once the root has been read.
    pub total: Option<u64>,
    /// Peers that are asked for blocks now.
    pub providers: u64,
    /// Bytes of blocks that came from peers; the rest was here already.
    pub received: u64,
}
