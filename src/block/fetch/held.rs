//! Bytes in memory that are counted while they are held.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// How many bytes of blocks a fetch holds, and the most it held.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    now: AtomicUsize,
    peak: AtomicUsize,
}

impl Meter {
    /// The most bytes held at once so far.
    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }
}

/// Bytes on the account of a [`Meter`], shared by clones.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    bytes: Bytes,
    _charge: Option<Arc<Charge>>,
}

impl Held {
    /// Counts `bytes` until the last clone is gone.
    pub(crate) fn new(bytes: Bytes, meter: &Arc<Meter>) -> Self {
        let now = meter.now.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        meter.peak.fetch_max(now, Ordering::Relaxed);
        let charge = Charge {
            len: bytes.len(),
            meter: Arc::clone(meter),
        };
        Held {
            bytes,
            _charge: Some(Arc::new(charge)),
        }
    }

    /// Bytes that another bound covers.
    pub(crate) fn untracked(bytes: Bytes) -> Self {
        Held {
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
    meter: Arc<Meter>,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.meter.now.fetch_sub(self.len, Ordering::Relaxed);
    }
}
