//! Keeping the store under its cap: expiry, eviction, and giving disk space back.

use std::{
    collections::HashMap,
    sync::atomic::Ordering,
    time::{Instant, SystemTime},
};

use super::{
    Error, Removed, Store,
    database::{Fail, NEW_PREFIX},
    handle::lock,
    index::{self, Index},
};
use crate::message::provenance::is_clock_set;
use crate::system::moment::Moment;
use crate::text::unix_time::unix_millis;

/// Cached blocks looked at in one go while evicting.
const CHUNK: usize = 256;

/// Ranges punched between two transactions.
const HOLES: usize = 65_536;

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Roots that had expired.
    pub expired_roots: u64,
    /// Blocks removed with them.
    pub expired_blocks: u64,
    /// Roots evicted for space.
    pub evicted_roots: u64,
    /// Blocks evicted for space, those of the roots and cached ones.
    pub evicted_blocks: u64,
    /// Bytes of payload removed in all.
    pub bytes: u64,
}

/// Removes every root that has expired at `now`.
fn expire(
    index: &mut Index<'_>,
    now: u64,
    protected: &dyn Fn(&[u8]) -> bool,
    swept: &mut Swept,
) -> Result<(), Fail> {
    for (id, row) in index.all_roots()? {
        if row.is_expired(now) {
            let removed = index.remove_root(id, now, protected)?;
            swept.expired_roots += 1;
            swept.expired_blocks += removed.blocks;
            swept.bytes += removed.bytes;
        }
    }
    Ok(())
}

/// Evicts until at most `goal` bytes of disk are used: unpinned roots and
/// blocks without a root, in the order of their last use. Stops early when
/// nothing evictable is left.
fn evict(
    index: &mut Index<'_>,
    goal: u64,
    now: u64,
    protected: &dyn Fn(&[u8]) -> bool,
    swept: &mut Swept,
) -> Result<(), Fail> {
    if index.counters.disk <= goal {
        return Ok(());
    }
    let mut roots: Vec<(u64, u64)> = index
        .all_roots()?
        .into_iter()
        .filter(|(_, row)| !row.pinned)
        .map(|(id, row)| (row.used_at, id))
        .collect();
    roots.sort_unstable_by(|a, b| b.cmp(a));
    let mut cursor = (0, Vec::new());
    let mut cached = Vec::new().into_iter().peekable();
    while index.counters.disk > goal {
        if cached.peek().is_none() {
            let chunk = index.cached_after(&cursor, CHUNK)?;
            if let Some(last) = chunk.last() {
                cursor = last.clone();
            }
            cached = chunk.into_iter().peekable();
        }
        let block_first = match (cached.peek(), roots.last()) {
            (Some((block, _)), Some((root, _))) => block <= root,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => break,
        };
        let removed = if block_first {
            match cached.next() {
                Some((_, key)) if !protected(&key) => index.remove(&key)?,
                _ => Removed::default(),
            }
        } else {
            match roots.pop() {
                Some((_, id)) => {
                    swept.evicted_roots += 1;
                    index.remove_root(id, now, protected)?
                }
                None => Removed::default(),
            }
        };
        swept.evicted_blocks += removed.blocks;
        swept.bytes += removed.bytes;
    }
    Ok(())
}

impl Store {
    /// Removes roots that expired before `now`, then evicts the least recently
    /// used until the store is under its cap. To be called every minute or so.
    /// Nothing expires in the minute after the wall clock `now` went ahead of
    /// the `monotonic` one by more than an hour.
    ///
    /// # Errors
    /// When the database cannot be written. What was removed stays removed.
    pub fn sweep(&self, now: SystemTime, monotonic: Instant) -> Result<Swept, Error> {
        self.end_dead_batches()?;
        let goal = self.usage().max_bytes;
        let swept = self.make_room(
            goal,
            Moment {
                wall: now,
                mono: monotonic,
            },
        )?;
        self.reclaim()?;
        Ok(swept)
    }

    /// Ends the batches that only the database knows of: the process that had them was
    /// killed.
    fn end_dead_batches(&self) -> Result<(), Error> {
        let mut ids = self.inner.database.read(index::pending)?;
        ids.retain(|id| !self.is_batch_open(*id));
        if ids.is_empty() {
            Ok(())
        } else {
            self.end_pending(&ids)
        }
    }

    /// Expires, then evicts down to `goal` bytes of disk.
    pub(super) fn make_room(&self, goal: u64, moment: Moment) -> Result<Swept, Error> {
        let may_expire = lock(&self.inner.jumps).may_expire(moment);
        let is_set = is_clock_set(moment.wall);
        let now = unix_millis(moment.wall);
        let touches = lock(&self.inner.touches).take();
        let roots = self.inner.database.read(index::roots)?;
        let undated = is_set && roots.iter().any(|r| r.is_undated());
        let expired = may_expire && roots.iter().any(|r| r.is_expired(now));
        if touches.is_empty() && !undated && !expired && self.usage().disk_bytes <= goal {
            return Ok(Swept::default());
        }
        let protected = self.protected();
        let is_protected = |key: &[u8]| protected.contains(key);
        let result = self.write(|index| {
            let mut swept = Swept::default();
            index.apply_touches(&touches)?;
            if undated {
                index.date(now)?;
            }
            if may_expire {
                expire(index, now, &is_protected, &mut swept)?;
            }
            evict(index, goal, now, &is_protected, &mut swept)?;
            Ok(swept)
        });
        drop(protected);
        let swept = match result {
            Ok(swept) => swept,
            Err(e) => {
                lock(&self.inner.touches).give_back(touches);
                return Err(e);
            }
        };
        let metrics = &self.inner.metrics.store_removed;
        metrics
            .with_label_values(&["expired"])
            .inc_by(swept.expired_blocks);
        metrics
            .with_label_values(&["evicted"])
            .inc_by(swept.evicted_blocks);
        if swept.expired_blocks + swept.evicted_blocks > 0 {
            self.inner.removals.fetch_add(1, Ordering::AcqRel);
            log::info!(
                expired = swept.expired_blocks, evicted = swept.evicted_blocks, bytes = swept.bytes;
                "removed blocks from the store"
            );
        }
        Ok(swept)
    }

    /// Gives the space of removed blocks back to the file system. Not durable
    /// by itself: after a crash the same is done again.
    pub(super) fn reclaim(&self) -> Result<(), Error> {
        // One at a time, or two would punch the same holes.
        let _one = self.lock_reclaim();
        let segments = &self.inner.segments;
        let mut empty = self.inner.database.read(index::empty_segments)?;
        empty.retain(|id| !segments.is_owned(*id));
        if !empty.is_empty() {
            self.inner.removals.fetch_add(1, Ordering::AcqRel);
            for &id in &empty {
                segments.delete(id)?;
            }
            self.write_lazily(|index| {
                for &id in &empty {
                    index.forget_segment(id)?;
                }
                Ok(())
            })?;
        }
        loop {
            let holes = self.inner.database.read(|tx| index::holes(tx, HOLES))?;
            if holes.is_empty() {
                return Ok(());
            }
            // The thread that removed these blocks may not have counted that yet, and a
            // read that began before must not take the hole for the block.
            self.inner.removals.fetch_add(1, Ordering::AcqRel);
            for &(id, offset, len) in &holes {
                segments.punch(id, offset, len)?;
            }
            self.write_lazily(|index| {
                for &(id, offset, len) in &holes {
                    index.clear_holes(id, offset, len)?;
                }
                Ok(())
            })?;
        }
    }

    /// Removes what a run that was killed left behind: segment files that were never
    /// committed, tails of those that were, half-made databases, batches that
    /// were open. The daemon calls it in the background once it is ready; the
    /// store is correct without it, only larger on disk.
    ///
    /// # Errors
    /// When a file cannot be removed or the database cannot be written.
    pub fn scrub(&self) -> Result<(), Error> {
        self.end_dead_batches()?;
        let segments = &self.inner.segments;
        let ends: HashMap<u32, u64> = self.inner.database.read(index::segment_ends)?;
        let (mut files, mut bytes) = (0u64, 0u64);
        let mut unusable = Vec::new();
        for (id, len) in segments.old_files()? {
            match ends.get(&id) {
                None => {
                    segments.delete(id)?;
                    files += 1;
                    bytes += len;
                }
                Some(&end) => match segments.usable(id) {
                    // The file may belong to another user, as after a backup that root
                    // restored: it is reported now and not when a block is read.
                    Err(e) => unusable.push(e),
                    Ok(()) if len > end => {
                        segments.truncate(id, end)?;
                        bytes += len - end;
                    }
                    Ok(()) => {}
                },
            }
        }
        if let Some(first) = unusable.first() {
            log::error!(files = unusable.len(), error:% = first; "blocks cannot be read");
        }
        let dir = &self.inner.dir;
        for entry in std::fs::read_dir(dir)
            .map_err(|e| Error::io("list", dir, e))?
            .flatten()
        {
            if entry.file_name().to_string_lossy().starts_with(NEW_PREFIX) {
                let path = entry.path();
                std::fs::remove_file(&path).map_err(|e| Error::io("delete", path, e))?;
                files += 1;
            }
        }
        if files > 0 || bytes > 0 {
            log::info!(files, bytes; "removed what an interrupted run left in the store");
        }
        self.reclaim()
    }
}
