//! A count of distinct blocks in little memory.

use std::collections::HashSet;

use cid::Cid;

/// Counts blocks, each once, by the first eight bytes of their digests: 16 bytes
/// of memory a block, and among a million blocks the chance to miscount one is
/// one in forty million.
#[derive(Debug, Default)]
pub(crate) struct Distinct(HashSet<u64>);

impl Distinct {
    /// Counts the block unless it was counted before.
    pub(crate) fn add(&mut self, cid: &Cid) {
        if let Some(head) = cid.hash().digest().first_chunk() {
            self.0.insert(u64::from_le_bytes(*head));
        }
    }

    /// Blocks counted.
    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }
}
