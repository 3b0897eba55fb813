//! A stream's entry among those that are served.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::lock;
use super::streams::{ServedStreams, Share};

/// Removed from the table when it is dropped.
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) streams: Arc<Mutex<ServedStreams>>,
    /// Bytes that all streams share: [`Limits::ahead`](super::Limits::ahead).
    pub(super) ahead: usize,
}

impl Entry {
    /// Memory for one more group, if there is any now.
    pub(super) fn take_memory(&self) -> Option<GroupMemory> {
        let share = lock(&self.streams).take_memory(self.id, self.ahead)?;
        Some(GroupMemory {
            id: self.id,
            streams: Arc::clone(&self.streams),
            share,
        })
    }

    /// A block went out.
    pub(super) fn block_sent(&self, now: Instant) {
        lock(&self.streams).block_sent(self.id, now);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.streams).leave(self.id);
    }
}

/// Memory that one group takes, given back when it is dropped.
pub(super) struct GroupMemory {
    id: u64,
    streams: Arc<Mutex<ServedStreams>>,
    share: Share,
}

impl Drop for GroupMemory {
    fn drop(&mut self) {
        lock(&self.streams).give_back(self.id, self.share);
    }
}
