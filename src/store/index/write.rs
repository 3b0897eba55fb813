//! The tables, open for changes in one transaction.

use std::collections::HashMap;

use prost::Message;
use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use super::counters::{COUNTERS, Counters};
use super::{
    BLOCKS, BlockRow, CACHE, HOLDERS, HOLES, Key, MEMBERS, META, PENDING, PROVENANCE, ROOT_IDS,
    ROOTS, SEGMENTS, decode, location, provenance,
};
use crate::message::provenance::Provenance;
use crate::store::Removed;
use crate::store::database::Fail;
use crate::store::root::RootRow;
use crate::store::segment::{Location, footprint};

/// All tables of the index, open for writing.
pub(in crate::store) struct Index<'t> {
    meta: Table<'t, &'static str, u64>,
    blocks: Table<'t, Key, BlockRow>,
    provenance: Table<'t, Key, Key>,
    cache: Table<'t, (u64, Key), ()>,
    members: Table<'t, (u64, Key), ()>,
    holders: Table<'t, (Key, u64), ()>,
    roots: Table<'t, u64, Key>,
    root_ids: Table<'t, Key, u64>,
    pending: Table<'t, u64, u8>,
    segments: Table<'t, u32, (u64, u64)>,
    holes: Table<'t, (u32, u64), u64>,
    pub(in crate::store) counters: Counters,
    before: Counters,
    /// Change of the bytes in use by segment, written once at the end.
    live: HashMap<u32, i64>,
}

impl<'t> Index<'t> {
    /// Opens all tables.
    pub(in crate::store) fn open(tx: &'t WriteTransaction) -> Result<Self, Fail> {
        let meta = tx.open_table(META)?;
        let roots = tx.open_table(ROOTS)?;
        let counters = Counters::from_tables(&meta, &roots)?;
        Ok(Index {
            meta,
            blocks: tx.open_table(BLOCKS)?,
            provenance: tx.open_table(PROVENANCE)?,
            cache: tx.open_table(CACHE)?,
            members: tx.open_table(MEMBERS)?,
            holders: tx.open_table(HOLDERS)?,
            roots,
            root_ids: tx.open_table(ROOT_IDS)?,
            pending: tx.open_table(PENDING)?,
            segments: tx.open_table(SEGMENTS)?,
            holes: tx.open_table(HOLES)?,
            counters,
            before: counters,
            live: HashMap::new(),
        })
    }

    /// Writes what was gathered while changing. To be called before the commit.
    pub(in crate::store) fn finish(mut self) -> Result<Counters, Fail> {
        for (id, change) in std::mem::take(&mut self.live) {
            let (end, live) = self.segments.get(id)?.map_or((0, 0), |row| row.value());
            self.segments
                .insert(id, (end, live.saturating_add_signed(change)))?;
        }
        let (now, before) = (self.counters.to_array(), self.before.to_array());
        for ((name, now), before) in COUNTERS.iter().zip(now).zip(before) {
            if now != before {
                self.meta.insert(name, now)?;
            }
        }
        self.counters.roots = self.roots.len()?;
        Ok(self.counters)
    }

    /// Where the block `key` lies.
    pub(in crate::store) fn locate(&self, key: &[u8]) -> Result<Option<Location>, Fail> {
        Ok(self.blocks.get(key)?.map(|row| location(row.value())))
    }

    /// Adds a block whose payload is on disk, held by root `id`.
    pub(in crate::store) fn insert(
        &mut self,
        id: u64,
        key: &[u8],
        at: Location,
        used: u64,
    ) -> Result<(), Fail> {
        self.blocks
            .insert(key, (at.segment, at.offset, at.len, used))?;
        self.members.insert((id, key), ())?;
        self.holders.insert((key, id), ())?;
        let disk = footprint(key, at.len as usize);
        self.counters.blocks += 1;
        self.counters.bytes += u64::from(at.len);
        self.counters.disk += disk;
        *self.live.entry(at.segment).or_default() += disk as i64;
        Ok(())
    }

    /// Writes down what a publisher says of a block. Of two statements the one
    /// that expires later stays.
    pub(in crate::store) fn publish(&mut self, key: &[u8], said: &Provenance) -> Result<(), Fail> {
        let before = self.provenance.get(key)?;
        let before = before.and_then(|row| provenance::decode(row.value()));
        if before.is_none_or(|before| before.expires_ms() < said.expires_ms()) {
            self.provenance.insert(key, &provenance::encode(said)[..])?;
        }
        Ok(())
    }

    /// Dates the roots that were put while the clock was not set. To be called when `now`
    /// is from a clock that is.
    pub(in crate::store) fn date(&mut self, now: u64) -> Result<(), Fail> {
        for (id, mut row) in self.all_roots()? {
            if row.is_undated() {
                row.date(now);
                self.roots.insert(id, &row.encode_to_vec()[..])?;
            }
        }
        Ok(())
    }

    /// Notes that the range of a record that is not in the index is to be punched.
    pub(in crate::store) fn discard(&mut self, key: &[u8], at: Location) -> Result<(), Fail> {
        let len = footprint(key, at.len as usize);
        self.holes.insert((at.segment, at.offset), len)?;
        Ok(())
    }

    /// Writes down how far segment `id` is committed.
    pub(in crate::store) fn set_end(&mut self, id: u32, end: u64) -> Result<(), Fail> {
        let live = self.segments.get(id)?.map_or(0, |row| row.value().1);
        self.segments.insert(id, (end, live))?;
        self.counters.next_segment = self.counters.next_segment.max(u64::from(id) + 1);
        Ok(())
    }

    /// Removes a block, whichever roots hold it; its space waits in `holes`.
    pub(in crate::store) fn remove(&mut self, key: &[u8]) -> Result<Removed, Fail> {
        let Some((segment, offset, len, used)) = self.blocks.remove(key)?.map(|row| row.value())
        else {
            return Ok(Removed::default());
        };
        self.provenance.remove(key)?;
        self.cache.remove((used, key))?;
        for id in self.holders_of(key)? {
            self.holders.remove((key, id))?;
            self.members.remove((id, key))?;
        }
        let at = Location {
            segment,
            offset,
            len,
        };
        self.discard(key, at)?;
        let disk = footprint(key, len as usize);
        self.counters.blocks = self.counters.blocks.saturating_sub(1);
        self.counters.bytes = self.counters.bytes.saturating_sub(u64::from(len));
        self.counters.disk = self.counters.disk.saturating_sub(disk);
        *self.live.entry(segment).or_default() -= disk as i64;
        Ok(Removed {
            blocks: 1,
            bytes: u64::from(len),
        })
    }

    fn holders_of(&self, key: &[u8]) -> Result<Vec<u64>, Fail> {
        self.holders
            .range((key, 0)..=(key, u64::MAX))?
            .map(|row| Ok(row?.0.value().1))
            .collect()
    }

    /// Makes root `id` a holder of the block.
    pub(in crate::store) fn attach(&mut self, id: u64, key: &[u8]) -> Result<(), Fail> {
        self.members.insert((id, key), ())?;
        self.holders.insert((key, id), ())?;
        let used = self.blocks.get(key)?.map(|row| row.value().3);
        if let Some(used) = used {
            self.cache.remove((used, key))?;
        }
        Ok(())
    }

    /// Root `id` holds the block no longer; true when no other root does.
    fn detach(&mut self, id: u64, key: &[u8]) -> Result<bool, Fail> {
        self.members.remove((id, key))?;
        self.holders.remove((key, id))?;
        Ok(self.holders_of(key)?.is_empty())
    }

    /// Makes a block that no root holds part of the cache, used last at `used`.
    pub(in crate::store) fn touch_cached(&mut self, key: &[u8], used: u64) -> Result<(), Fail> {
        let Some(row) = self.blocks.get(key)?.map(|row| row.value()) else {
            return Ok(());
        };
        let (segment, offset, len, before) = row;
        let used = used.max(before);
        self.cache.remove((before, key))?;
        self.cache.insert((used, key), ())?;
        self.blocks.insert(key, (segment, offset, len, used))?;
        Ok(())
    }

    fn members_of(&self, id: u64) -> Result<Vec<Vec<u8>>, Fail> {
        // The end of the range is the next root's first possible key.
        self.members
            .range((id, &[][..])..(id.saturating_add(1), &[][..]))?
            .map(|row| Ok(row?.0.value().1.to_vec()))
            .collect()
    }

    /// Root `id` holds no block any longer. Blocks that no other root holds are removed,
    /// unless `keep` says that they become cache.
    fn dissolve(
        &mut self,
        id: u64,
        used: u64,
        keep: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Removed, Fail> {
        let mut gone = Removed::default();
        for key in self.members_of(id)? {
            if self.detach(id, &key)? {
                if keep(&key) {
                    self.touch_cached(&key, used)?;
                } else {
                    gone += self.remove(&key)?;
                }
            }
        }
        Ok(gone)
    }

    /// A new id under which a batch holds its blocks.
    pub(in crate::store) fn begin_pending(&mut self) -> Result<u64, Fail> {
        let id = self.counters.next_root;
        self.counters.next_root += 1;
        self.pending.insert(id, 0)?;
        Ok(id)
    }

    /// From now on the blocks of this batch outlive it as cache.
    pub(in crate::store) fn keep_pending(&mut self, id: u64) -> Result<(), Fail> {
        self.pending.insert(id, 1)?;
        Ok(())
    }

    /// Ends a batch without a root.
    pub(in crate::store) fn end_pending(
        &mut self,
        id: u64,
        used: u64,
        keep: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Removed, Fail> {
        let Some(kept) = self.pending.remove(id)?.map(|v| v.value()) else {
            return Ok(Removed::default());
        };
        self.dissolve(id, used, &|key| kept == 1 || keep(key))
    }

    /// Turns a batch into a root; a root with the same CID is merged into it.
    pub(in crate::store) fn promote(&mut self, id: u64, mut row: RootRow) -> Result<(), Fail> {
        self.pending.remove(id)?;
        let before = self.root_ids.get(&row.cid[..])?.map(|v| v.value());
        if let Some(before) = before {
            if let Some(old) = self.roots.remove(before)?.map(|v| decode(v.value())) {
                row.join(old);
            }
            for key in self.members_of(before)? {
                self.attach(id, &key)?;
                self.detach(before, &key)?;
            }
        }
        self.root_ids.insert(&row.cid[..], id)?;
        self.roots.insert(id, &row.encode_to_vec()[..])?;
        Ok(())
    }

    /// The id of the root with this CID.
    pub(in crate::store) fn root_id(&self, cid: &[u8]) -> Result<Option<u64>, Fail> {
        Ok(self.root_ids.get(cid)?.map(|v| v.value()))
    }

    /// Removes a root and the blocks that only it holds.
    pub(in crate::store) fn remove_root(
        &mut self,
        id: u64,
        used: u64,
        keep: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Removed, Fail> {
        let row = self.roots.remove(id)?.map(|v| decode(v.value()));
        if let Some(row) = row {
            self.root_ids.remove(&row.cid[..])?;
        }
        self.dissolve(id, used, keep)
    }

    /// Ids and rows of all roots.
    pub(in crate::store) fn all_roots(&self) -> Result<Vec<(u64, RootRow)>, Fail> {
        self.roots
            .iter()?
            .map(|row| {
                let (id, row) = row?;
                Ok((id.value(), decode(row.value())))
            })
            .collect()
    }

    /// Blocks that no root holds, the longest unused first, beginning after
    /// `cursor`: at most `limit` of them.
    pub(in crate::store) fn cached_after(
        &self,
        cursor: &(u64, Vec<u8>),
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, Fail> {
        let from = std::ops::Bound::Excluded((cursor.0, &cursor.1[..]));
        self.cache
            .range((from, std::ops::Bound::Unbounded))?
            .take(limit)
            .map(|row| {
                let (at, _) = row?;
                let (used, key) = at.value();
                Ok((used, key.to_vec()))
            })
            .collect()
    }

    /// Writes down when blocks were last read: on the roots that hold them,
    /// or on the block itself when none does.
    pub(in crate::store) fn apply_touches(
        &mut self,
        touches: &HashMap<Vec<u8>, u64>,
    ) -> Result<(), Fail> {
        let mut roots: HashMap<u64, u64> = HashMap::new();
        for (key, &used) in touches {
            let holders = self.holders_of(key)?;
            if holders.is_empty() {
                self.touch_cached(key, used)?;
            }
            for id in holders {
                let at = roots.entry(id).or_default();
                *at = (*at).max(used);
            }
        }
        for (id, used) in roots {
            // Absent for an open batch, which is not evicted anyway.
            let Some(mut row) = self.roots.get(id)?.map(|v| decode(v.value())) else {
                continue;
            };
            if used > row.used_at {
                row.used_at = used;
                self.roots.insert(id, &row.encode_to_vec()[..])?;
            }
        }
        Ok(())
    }

    /// Forgets ranges that were punched.
    pub(in crate::store) fn clear_holes(
        &mut self,
        segment: u32,
        from: u64,
        len: u64,
    ) -> Result<(), Fail> {
        self.holes
            .retain_in((segment, from)..(segment, from + len), |_, _| false)?;
        Ok(())
    }

    /// Forgets a segment that was deleted.
    pub(in crate::store) fn forget_segment(&mut self, id: u32) -> Result<(), Fail> {
        self.segments.remove(id)?;
        self.clear_holes(id, 0, u64::MAX)
    }
}
