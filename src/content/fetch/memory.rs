//! The memory that the blocks of one fetch take.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::budget::Budget;

/// The number of bytes of blocks that a fetch holds, and the most that it has held at
/// once.
#[derive(Debug)]
pub(crate) struct MemoryUse {
    pub(super) now: AtomicUsize,
    pub(super) peak: AtomicUsize,
    pub(super) budget: Budget,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::content::fetch::charged_bytes::ChargedBytes;

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
