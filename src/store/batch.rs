//! A batch: blocks that become part of the store together.

use std::{
    collections::HashMap,
    fs::File,
    io,
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::SystemTime,
};

use cid::Cid;

use super::{
    Error, Lifetime, Removed, Root, Store,
    database::Fail,
    index::Index,
    root::RootRow,
    segment::{Location, SEGMENT_BYTES, Writer, footprint},
};
use crate::message::provenance::Provenance;

/// After so many blocks a batch writes down what it has, so that its memory
/// stays about a megabyte whatever it imports. With 1 MiB blocks that is every
/// 4 GiB, so the cost of the extra flush is negligible.
const SPILL_AFTER: usize = 4096;

/// An open batch. Its new blocks are invisible until [`Batch::checkpoint`] or
/// [`Batch::commit`]; blocks in it are never evicted. Dropping it removes
/// what no checkpoint kept.
#[derive(Debug)]
pub struct Batch {
    store: Store,
    writer: Option<Writer>,
    /// Segments that this batch filled, not yet committed.
    full: Vec<Writer>,
    /// The flush of the last filled segment, going on beside the next puts.
    flush: Option<JoinHandle<io::Result<()>>>,
    /// Blocks since the last spill: where a new one was written, `None` for
    /// one that was in the store already.
    blocks: HashMap<Vec<u8>, Option<Location>>,
    /// What publishers say of them.
    provenance: HashMap<Vec<u8>, Provenance>,
    /// Disk space that the new ones among them take.
    in_flight: u64,
    /// The id that holds the blocks spilled so far.
    pending: Option<u64>,
    /// Whether a segment file was made whose name is not durable yet.
    new_file: bool,
    broken: bool,
}

impl Batch {
    pub(super) fn new(store: Store) -> Self {
        Batch {
            store,
            writer: None,
            full: Vec::new(),
            flush: None,
            blocks: HashMap::new(),
            provenance: HashMap::new(),
            in_flight: 0,
            pending: None,
            new_file: false,
            broken: false,
        }
    }

    /// As [`Batch::put`], with what the block's publisher says of it; the caller
    /// has checked that too. When the block has a publisher already, the
    /// statement that expires later stays.
    ///
    /// # Errors
    /// As [`Batch::put`].
    pub fn put_published(&mut self, cid: &Cid, data: &[u8], said: Provenance) -> Result<(), Error> {
        // Before the block, which may be written down at once.
        let key = cid.hash().to_bytes();
        let lives = said.expires_ms();
        let before = self.provenance.get(&key).map(Provenance::expires_ms);
        if before.is_none_or(|before| before < lives) {
            self.provenance.insert(key, said);
        }
        self.put(cid, data)
    }

    /// When the block expires as far as this batch and the store know; `None` for never.
    /// A block that neither knows expires at `now`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn expires_at(&self, cid: &Cid, now: SystemTime) -> Result<Option<SystemTime>, Error> {
        let said = self.provenance.get(&cid.hash().to_bytes());
        let said = said.map(Provenance::expires_at);
        Ok(match self.store.lifetime(cid, now)? {
            Lifetime::Published(stored) => said.max(Some(stored.expires_at())),
            Lifetime::OfRoot {
                expires_at: None, ..
            } => None,
            Lifetime::OfRoot { expires_at, .. } => said.max(expires_at),
            Lifetime::Expired(at) => said.max(at).or(Some(now)),
            Lifetime::Absent => said.or(Some(now)),
        })
    }

    /// Adds a block; the caller has checked that `data` is what `cid` names.
    /// A block that is in the store already is not written again, unless it is damaged on
    /// disk: the caller is told that the block is durable.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Full`], [`Error::DiskFull`] and those of the disk. After a failed write the batch cannot be committed;
    /// after the first two it can go on.
    pub fn put(&mut self, cid: &Cid, data: &[u8]) -> Result<(), Error> {
        if self.broken {
            return Err(Error::Broken);
        }
        let max = self.store.inner.options.max_block_bytes;
        if data.len() > max {
            return Err(Error::TooLarge {
                cid: *cid,
                len: data.len(),
                max,
            });
        }
        let key = cid.hash().to_bytes();
        if self.blocks.contains_key(&key) {
            return Ok(());
        }
        if self.keep(cid)? {
            if self.store.holds(cid, data)? {
                return Ok(());
            }
            self.forget(cid);
        }
        let need = footprint(&key, data.len());
        self.store.reserve(need)?;
        match self.write(&key, data) {
            Ok(at) => {
                self.in_flight += need;
                self.blocks.insert(key, Some(at));
            }
            Err(e) => {
                self.store.release(need);
                self.broken = true;
                return Err(e);
            }
        }
        self.spill_if_large()
    }

    /// Takes a block that is in the store already into the batch, without its
    /// bytes; false when it is not there. A fetch that resumes calls it for
    /// what it has, so that the blocks end up under its root.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub fn keep(&mut self, cid: &Cid) -> Result<bool, Error> {
        if self.broken {
            return Err(Error::Broken);
        }
        let key = cid.hash().to_bytes();
        if self.blocks.contains_key(&key) {
            return Ok(true);
        }
        if !self.store.protect_present(&key)? {
            return Ok(false);
        }
        self.blocks.insert(key, None);
        self.spill_if_large()?;
        Ok(true)
    }

    /// Gives up a block that was kept, because reading it found it damaged: the
    /// store has dropped it, and it can be put again.
    pub(crate) fn forget(&mut self, cid: &Cid) {
        let key = cid.hash().to_bytes();
        if let Some(None) = self.blocks.get(&key) {
            self.blocks.remove(&key);
            self.store.unprotect(std::iter::once(&key[..]));
        }
    }

    /// Makes what was put so far durable, as cache that outlives the batch: an
    /// interrupted fetch resumes from it.
    ///
    /// # Errors
    /// When it cannot be written; the batch cannot be committed then.
    pub fn checkpoint(&mut self) -> Result<(), Error> {
        self.spill(|index, id| index.keep_pending(id))
    }

    /// Makes everything that was put durable, all or nothing. With a root, the
    /// blocks belong to it, also those that were there before. A root with the
    /// same CID is merged: it stays pinned, and expires when the later of the two does.
    /// Without one they are cache.
    ///
    /// # Errors
    /// When it cannot be written. Nothing of the batch is in the store then,
    /// but what an earlier checkpoint kept.
    pub fn commit(mut self, root: Option<Root>) -> Result<(), Error> {
        let now = self.store.now();
        self.spill(|index, id| match root {
            Some(root) => index.promote(id, RootRow::new(&root, now)),
            None => index.end_pending(id, now, &|_| true).map(drop),
        })?;
        if let Some(id) = self.pending.take() {
            self.store.close_batch(id);
        }
        Ok(())
    }

    fn write(&mut self, key: &[u8], data: &[u8]) -> Result<Location, Error> {
        let segments = self.store.inner.segments.clone();
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                let (writer, new) = segments.writer()?;
                self.new_file |= new;
                writer
            }
        };
        let result = segments.append(&mut writer, key, data);
        if writer.end >= SEGMENT_BYTES && result.is_ok() {
            // Flush it while the next one fills, at most one at a time.
            let file = writer.file.clone();
            self.full.push(writer);
            self.join_flush()?;
            self.flush = Some(std::thread::spawn(move || file.sync_data()));
        } else {
            self.writer = Some(writer);
        }
        result
    }

    fn join_flush(&mut self) -> Result<(), Error> {
        let Some(flush) = self.flush.take() else {
            return Ok(());
        };
        flush
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the flush panicked")))
            .map_err(|e| Error::io("flush a segment in", self.store.inner.segments.dir(), e))
    }

    fn spill_if_large(&mut self) -> Result<(), Error> {
        if self.blocks.len() < SPILL_AFTER {
            return Ok(());
        }
        self.spill(|_, _| Ok(()))
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.join_flush()?;
        let segments = &self.store.inner.segments;
        for writer in self
            .full
            .iter()
            .chain(&self.writer)
            .filter(|w| w.is_dirty())
        {
            let file: &Arc<File> = &writer.file;
            file.sync_data()
                .map_err(|e| Error::io("flush", segments.path(writer.id), e))?;
        }
        if self.new_file {
            segments.sync_dir()?;
            self.new_file = false;
        }
        Ok(())
    }

    /// Makes the blocks so far durable under this batch's id, and does `then`
    /// in the same transaction.
    fn spill(
        &mut self,
        then: impl FnOnce(&mut Index<'_>, u64) -> Result<(), Fail>,
    ) -> Result<(), Error> {
        if self.broken {
            return Err(Error::Broken);
        }
        // A failure from here on leaves the batch unusable.
        self.broken = true;
        self.sync()?;

        let store = self.store.clone();
        let now = store.now();
        let pending = self.pending;
        // In the order of the tables, so that neighbours share their pages.
        let provenance = &self.provenance;
        let mut blocks: Vec<_> = self.blocks.iter().collect();
        blocks.sort_unstable_by_key(|(key, _)| *key);
        let writers = || {
            self.full
                .iter()
                .chain(&self.writer)
                .filter(|w| w.is_dirty())
        };
        let mut opened = None;
        let written = store.write(|index| {
            let id = match pending {
                Some(id) => id,
                None => {
                    let id = index.begin_pending()?;
                    // Before the commit: a sweep must not take it for one of a killed process.
                    store.open_batch(id);
                    opened = Some(id);
                    id
                }
            };
            for writer in writers() {
                index.set_end(writer.id, writer.end)?;
            }
            for &(key, at) in &blocks {
                match (index.locate(key)?, at) {
                    (None, Some(at)) => index.insert(id, key, *at, now)?,
                    (Some(_), Some(at)) => {
                        // Another batch was first; this copy is not needed.
                        index.discard(key, *at)?;
                        index.attach(id, key)?;
                    }
                    (Some(_), None) => index.attach(id, key)?,
                    (None, None) => return Err(Error::Vanished.into()),
                }
                if let Some(said) = provenance.get(key) {
                    index.publish(key, said)?;
                }
            }
            then(index, id)?;
            Ok(id)
        });
        match written {
            Ok(id) => self.pending = Some(id),
            Err(e) => {
                if let Some(id) = opened {
                    store.close_batch(id);
                }
                if !matches!(e, Error::Vanished) {
                    // Whether the transaction is on disk is unknown, so the
                    // segments stay as they are; the next start looks.
                    for writer in self.full.drain(..).chain(self.writer.take()) {
                        store.inner.segments.release(writer.id);
                    }
                }
                return Err(e);
            }
        }
        for mut writer in self.full.drain(..) {
            writer.committed = writer.end;
            self.store.inner.segments.put_back(writer);
        }
        if let Some(writer) = &mut self.writer {
            writer.committed = writer.end;
        }
        self.forget_blocks();
        self.broken = false;
        Ok(())
    }

    fn forget_blocks(&mut self) {
        let held = self
            .blocks
            .iter()
            .filter(|(_, at)| at.is_none())
            .map(|(key, _)| &key[..]);
        self.store.unprotect(held);
        self.blocks.clear();
        self.provenance.clear();
        self.store.release(std::mem::take(&mut self.in_flight));
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let _ = self.join_flush();
        for writer in self.full.drain(..).chain(self.writer.take()) {
            self.store.inner.segments.put_back(writer);
        }
        self.forget_blocks();
        if let Some(id) = self.pending.take() {
            // From now on a sweep may end it; do it now if possible.
            self.store.close_batch(id);
            if let Err(error) = self.store.end_pending(&[id]) {
                log::debug!(error:% = error; "a dropped batch waits for the next sweep");
            }
        }
    }
}

impl Store {
    /// Ends batches that are no longer open.
    pub(super) fn end_pending(&self, ids: &[u64]) -> Result<(), Error> {
        let protected = self.protected();
        let now = self.now();
        let removed = self.write(|index| {
            let mut removed = Removed::default();
            for &id in ids {
                removed += index.end_pending(id, now, &|key| protected.contains(key))?;
            }
            Ok(removed)
        })?;
        drop(protected);
        if removed.blocks > 0 {
            self.inner.removals.fetch_add(1, Ordering::AcqRel);
            self.reclaim()?;
        }
        Ok(())
    }
}
