//! Large buffers that are reused.
//!
//! If a buffer of a mebibyte is allocated for each block, it is also zeroed for each
//! block. The allocator gives its pages back to the kernel when it is freed, and faults
//! them in again for the next one. As measured during a fetch, this took a seventh of the
//! fetching daemon's time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;

/// Buffers below this size are left to the allocator, which keeps such memory for reuse
/// itself.
const WORTH: usize = 64 << 10;

/// A pool of buffers. Clones share it. When the last clone is gone, buffers that come
/// back are freed.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
    keep: usize,
}

impl Pool {
    /// Returns a pool that keeps at most `keep` unused buffers, and at least one.
    pub(crate) fn new(keep: usize) -> Self {
        Pool {
            spare: Arc::default(),
            keep: keep.max(1),
        }
    }

    /// Returns a buffer of `len` bytes to write into, which takes at most twice that in
    /// memory. It contains data from an earlier use, so fill all of it before anyone
    /// reads it.
    pub(crate) fn take(&self, len: usize) -> Buffer {
        let fits = |spare: &Vec<u8>| (len..=len.saturating_mul(2)).contains(&spare.len());
        let found = if len < WORTH {
            None
        } else {
            let mut spare = lock(&self.spare);
            let at = spare.iter().rposition(fits);
            at.map(|at| spare.remove(at))
        };
        let bytes = found.unwrap_or_else(|| vec![0; len]);
        Buffer {
            bytes,
            len,
            keep: self.keep,
            home: Arc::downgrade(&self.spare),
        }
    }
}

/// A buffer from a [`Pool`], which returns to the pool when it is dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    keep: usize,
    home: Weak<Mutex<Vec<Vec<u8>>>>,
}

impl Buffer {
    /// Returns the bytes of the buffer, to be filled.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// Shares the bytes. The buffer returns to the pool when the last share is gone.
    pub(crate) fn freeze(mut self) -> Bytes {
        if self.bytes.len() < WORTH {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.truncate(self.len);
            return Bytes::from(bytes);
        }
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() < WORTH {
            return;
        }
        let Some(home) = self.home.upgrade() else {
            return;
        };
        let mut spare = lock(&home);
        if spare.len() >= self.keep {
            // The oldest buffer is freed, since its size may no longer be used.
            spare.remove(0);
        }
        spare.push(std::mem::take(&mut self.bytes));
    }
}

/// Locks a list of buffers, which is valid even if a thread panicked while it held the
/// lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spare(pool: &Pool) -> usize {
        lock(&pool.spare).len()
    }

    #[test]
    fn buffers_come_back_are_used_again_and_are_not_hoarded() {
        let pool = Pool::new(2);
        let mut one = pool.take(WORTH);
        one.bytes_mut().fill(7);
        let address = one.bytes_mut().as_ptr();
        let bytes = one.freeze();
        let slice = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(spare(&pool), 0, "a share is still held");
        assert_eq!(&slice[..], [7; 10]);
        drop(slice);
        assert_eq!(spare(&pool), 1);
        let mut again = pool.take(WORTH);
        assert_eq!(again.bytes_mut().as_ptr(), address);
        let all: Vec<Bytes> = [again, pool.take(WORTH), pool.take(2 * WORTH)]
            .map(Buffer::freeze)
            .into();
        assert_eq!(all.iter().map(Bytes::len).sum::<usize>(), 4 * WORTH);
        drop(all);
        assert_eq!(spare(&pool), 2);
        // A buffer that is far too large is not taken.
        drop(pool.take(5 * WORTH));
        assert!(pool.take(WORTH).bytes.len() <= 2 * WORTH);
    }

    #[test]
    fn every_length_has_its_length_whatever_was_there_before() {
        let pool = Pool::new(4);
        for len in [0, 1, WORTH - 1, WORTH, 3 * WORTH, WORTH + 5, 2 * WORTH] {
            let mut buffer = pool.take(len);
            assert_eq!(buffer.bytes_mut().len(), len);
            buffer.bytes_mut().fill(1);
            let bytes = buffer.freeze();
            assert_eq!(bytes.len(), len);
            assert!(bytes.iter().all(|byte| *byte == 1));
        }
    }

    #[test]
    fn a_buffer_outlives_its_pool() {
        let pool = Pool::new(1);
        let bytes = pool.take(WORTH).freeze();
        drop(pool);
        assert_eq!(bytes.len(), WORTH);
    }
}
