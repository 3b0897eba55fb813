//! Byte buffers that cost nothing while a connection is idle.
//!
//! A busy connection needs buffers of a hundred KiB and more, so that one
//! system call and one run of the cipher move many frames. A thousand idle
//! connections must not hold a hundred MiB for that. So a [`Fifo`] owns no
//! memory while it is empty: it takes a chunk from a pool that the whole
//! process shares when the first byte arrives, and gives it back with the last
//! one. Chunks stay initialised in the pool, so taking one does not zero it again.

use std::sync::{Mutex, PoisonError};

/// Bytes in a chunk: two full TCP segments of segmentation offload (64 KiB
/// each), eight TLS records. Half and a quarter of it measured the same on
/// loopback, within the noise.
pub(crate) const CHUNK: usize = 128 * 1024;

/// Chunks kept for reuse, 512 KiB. A thread of the executor needs two at a time,
/// one for each layer; beyond that the allocator is fast enough.
const KEPT: usize = 4;

static POOL: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

fn take() -> Box<[u8]> {
    let kept = POOL.lock().unwrap_or_else(PoisonError::into_inner).pop();
    kept.unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice())
}

fn give(chunk: Box<[u8]>) {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    if pool.len() < KEPT {
        pool.push(chunk);
    }
}

/// A queue of at most [`CHUNK`] bytes, first in, first out.
///
/// Contents are never shifted: room at the front comes back when the queue runs
/// empty, which both users of this type make happen all the time.
#[derive(Debug, Default)]
pub(crate) struct Fifo {
    chunk: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

impl Fifo {
    /// An empty queue, which owns no memory yet.
    pub(crate) const fn new() -> Self {
        Fifo {
            chunk: None,
            start: 0,
            end: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The bytes in the queue, oldest first.
    pub(crate) fn filled(&self) -> &[u8] {
        self.chunk
            .as_deref()
            .and_then(|c| c.get(self.start..self.end))
            .unwrap_or_default()
    }

    /// Removes the `n` oldest bytes, and gives the memory back when none is left.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start = self.start.saturating_add(n).min(self.end);
        if self.is_empty() {
            self.clear();
        }
    }

    /// Copies as much of `bytes` as fits, and says how much that was.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        let room = self.room();
        let n = room.len().min(bytes.len());
        room[..n].copy_from_slice(&bytes[..n]);
        self.end += n;
        n
    }

    /// Moves as many bytes as there are and fit into `out`.
    pub(crate) fn pop(&mut self, out: &mut [u8]) -> usize {
        let filled = self.filled();
        let n = filled.len().min(out.len());
        out[..n].copy_from_slice(&filled[..n]);
        self.consume(n);
        n
    }

    /// The free room behind the contents, to be followed by [`Fifo::added`] and,
    /// when nothing was added to an empty queue, by [`Fifo::clear`].
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let chunk = self.chunk.get_or_insert_with(take);
        &mut chunk[self.end..]
    }

    /// Counts `n` bytes that were written into [`Fifo::room`].
    pub(crate) fn added(&mut self, n: usize) {
        self.end = self.end.saturating_add(n).min(CHUNK);
    }

    /// Drops all contents and gives the memory back.
    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
        if let Some(chunk) = self.chunk.take() {
            give(chunk);
        }
    }

    /// Whether the queue holds memory now.
    #[cfg(test)]
    pub(crate) fn owns_memory(&self) -> bool {
        self.chunk.is_some()
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_and_memory_goes_with_the_last() {
        let mut fifo = Fifo::new();
        assert!(!fifo.owns_memory());
        assert_eq!(fifo.push(&[]), 0);
        assert!(!fifo.owns_memory());
        assert_eq!(fifo.push(b"hello "), 6);
        assert_eq!(fifo.push(b"world"), 5);
        let mut out = [0; 8];
        assert_eq!(fifo.pop(&mut out), 8);
        assert_eq!(&out, b"hello wo");
        assert!(fifo.owns_memory());
        assert_eq!(fifo.pop(&mut out), 3);
        assert_eq!(&out[..3], b"rld");
        assert!(!fifo.owns_memory());
    }

    #[test]
    fn a_full_queue_takes_no_more_until_it_ran_empty() {
        let mut fifo = Fifo::new();
        assert_eq!(fifo.push(&vec![7; CHUNK + 1]), CHUNK);
        fifo.consume(CHUNK - 1);
        assert_eq!(fifo.push(b"x"), 0);
        fifo.consume(1);
        assert_eq!(fifo.push(b"x"), 1);
    }
}
