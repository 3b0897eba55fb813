//! The progress of a fetch.

/// The progress of a fetch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of bytes of the file that are here and verified.
    pub done: u64,
    /// The file's length, which is known once the root has been read.
    pub total: Option<u64>,
    /// The number of peers that are being asked for blocks.
    pub providers: u64,
    /// The number of bytes of blocks that came from peers. The rest was here already.
    pub received: u64,
}
