//! Measures how full the store is, and makes room for more.

use std::sync::atomic::Ordering;

use super::handle::lock;
use super::{Error, Store, Usage};
use crate::api::{LimitStatus, Unit};

/// Free space that is left alone on the disk, so that the database can still
/// be written: removing content needs a little space before it frees any.
const DISK_RESERVE: u64 = 16 << 20;

impl Store {
    /// How much of P2P_STORE_MAX_BYTES is used, as status shows it.
    pub fn limit(&self) -> LimitStatus {
        let usage = self.usage();
        LimitStatus {
            name: "store".into(),
            unit: Unit::Bytes,
            used: usage.disk_bytes,
            allowed: usage.max_bytes,
            variable: "P2P_STORE_MAX_BYTES".into(),
        }
    }

    /// How full the store is. Reads memory only.
    pub fn usage(&self) -> Usage {
        Usage {
            blocks: self.inner.blocks.load(Ordering::Relaxed),
            bytes: self.inner.bytes.load(Ordering::Relaxed),
            disk_bytes: self.inner.disk.load(Ordering::Relaxed),
            max_bytes: self.inner.max_bytes.load(Ordering::Relaxed),
        }
    }

    /// Sets another cap. What exceeds it is removed by the next sweep, or earlier to make
    /// room for what is stored.
    pub fn set_max_bytes(&self, max_bytes: u64) {
        self.inner.max_bytes.store(max_bytes, Ordering::Relaxed);
        let shown = i64::try_from(max_bytes).unwrap_or(i64::MAX);
        self.inner.metrics.store_limit.set(shown);
    }

    /// Reserves `need` bytes of disk for a block, evicting when they do not fit.
    pub(super) fn reserve(&self, need: u64) -> Result<(), Error> {
        let result = self.make_place(need);
        let reason = match &result {
            Err(Error::Full { .. }) => "full",
            Err(Error::DiskFull { .. }) => "disk_full",
            _ => return result,
        };
        let refused = &self.inner.metrics.store_refused;
        refused.with_label_values(&[reason]).inc();
        result
    }

    fn make_place(&self, need: u64) -> Result<(), Error> {
        self.check_disk(need)?;
        let max = self.inner.max_bytes.load(Ordering::Relaxed);
        if need > max {
            // Nothing that could be evicted would help.
            return Err(Error::Full { need, used: 0, max });
        }
        // Locked while evicting, so that two batches do not evict for the same need.
        let mut in_flight = lock(&self.inner.in_flight);
        let fits = |in_flight: u64| self.usage().disk_bytes + in_flight + need <= max;
        if !fits(*in_flight) {
            let goal = max.saturating_sub(*in_flight + need);
            // A little more than needed, or every further block pays a
            // transaction; content that would have to go for this alone may go.
            let slack = (max / 64).min(64 << 20);
            // Read here, since others may have evicted while this waited for the lock.
            let now = self.moment();
            self.make_room(goal.saturating_sub(slack), now)?;
            self.reclaim()?;
            if !fits(*in_flight) {
                return Err(Error::Full {
                    need,
                    used: self.usage().disk_bytes + *in_flight,
                    max,
                });
            }
        }
        *in_flight += need;
        Ok(())
    }

    /// Gives back a reservation of so many bytes.
    pub(super) fn release(&self, bytes: u64) {
        let mut in_flight = lock(&self.inner.in_flight);
        *in_flight = in_flight.saturating_sub(bytes);
    }

    /// Measures how full the file system of the data folder is, for the metrics.
    /// May wait for the disk.
    // The types differ on 32-bit targets.
    #[allow(clippy::unnecessary_cast)]
    pub fn measure_disk(&self) {
        // If the file system cannot say it, the metrics stay at zero, which no alert takes
        // for full.
        let Ok(stat) = nix::sys::statvfs::statvfs(self.inner.segments.dir()) else {
            return;
        };
        let bytes = |blocks: u64| {
            i64::try_from(blocks.saturating_mul(stat.fragment_size() as u64)).unwrap_or(i64::MAX)
        };
        let metrics = &self.inner.metrics;
        let available = bytes(stat.blocks_available() as u64);
        metrics.filesystem_available.set(available);
        metrics.filesystem_size.set(bytes(stat.blocks() as u64));
    }

    /// Refuses before the disk is full, while the database can still be written.
    // The types differ on 32-bit targets.
    #[allow(clippy::unnecessary_cast)]
    fn check_disk(&self, need: u64) -> Result<(), Error> {
        let dir = self.inner.segments.dir();
        // If the file system cannot say how full it is, nothing is checked.
        let Ok(stat) = nix::sys::statvfs::statvfs(dir) else {
            return Ok(());
        };
        let free = (stat.blocks_available() as u64).saturating_mul(stat.fragment_size() as u64);
        if free < need.saturating_add(DISK_RESERVE) {
            return Err(Error::DiskFull {
                doing: "add a block to",
                path: dir.to_owned(),
                detail: format!("{free} bytes free, {DISK_RESERVE} are kept for the database"),
            });
        }
        Ok(())
    }
}
