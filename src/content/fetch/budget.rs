//! The memory that all fetches of a node may use together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of bytes of blocks that all fetches of a node together may hold for their
/// readers. Each fetch may hold as many as are still free (dynamic thresholds, Choudhury
/// and Hahne 1998), and one block in any case, so that a single fetch is limited only by
/// its own bounds. For example, 64 fetches whose readers do not read hold 64 MiB and one
/// block each in total, where each of them alone would hold 10 MiB. Clones share one
/// count.
///
/// Blocks that do not fit wait in the store, to which every block is written first.
#[derive(Debug, Clone)]
pub(crate) struct Budget(pub(super) Arc<Pool>);

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) most: usize,
    pub(super) now: AtomicUsize,
}

impl Budget {
    /// Creates a budget of `most` bytes.
    pub(crate) fn new(most: usize) -> Self {
        Budget(Arc::new(Pool {
            most,
            now: AtomicUsize::new(0),
        }))
    }

    pub(super) fn free(&self) -> usize {
        let now = self.0.now.load(Ordering::Relaxed);
        self.0.most.saturating_sub(now)
    }
}

impl Default for Budget {
    fn default() -> Self {
        Budget::new(64 << 20)
    }
}
