//! Blocks that open batches rely on.

use std::collections::{HashMap, HashSet};

/// Blocks that open batches rely on without holding them in the database yet, each with
/// how many batches do.
#[derive(Debug, Default)]
pub(super) struct Protected {
    batches: HashMap<Vec<u8>, u32>,
}

impl Protected {
    /// Whether a batch relies on the block.
    pub(super) fn contains(&self, key: &[u8]) -> bool {
        self.batches.contains_key(key)
    }

    /// One more batch relies on the block.
    pub(super) fn add(&mut self, key: &[u8]) {
        *self.batches.entry(key.to_vec()).or_default() += 1;
    }

    /// One batch less relies on each of the blocks.
    pub(super) fn remove<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) {
        for key in keys {
            if let Some(count) = self.batches.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.batches.remove(key);
                }
            }
        }
    }
}

/// Ids of the batches that are open and have blocks in the database.
pub(super) type OpenBatches = HashSet<u64>;
