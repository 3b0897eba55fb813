//! What one stream was served.

/// What one stream was served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Blocks sent.
    pub blocks: u64,
    /// Their bytes, as they were sent.
    pub bytes: u64,
    /// Wants answered without a block.
    pub refused: u64,
    /// Questions whether a block is here that were answered with yes.
    pub confirmed: u64,
}
