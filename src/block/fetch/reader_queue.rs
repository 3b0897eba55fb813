//! Counts the bytes that a fetch has put into its reader's queue.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;

use futures::task::AtomicWaker;

/// The number of bytes in the queue. The fetch puts them in, and its reader takes them
/// out.
#[derive(Debug, Default)]
pub(super) struct ReaderQueue {
    bytes: AtomicUsize,
    /// Wakes the fetch when it waits for the reader to take some.
    waker: AtomicWaker,
}

impl ReaderQueue {
    /// Counts bytes that are put into the queue.
    pub(super) fn put(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Counts bytes that the reader has taken.
    pub(super) fn take(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.waker.wake();
    }

    /// Returns the number of bytes that the reader has not taken yet.
    pub(super) fn len(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// Does the same as [`ReaderQueue::len`]. The task that asks is woken when the reader
    /// takes some bytes.
    pub(super) fn poll_len(&self, cx: &mut Context<'_>) -> usize {
        self.waker.register(cx.waker());
        self.len()
    }
}
