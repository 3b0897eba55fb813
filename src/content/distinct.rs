//! Counts distinct blocks in little memory.

use std::collections::HashSet;

use cid::Cid;

/// Counts each block once, by the first eight bytes of its digest. This takes 16 bytes of
/// memory per block, and among a million blocks the probability of a miscount is one in
/// forty million.
#[derive(Debug, Default)]
pub(crate) struct Distinct(HashSet<u64>);

impl Distinct {
    /// Counts the block, unless it has been counted already.
    pub(crate) fn add(&mut self, cid: &Cid) {
        if let Some(head) = cid.hash().digest().first_chunk() {
            self.0.insert(u64::from_le_bytes(*head));
        }
    }

    /// Returns the number of blocks that were counted.
    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }
}
