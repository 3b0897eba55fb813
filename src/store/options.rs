//! The limits of a store.

/// Limits of a store.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Cap of the disk space that blocks take (`P2P_STORE_MAX_BYTES`).
    pub max_bytes: u64,
    /// Cap of one block's payload (`P2P_MAX_BLOCK_BYTES`).
    pub max_block_bytes: usize,
}
