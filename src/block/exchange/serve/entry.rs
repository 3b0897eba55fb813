//! The entry of one stream among those that are being served.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::lock;
use super::streams::{ServedStreams, Share};

/// The entry of a stream, which is removed from the table when this is dropped.
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) streams: Arc<Mutex<ServedStreams>>,
    /// The number of bytes that all streams share:
    /// [`Limits::ahead`](super::Limits::ahead).
    pub(super) ahead: usize,
}

impl Entry {
    /// Takes memory for one more group, if there is any now.
    pub(super) fn take_memory(&self) -> Option<GroupMemory> {
        let share = lock(&self.streams).take_memory(self.id, self.ahead)?;
        Some(GroupMemory {
            id: self.id,
            streams: Arc::clone(&self.streams),
            share,
        })
    }

    /// Notes that a block was sent.
    pub(super) fn block_sent(&self, now: Instant) {
        lock(&self.streams).block_sent(self.id, now);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.streams).leave(self.id);
    }
}

/// The memory that one group takes, which is given back when this is dropped.
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
