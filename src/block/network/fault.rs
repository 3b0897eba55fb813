//! What a peer did wrong in the exchange.

use cid::Cid;

use crate::content::refusal::Refusal;

/// What a peer did wrong in the exchange.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It sent a block that was refused. The refusal says how serious that is.
    #[error("sent a bad block for {cid}: {why}")]
    Block {
        /// The block that it was asked for.
        cid: Cid,
        /// What is wrong with the block.
        why: Refusal,
    },
    /// It announced a frame that is longer than any block that it may send.
    #[error("sent a frame of {len} bytes, over the limit of {max}")]
    Oversized {
        /// The number of bytes that it announced.
        len: u64,
        /// The limit.
        max: usize,
    },
    /// It violated the protocol.
    #[error("broke the block exchange protocol: {0}")]
    Protocol(String),
}
