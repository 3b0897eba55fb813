//! The store: opening it, its parts, and its transactions.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::clock::Clock;
use super::database::{BLOCKS, Database, Fail};
use super::index::{Counters, Index};
use super::jumps::Jumps;
use super::protection::{OpenBatches, Protected};
use super::segment::Segments;
use super::touches::Touches;
use super::{Batch, Error, Metrics, Options, folder};
use crate::system::moment::Moment;
use crate::text::unix_time::unix_millis;

/// The store. Clones are handles to the same one. Every call may wait for the
/// disk.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    /// The cap in force, which `options` had at the start.
    pub(super) max_bytes: AtomicU64,
    pub(super) database: Database,
    pub(super) segments: Arc<Segments>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) blocks: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) disk: AtomicU64,
    pub(super) roots: AtomicU64,
    pub(super) next_root: AtomicU64,
    /// Footprint of blocks in open batches that the database does not know yet.
    pub(super) in_flight: Mutex<u64>,
    /// Goes up after every removal and before its space is given back: a read
    /// that overlaps one looks again.
    pub(super) removals: AtomicU64,
    /// When blocks were last read, since the last sweep.
    pub(super) touches: Mutex<Touches>,
    /// Removing anything takes this lock until its commit has ended.
    pub(super) protected: Mutex<Protected>,
    /// Ids of open batches.
    pub(super) open_batches: Mutex<OpenBatches>,
    pub(super) reclaim: Mutex<()>,
    pub(super) jumps: Mutex<Jumps>,
    /// Writers come one at a time anyway; with this their counters are
    /// published in the order of their commits.
    pub(super) writing: Mutex<()>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// Locks a mutex whose contents are valid between any two statements, so that a panic of
/// another thread does not matter.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Opens the store in the data folder `dir`, or makes one there. That takes the
    /// same short time however much is stored. A damaged or foreign database
    /// is set aside under another name, with an error in the log.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it open, [`Error::Newer`], and
    /// those of the disk.
    pub fn open(dir: &Path, options: Options, metrics: Arc<Metrics>) -> Result<Self, Error> {
        Self::open_with_clock(dir, options, metrics, Clock::system())
    }

    pub(super) fn open_with_clock(
        dir: &Path,
        options: Options,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Result<Self, Error> {
        folder::make_private(dir)?;
        let now = clock.now();
        let database = Database::open(dir, now.wall)?;
        let blocks = dir.join(BLOCKS);
        folder::make_private(&blocks)?;
        let counters = database.read(Counters::load)?;
        let next = u32::try_from(counters.next_segment).map_err(|_| {
            Error::database(
                database.path(),
                redb::Error::Corrupted("segment numbers are used up".into()),
            )
        })?;
        let store = Store {
            inner: Arc::new(Inner {
                dir: dir.to_owned(),
                options,
                max_bytes: AtomicU64::new(options.max_bytes),
                database,
                segments: Arc::new(Segments::new(blocks, next)),
                metrics,
                clock,
                blocks: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
                disk: AtomicU64::new(0),
                roots: AtomicU64::new(0),
                next_root: AtomicU64::new(0),
                in_flight: Mutex::default(),
                removals: AtomicU64::new(0),
                touches: Mutex::default(),
                protected: Mutex::default(),
                open_batches: Mutex::default(),
                reclaim: Mutex::default(),
                jumps: Mutex::new(Jumps::since(now)),
                writing: Mutex::default(),
            }),
        };
        store.publish(counters);
        store.set_max_bytes(options.max_bytes);
        Ok(store)
    }

    /// Begins a batch, the only way to add blocks.
    ///
    /// # Errors
    /// None at present; callers are prepared for one.
    pub fn batch(&self) -> Result<Batch, Error> {
        Ok(Batch::new(self.clone()))
    }

    /// Runs a write transaction over the index, durable when it returns.
    pub(super) fn write<T>(
        &self,
        f: impl FnOnce(&mut Index<'_>) -> Result<T, Fail>,
    ) -> Result<T, Error> {
        let _one = lock(&self.inner.writing);
        let (value, counters) = self.inner.database.write(|tx| run(tx, f))?;
        self.publish(counters);
        Ok(value)
    }

    /// As [`Self::write`], but a crash may undo it.
    pub(super) fn write_lazily<T>(
        &self,
        f: impl FnOnce(&mut Index<'_>) -> Result<T, Fail>,
    ) -> Result<T, Error> {
        let _one = lock(&self.inner.writing);
        let (value, counters) = self.inner.database.write_lazily(|tx| run(tx, f))?;
        self.publish(counters);
        Ok(value)
    }

    /// Makes new counters visible, and the metrics of them.
    fn publish(&self, counters: Counters) {
        self.inner.blocks.store(counters.blocks, Ordering::Relaxed);
        self.inner.bytes.store(counters.bytes, Ordering::Relaxed);
        self.inner.disk.store(counters.disk, Ordering::Relaxed);
        self.inner.roots.store(counters.roots, Ordering::Relaxed);
        self.inner
            .next_root
            .store(counters.next_root, Ordering::Relaxed);
        self.inner.metrics.store_blocks.set(counters.blocks as i64);
        self.inner.metrics.store_bytes.set(counters.bytes as i64);
        self.inner
            .metrics
            .store_disk_bytes
            .set(counters.disk as i64);
    }

    /// The present moment.
    pub(super) fn moment(&self) -> Moment {
        self.inner.clock.now()
    }

    /// The time of day, in milliseconds since 1970.
    pub(super) fn now(&self) -> u64 {
        unix_millis(self.moment().wall)
    }

    /// The database, for tables beside those of blocks and roots.
    pub(super) fn database(&self) -> &Database {
        &self.inner.database
    }

    /// Locks the blocks that are protected; nothing can be removed meanwhile.
    pub(super) fn protected(&self) -> MutexGuard<'_, Protected> {
        lock(&self.inner.protected)
    }

    /// Protects a block from removal if it is in the store.
    pub(super) fn protect_present(&self, key: &[u8]) -> Result<bool, Error> {
        // Locked meanwhile, or the block could be removed in between.
        let mut protected = self.protected();
        if self.locate(key)?.is_none() {
            return Ok(false);
        }
        protected.add(key);
        Ok(true)
    }

    /// One batch less relies on each of these blocks.
    pub(super) fn unprotect<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) {
        self.protected().remove(keys);
    }

    /// A batch with this id is open.
    pub(super) fn open_batch(&self, id: u64) {
        lock(&self.inner.open_batches).insert(id);
    }

    /// The batch with this id is no longer open.
    pub(super) fn close_batch(&self, id: u64) {
        lock(&self.inner.open_batches).remove(&id);
    }

    /// Whether a batch with this id is open.
    pub(super) fn is_batch_open(&self, id: u64) -> bool {
        lock(&self.inner.open_batches).contains(&id)
    }

    /// Locks the punching of holes.
    pub(super) fn lock_reclaim(&self) -> MutexGuard<'_, ()> {
        lock(&self.inner.reclaim)
    }
}

fn run<T>(
    tx: &redb::WriteTransaction,
    f: impl FnOnce(&mut Index<'_>) -> Result<T, Fail>,
) -> Result<(T, Counters), Fail> {
    let mut index = Index::open(tx)?;
    let value = f(&mut index)?;
    Ok((value, index.finish()?))
}
