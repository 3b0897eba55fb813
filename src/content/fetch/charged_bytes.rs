//! Bytes that are counted while they are held.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::memory::MemoryUse;

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
