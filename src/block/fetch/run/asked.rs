//! The providers that are asked for a block.

use std::time::Instant;

/// The providers that are asked for a block, and since when one of them has been.
pub(super) struct Asked {
    pub(super) by: Vec<u64>,
    pub(super) since: Instant,
}

impl Asked {
    pub(super) fn new(now: Instant) -> Self {
        Asked {
            by: Vec::new(),
            since: now,
        }
    }
}
