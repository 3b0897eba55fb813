//! What survives a restart: blocks, the roots that hold them, peers.
//!
//! An embedded database (`store.redb`) knows which blocks there are and why;
//! their payloads lie in segment files (`blocks/`), which only grow. A commit
//! flushes the segments, then the database, and only then returns: what the
//! database knows is whole on disk, and what it does not know is garbage that
//! [`Store::scrub`] removes.
//!
//! # Why segments
//!
//! Measured on two cores of a virtual machine, ext4 on a virtual disk, Linux
//! 6.18, three rounds of each variant in turn in one run (median; written and
//! made durable in one commit, then read back from the page cache):
//!
//! | blocks | redb | a file each, fdatasync | a file each, syncfs | segments |
//! |---|---|---|---|---|
//! | 300 of 1 MiB, write | 773 ms | 306 ms | 309 ms | 177 ms |
//! | 300 of 1 MiB, read | 35 ms | 16 ms | 17 ms | 22 ms |
//! | 300 of 1 MiB, disk | 629 MB | 315 MB | 315 MB | 316 MB |
//! | 3,000 of 4 KiB, write | 88 ms | 3,249 ms | 2,412 ms | 56 ms |
//! | 3,000 of 300 B, write | 9 ms | 2,809 ms | 2,332 ms | 26 ms |
//!
//! A file for each block pays the file system's journal for each; redb rounds
//! a value up to a power of two and so takes twice the disk. Segments also
//! need no folder scan to find orphans: a length in the database says where
//! the truth ends. `benches/store.rs` measures this code beside a plain file,
//! and opening with 100,000 blocks, which reads a few pages and flushes once.
//!
//! # Layout
//!
//! - [`Store`]: open, read, remove; cheap to clone, blocking: async callers go
//!   through `async_std::task::spawn_blocking`.
//! - `batch`: the only way in. `sweep`: the ways out. `index`: the tables of
//!   blocks and roots. `segment`: payload files. `database`: the redb file.
//! - `life`: how long a block lives, by what its publisher says of it.
//! - `sequence`: this node's own message numbers. `windows` and [`journal`]: the
//!   numbers of other publishers' messages.
//! - `announcements`: when the DHT was told of which root.
//! - `bans`, `reputations`: what [`crate::peers`] remembers. [`Keeper`] carries it
//!   here and back.
//! - `peers`: remembered peers. A further kind of state is a further file
//!   like this one: its table, its bounds, its methods on [`Store`], and its
//!   table named in `index::create`.
//! - `metrics`: what is counted of all this.

mod announcements;
mod bans;
mod batch;
mod database;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod index;
pub mod journal;
mod keeper;
mod life;
mod metrics;
mod peers;
mod reputations;
mod root;
mod segment;
mod sequence;
mod sweep;
#[cfg(test)]
mod tests;
mod windows;

pub use batch::Batch;
pub use error::Error;
pub use keeper::Keeper;
pub use life::Life;
pub use metrics::Metrics;
pub use peers::{KnownPeer, MAX_ADDRS, MAX_EARLIER, MAX_PEERS};
pub use reputations::Saved;
pub use root::Root;
pub use sweep::Swept;

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use cid::Cid;
use sha2::{Digest, Sha256};

use crate::api::{LimitStatus, Unit};
use crate::text::unix_time::unix_millis;
use database::{BLOCKS, Database, Fail};
use index::{Counters, Index};
use segment::{Location, ReadError, Segments};

/// Reads remembered between two sweeps to order eviction by. More are not
/// remembered: the order is then less exact, and memory stays under a megabyte.
const MAX_TOUCHES: usize = 8192;

/// Free space that is left alone on the disk, so that the database can still
/// be written: removing content needs a little space before it frees any.
const DISK_RESERVE: u64 = 16 << 20;

/// The code of sha2-256 in a multihash.
const SHA2_256: u64 = 0x12;

/// Limits of a store.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Cap of the disk space that blocks take (`P2P_STORE_MAX_BYTES`).
    pub max_bytes: u64,
    /// Cap of one block's payload (`P2P_MAX_BLOCK_BYTES`).
    pub max_block_bytes: usize,
}

/// How full the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Blocks stored.
    pub blocks: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Bytes of disk that they take, which is what the cap counts: each block
    /// is rounded up to 4 KiB.
    pub disk_bytes: u64,
    /// The cap.
    pub max_bytes: u64,
}

/// What [`Store::remove_root`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Blocks that no other root holds.
    pub blocks: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// The store. Clones are handles to the same one. Every call may wait for the
/// disk.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

type Clock = Box<dyn Fn() -> SystemTime + Send + Sync>;

struct Inner {
    dir: PathBuf,
    options: Options,
    /// The cap in force, which `options` had at the start.
    max_bytes: AtomicU64,
    database: Database,
    segments: Arc<Segments>,
    metrics: Arc<Metrics>,
    clock: Clock,
    blocks: AtomicU64,
    bytes: AtomicU64,
    disk: AtomicU64,
    roots: AtomicU64,
    next_root: AtomicU64,
    /// Footprint of blocks in open batches that the database does not know yet.
    in_flight: Mutex<u64>,
    /// Goes up after every removal and before its space is given back: a read
    /// that overlaps one looks again.
    removals: AtomicU64,
    /// When blocks were last read, since the last sweep.
    touches: Mutex<HashMap<Vec<u8>, u64>>,
    /// Blocks that open batches rely on without holding them in the database
    /// yet. Removing anything takes this lock until its commit is through.
    protected: Mutex<HashMap<Vec<u8>, u32>>,
    /// Ids of open batches.
    open_batches: Mutex<HashSet<u64>>,
    reclaim: Mutex<()>,
    clocks: Mutex<sweep::Clocks>,
    /// Writers come one at a time anyway; with this their counters are
    /// published in the order of their commits.
    writing: Mutex<()>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is valid between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Opens the store in the data folder `dir`, or makes one there. Takes the
    /// same short time however much is stored. A damaged or foreign database
    /// is set aside under another name, with an error in the log.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it, [`Error::Newer`], and
    /// what a disk can fail with.
    pub fn open(dir: &Path, options: Options, metrics: Arc<Metrics>) -> Result<Self, Error> {
        Self::open_with_clock(dir, options, metrics, Box::new(SystemTime::now))
    }

    fn open_with_clock(
        dir: &Path,
        options: Options,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Result<Self, Error> {
        make_private_dir(dir)?;
        let database = Database::open(dir)?;
        let blocks = dir.join(BLOCKS);
        make_private_dir(&blocks)?;
        let counters = database.read(Counters::load)?;
        let next = u32::try_from(counters.next_segment).map_err(|_| {
            Error::database(
                database.path(),
                redb::Error::Corrupted("segment numbers are used up".into()),
            )
        })?;
        let clocks = sweep::Clocks::new(clock(), Instant::now());
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
                clocks: Mutex::new(clocks),
                writing: Mutex::default(),
            }),
        };
        store.publish(counters);
        store.set_max_bytes(options.max_bytes);
        Ok(store)
    }

    /// The payload of a block, `None` when it is not here. Its bytes are those
    /// that were stored as far as length and record header can tell; whoever
    /// hands them on checks the hash, or uses [`Self::get_verified`].
    ///
    /// # Errors
    /// [`Error::Damaged`] when the record on disk is not this block's; it is
    /// dropped then, so that it can be fetched again. Others when the disk fails.
    pub fn get(&self, cid: &Cid) -> Result<Option<Bytes>, Error> {
        Ok(self.read(cid)?.map(|(bytes, _)| bytes))
    }

    /// As [`Self::get`], and checks that the bytes hash to the CID (sha2-256;
    /// other functions are left to the caller).
    ///
    /// # Errors
    /// As [`Self::get`]; a wrong hash is [`Error::Damaged`] as well.
    pub fn get_verified(&self, cid: &Cid) -> Result<Option<Bytes>, Error> {
        let Some((bytes, at)) = self.read(cid)? else {
            return Ok(None);
        };
        if cid.hash().code() == SHA2_256 && Sha256::digest(&bytes)[..] != *cid.hash().digest() {
            return Err(self.drop_damaged(cid, at, "its hash differs"));
        }
        Ok(Some(bytes))
    }

    /// Whether the block is here and its bytes are `data`. A block that reads
    /// otherwise is dropped.
    fn holds(&self, cid: &Cid, data: &[u8]) -> Result<bool, Error> {
        let damage = match self.read(cid) {
            Ok(Some((bytes, _))) if bytes == data => return Ok(true),
            Ok(Some((_, at))) => self.drop_damaged(cid, at, "its bytes differ"),
            Ok(None) => return Ok(false),
            Err(damage @ Error::Damaged { .. }) => damage,
            Err(error) => return Err(error),
        };
        log::warn!(error:% = damage; "a stored block is damaged; storing it anew");
        Ok(false)
    }

    fn read(&self, cid: &Cid) -> Result<Option<(Bytes, Location)>, Error> {
        let key = cid.hash().to_bytes();
        loop {
            let removals = self.inner.removals.load(Ordering::Acquire);
            let Some(at) = self.locate(&key)? else {
                return Ok(None);
            };
            let result = self.inner.segments.read(&key, at);
            // A removal may have punched the range while it was being read.
            if self.inner.removals.load(Ordering::Acquire) != removals
                && self.locate(&key)? != Some(at)
            {
                continue;
            }
            return match result {
                Ok(bytes) => {
                    self.touch(key);
                    Ok(Some((bytes, at)))
                }
                // It may have gone just after the look above; ask once more.
                Err(ReadError::Damaged(_)) if self.locate(&key)? != Some(at) => continue,
                Err(ReadError::Damaged(reason)) => Err(self.drop_damaged(cid, at, reason)),
                Err(ReadError::Io(e)) => {
                    Err(Error::io("read", self.inner.segments.path(at.segment), e))
                }
            };
        }
    }

    /// Whether the block is here.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn has(&self, cid: &Cid) -> Result<bool, Error> {
        Ok(self.locate(&cid.hash().to_bytes())?.is_some())
    }

    /// Begins a batch, the only way to add blocks.
    ///
    /// # Errors
    /// None at present; callers are prepared for one.
    pub fn batch(&self) -> Result<Batch, Error> {
        Ok(Batch::new(self.clone()))
    }

    /// Every root, in the order in which they were put.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn roots(&self) -> Result<Vec<Root>, Error> {
        let rows = self.inner.database.read(index::roots)?;
        Ok(rows.iter().filter_map(|row| row.to_root()).collect())
    }

    /// How many roots there are. Reads memory only.
    pub fn roots_len(&self) -> u64 {
        self.inner.roots.load(Ordering::Relaxed)
    }

    /// As long as this is the same, no root has come or gone. Reads memory only.
    pub fn roots_version(&self) -> (u64, u64) {
        // Whatever becomes a root has a new number, and what goes is one less.
        let next = self.inner.next_root.load(Ordering::Relaxed);
        (next, self.roots_len())
    }

    /// The root with this CID.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn root(&self, cid: &Cid) -> Result<Option<Root>, Error> {
        let row = self
            .inner
            .database
            .read(|tx| index::root(tx, &cid.to_bytes()))?;
        Ok(row.and_then(|row| row.to_root()))
    }

    /// Removes a root and the blocks that no other root holds; nothing when
    /// there is no such root. Blocks in open batches stay as cache.
    ///
    /// # Errors
    /// When the database cannot be written; nothing was removed then.
    pub fn remove_root(&self, cid: &Cid) -> Result<Removed, Error> {
        let protected = self.protected();
        let now = self.now();
        let gone = self.write(|index| match index.root_id(&cid.to_bytes())? {
            Some(id) => index.remove_root(id, now, &|key| protected.contains_key(key)),
            None => Ok(index::Gone::default()),
        })?;
        drop(protected);
        self.inner
            .metrics
            .store_removed
            .with_label_values(&["removed"])
            .inc_by(gone.blocks);
        self.inner.removals.fetch_add(1, Ordering::AcqRel);
        if let Err(error) = self.reclaim() {
            // The content is gone all the same; the next sweep tries again.
            log::warn!(error:% = error; "cannot give back the space of removed blocks yet");
        }
        Ok(Removed {
            blocks: gone.blocks,
            bytes: gone.bytes,
        })
    }

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

    /// Another cap from now on. What is over it goes with the next sweep, or
    /// earlier for the sake of what is stored.
    pub fn set_max_bytes(&self, max_bytes: u64) {
        self.inner.max_bytes.store(max_bytes, Ordering::Relaxed);
        let shown = i64::try_from(max_bytes).unwrap_or(i64::MAX);
        self.inner.metrics.store_limit.set(shown);
    }

    fn locate(&self, key: &[u8]) -> Result<Option<Location>, Error> {
        self.inner.database.read(|tx| index::locate(tx, key))
    }

    /// Takes a block out of the index, so that it can be stored anew, and
    /// makes the error that names its place.
    fn drop_damaged(&self, cid: &Cid, at: Location, reason: &'static str) -> Error {
        let path = self.inner.segments.path(at.segment);
        let key = cid.hash().to_bytes();
        let dropped = self.write(|index| {
            if index.locate(&key)? == Some(at) {
                index.remove(&key)?;
            }
            Ok(())
        });
        self.inner.removals.fetch_add(1, Ordering::AcqRel);
        if let Err(error) = dropped {
            log::warn!(cid:% = cid, error:% = error; "cannot drop a damaged block");
        }
        Error::Damaged {
            cid: Box::new(*cid),
            path,
            offset: at.offset,
            reason,
        }
    }

    /// Runs a write transaction over the index, durable when it returns.
    fn write<T>(&self, f: impl FnOnce(&mut Index<'_>) -> Result<T, Fail>) -> Result<T, Error> {
        let _one = lock(&self.inner.writing);
        let (value, counters) = self.inner.database.write(|tx| run(tx, f))?;
        self.publish(counters);
        Ok(value)
    }

    /// As `write`, but a crash may undo it.
    fn write_lazily<T>(
        &self,
        f: impl FnOnce(&mut Index<'_>) -> Result<T, Fail>,
    ) -> Result<T, Error> {
        let _one = lock(&self.inner.writing);
        let (value, counters) = self.inner.database.write_lazily(|tx| run(tx, f))?;
        self.publish(counters);
        Ok(value)
    }

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

    fn now(&self) -> u64 {
        unix_millis((self.inner.clock)())
    }

    fn database(&self) -> &Database {
        &self.inner.database
    }

    fn touch(&self, key: Vec<u8>) {
        let now = self.now();
        let mut touches = lock(&self.inner.touches);
        if touches.len() < MAX_TOUCHES || touches.contains_key(&key) {
            touches.insert(key, now);
        }
    }

    fn take_touches(&self) -> HashMap<Vec<u8>, u64> {
        std::mem::take(&mut *lock(&self.inner.touches))
    }

    fn give_back_touches(&self, touches: HashMap<Vec<u8>, u64>) {
        let mut now = lock(&self.inner.touches);
        for (key, used) in touches {
            now.entry(key).or_insert(used);
        }
    }

    /// Reserves `need` bytes of disk for a block, evicting when they do not fit.
    fn reserve(&self, need: u64) -> Result<(), Error> {
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
        // Held while evicting, so that two batches do not evict for the same gap.
        let mut in_flight = lock(&self.inner.in_flight);
        let fits = |in_flight: u64| self.usage().disk_bytes + in_flight + need <= max;
        if !fits(*in_flight) {
            let goal = max.saturating_sub(*in_flight + need);
            // A little more than needed, or every further block pays a
            // transaction; content that would have to go for this alone may go.
            let slack = (max / 64).min(64 << 20);
            self.make_room(goal.saturating_sub(slack), self.now(), Instant::now())?;
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

    fn release(&self, bytes: u64) {
        let mut in_flight = lock(&self.inner.in_flight);
        *in_flight = in_flight.saturating_sub(bytes);
    }

    /// Looks how full the file system under the data folder is, for the metrics.
    /// May wait for the disk.
    // The types differ on 32-bit targets.
    #[allow(clippy::unnecessary_cast)]
    pub fn measure_disk(&self) {
        // A file system that cannot say it keeps its zeros, which no alert takes for full.
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

    /// Refuses before the disk does, while the database can still be written.
    // The types differ on 32-bit targets.
    #[allow(clippy::unnecessary_cast)]
    fn check_disk(&self, need: u64) -> Result<(), Error> {
        let dir = self.inner.segments.dir();
        // A file system that cannot say how full it is gets no check.
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

    fn protected(&self) -> MutexGuard<'_, HashMap<Vec<u8>, u32>> {
        lock(&self.inner.protected)
    }

    /// Protects a block from removal if it is in the store.
    fn protect_present(&self, key: &[u8]) -> Result<bool, Error> {
        // Held over the look, or the block could go in between.
        let mut protected = self.protected();
        if self.locate(key)?.is_none() {
            return Ok(false);
        }
        *protected.entry(key.to_vec()).or_default() += 1;
        Ok(true)
    }

    fn unprotect<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) {
        let mut protected = self.protected();
        for key in keys {
            if let Some(count) = protected.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    protected.remove(key);
                }
            }
        }
    }

    fn open_batch(&self, id: u64) {
        lock(&self.inner.open_batches).insert(id);
    }

    fn close_batch(&self, id: u64) {
        lock(&self.inner.open_batches).remove(&id);
    }

    fn is_batch_open(&self, id: u64) -> bool {
        lock(&self.inner.open_batches).contains(&id)
    }

    fn lock_reclaim(&self) -> MutexGuard<'_, ()> {
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

/// Makes a folder that only this user can enter, and closes one that others can.
fn make_private_dir(dir: &Path) -> Result<(), Error> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| Error::io("create", dir, e))?;
    let mode = fs::metadata(dir)
        .map_err(|e| Error::io("look at", dir, e))?
        .permissions()
        .mode();
    if mode & 0o077 != 0
        && let Err(error) = fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
    {
        log::warn!(path:% = dir.display(), error:% = error; "others can enter the data folder and its mode cannot be changed to 0700");
    }
    Ok(())
}
