//! When blocks were last read, since the last sweep.

use std::collections::HashMap;

/// Reads remembered between two sweeps to order eviction by. More are not
/// remembered: the order is then less exact, and memory stays under a megabyte.
const MAX_TOUCHES: usize = 8192;

/// The time of the last read of each block, in milliseconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Touches {
    at: HashMap<Vec<u8>, u64>,
}

impl Touches {
    /// The block `key` was read at `now`.
    pub(super) fn add(&mut self, key: Vec<u8>, now: u64) {
        if self.at.len() < MAX_TOUCHES || self.at.contains_key(&key) {
            self.at.insert(key, now);
        }
    }

    /// Takes all of them, to be written down.
    pub(super) fn take(&mut self) -> HashMap<Vec<u8>, u64> {
        std::mem::take(&mut self.at)
    }

    /// Takes back those that could not be written down. Later reads count.
    pub(super) fn give_back(&mut self, touches: HashMap<Vec<u8>, u64>) {
        for (key, used) in touches {
            self.at.entry(key).or_insert(used);
        }
    }
}
