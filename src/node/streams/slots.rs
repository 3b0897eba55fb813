//! Counts of what is bounded: a slot is taken, and given back by its drop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Slots of one kind. Clones count together.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots(Arc<AtomicUsize>);

impl Slots {
    /// Slots taken now.
    pub(super) fn used(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// Takes one, unless `max` are taken.
    pub(super) fn take(&self, max: usize) -> Option<Slot> {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
                (n < max).then_some(n + 1)
            })
            .ok()
            .map(|_| Slot(self.0.clone()))
    }
}

/// A slot that is taken.
#[derive(Debug)]
pub(super) struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
