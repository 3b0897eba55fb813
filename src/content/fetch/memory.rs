//! The memory that blocks take during fetches. Every byte is counted while it is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// The number of bytes of blocks that all fetches of a node together may hold for their
/// readers. Each fetch may hold as many as are still free (dynamic thresholds, Choudhury
/// and Hahne 1998), and one block in any case, so that a single fetch is limited only by
/// its own bounds. For example, 64 fetches whose readers do not read hold 64 MiB and one
/// block each in total, where each of them alone would hold 10 MiB. Clones share one
/// count.
///
/// Blocks that do not fit wait in the store, to which every block is written first.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    most: usize,
    now: AtomicUsize,
}

impl Budget {
    /// Creates a budget of `most` bytes.
    pub(crate) fn new(most: usize) -> Self {
        Budget(Arc::new(Pool {
            most,
            now: AtomicUsize::new(0),
        }))
    }

    fn free(&self) -> usize {
        let now = self.0.now.load(Ordering::Relaxed);
        self.0.most.saturating_sub(now)
    }
}

impl Default for Budget {
    fn default() -> Self {
        Budget::new(64 << 20)
    }
}

/// The number of bytes of blocks that a fetch holds, and the most that it has held at
/// once.
#[derive(Debug)]
pub(crate) struct MemoryUse {
    now: AtomicUsize,
    peak: AtomicUsize,
    budget: Budget,
}

impl MemoryUse {
    /// Creates the count of a fetch, which is also charged to the budget.
    pub(crate) fn new(budget: Budget) -> Self {
        MemoryUse {
            now: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            budget,
        }
    }

    /// Returns the most bytes held at once so far.
    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Returns how many more bytes may be held now.
    pub(crate) fn room(&self) -> usize {
        let now = self.now.load(Ordering::Relaxed);
        self.budget.free().saturating_sub(now)
    }

    /// Reserves up to `want` bytes, but no more than half of the room, since what is
    /// taken also reduces what is free. When there is any room, it reserves at least one
    /// byte: a block may exceed its reservation.
    pub(crate) fn reserve(&self, want: usize) -> Option<Reservation> {
        let pool = &self.budget.0;
        let mine = self.now.load(Ordering::Relaxed);
        let amount = |all: usize| {
            let room = pool.most.saturating_sub(all).saturating_sub(mine);
            want.min(room.div_ceil(2))
        };
        let grow = |all| Some(all + amount(all)).filter(|_| amount(all) > 0);
        let before = pool
            .now
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow)
            .ok()?;
        Some(Reservation {
            len: amount(before),
            budget: self.budget.clone(),
        })
    }
}

/// Room for bytes that are being read, until those are counted.
#[derive(Debug)]
pub(crate) struct Reservation {
    len: usize,
    budget: Budget,
}

impl Reservation {
    /// Returns the number of bytes that are reserved.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.now.fetch_sub(self.len, Ordering::Relaxed);
    }
}

/// Bytes that are counted once in a [`MemoryUse`], however many clones there are.
#[derive(Debug, Clone)]
pub(crate) struct ChargedBytes {
    bytes: Bytes,
    _charge: Option<Arc<Charge>>,
}

impl ChargedBytes {
    /// Counts `bytes` until the last clone has been dropped.
    pub(crate) fn new(bytes: Bytes, memory: &Arc<MemoryUse>) -> Self {
        let now = memory.now.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        memory.peak.fetch_max(now, Ordering::Relaxed);
        let pool = &memory.budget.0;
        pool.now.fetch_add(bytes.len(), Ordering::Relaxed);
        let charge = Charge {
            len: bytes.len(),
            memory: Arc::clone(memory),
        };
        ChargedBytes {
            bytes,
            _charge: Some(Arc::new(charge)),
        }
    }

    /// Wraps bytes that are limited elsewhere.
    pub(crate) fn untracked(bytes: Bytes) -> Self {
        ChargedBytes {
            bytes,
            _charge: None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

#[derive(Debug)]
struct Charge {
    len: usize,
    memory: Arc<MemoryUse>,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.memory.now.fetch_sub(self.len, Ordering::Relaxed);
        let pool = &self.memory.budget.0;
        pool.now.fetch_sub(self.len, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetches_whose_readers_stop_share_the_budget_and_one_alone_is_not_held() {
        let budget = Budget::default();
        let block = Bytes::from_static(&[0; 1 << 20]);
        let mut kept = Vec::new();
        let mut counts = Vec::new();
        for _ in 0..64 {
            let memory = Arc::new(MemoryUse::new(budget.clone()));
            let before = kept.len();
            // A fetch holds at most ten because of its own bounds, and one in any case.
            while kept.len() < before + 10 && (kept.len() == before || memory.room() > 0) {
                kept.push(ChargedBytes::new(block.clone(), &memory));
            }
            counts.push(kept.len() - before);
        }
        assert_eq!(counts[..6], [10, 10, 10, 10, 10, 7], "{counts:?}");
        assert!(kept.len() <= 64 + 64, "{counts:?}");
        drop(kept);
        assert_eq!(budget.free(), 64 << 20);
    }
}
