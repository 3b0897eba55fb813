//! What was sent on one stream.

/// What was sent on one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// The number of blocks sent.
    pub blocks: u64,
    /// The number of their bytes, as they were sent.
    pub bytes: u64,
    /// The number of wants that were answered without a block.
    pub refused: u64,
    /// The number of questions whether a block is here that were answered with yes.
    pub confirmed: u64,
}
