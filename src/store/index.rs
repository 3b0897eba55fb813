//! The tables that say which blocks there are, where their payloads lie and
//! which roots hold them.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name | number: format, counters, next ids |
//! | `blocks` | multihash | segment, offset, length, last use of a rootless block |
//! | `provenance` | multihash | what its publisher says of a block: [`ProvenanceRow`] |
//! | `cache` | last use, multihash | blocks that no root holds, oldest first |
//! | `members` | root id, multihash | the blocks of a root |
//! | `holders` | multihash, root id | the roots of a block |
//! | `roots` | root id | [`RootRow`] |
//! | `root_ids` | CID | root id |
//! | `pending` | root id | batches that are open, or were when the node was killed; 1: keep the blocks |
//! | `segments` | segment | committed length, bytes that live |
//! | `holes` | segment, offset | length of a range that is to be punched |
//!
//! Blocks are known by multihash: the bytes are the same whatever codec a CID
//! reads them with. Times are milliseconds since 1970.

use std::collections::HashMap;
use std::time::SystemTime;

use bytes::Bytes;
use cid::Cid;
use prost::Message;
use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata, Table, TableDefinition, TableError,
    WriteTransaction,
};

use super::{
    database::Fail,
    life::Life,
    root::RootRow,
    segment::{Location, footprint},
};
use crate::message::provenance::Provenance;
use crate::text::unix_time::{from_unix_millis, unix_millis};

/// Format of the tables. A change that old programs would misread raises it.
pub(super) const FORMAT: u64 = 1;

type Key = &'static [u8];
type BlockRow = (u32, u64, u32, u64);

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const BLOCKS: TableDefinition<Key, BlockRow> = TableDefinition::new("blocks");
/// Younger than the others: a database of before it has none until the next write.
const PROVENANCE: TableDefinition<Key, Key> = TableDefinition::new("provenance");
const CACHE: TableDefinition<(u64, Key), ()> = TableDefinition::new("cache");
const MEMBERS: TableDefinition<(u64, Key), ()> = TableDefinition::new("members");
const HOLDERS: TableDefinition<(Key, u64), ()> = TableDefinition::new("holders");
const ROOTS: TableDefinition<u64, Key> = TableDefinition::new("roots");
const ROOT_IDS: TableDefinition<Key, u64> = TableDefinition::new("root_ids");
const PENDING: TableDefinition<u64, u8> = TableDefinition::new("pending");
const SEGMENTS: TableDefinition<u32, (u64, u64)> = TableDefinition::new("segments");
const HOLES: TableDefinition<(u32, u64), u64> = TableDefinition::new("holes");

/// Numbers kept in `meta`, and one that its table knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Blocks in the store.
    pub(super) blocks: u64,
    /// Bytes of their payloads.
    pub(super) bytes: u64,
    /// Bytes of disk that they take.
    pub(super) disk: u64,
    /// Above every segment id that was ever committed.
    pub(super) next_segment: u64,
    /// Above every root id that was ever given.
    pub(super) next_root: u64,
    /// Roots; the length of their table, which costs nothing to ask.
    pub(super) roots: u64,
}

const COUNTERS: [&str; 5] = ["blocks", "bytes", "disk", "next_segment", "next_root"];

impl Counters {
    fn to_array(self) -> [u64; 5] {
        [
            self.blocks,
            self.bytes,
            self.disk,
            self.next_segment,
            self.next_root,
        ]
    }

    pub(super) fn load(tx: &ReadTransaction) -> Result<Self, Fail> {
        let meta = tx.open_table(META)?;
        Self::from_tables(&meta, &tx.open_table(ROOTS)?)
    }

    fn from_tables(
        meta: &impl ReadableTable<&'static str, u64>,
        roots: &impl ReadableTableMetadata,
    ) -> Result<Self, Fail> {
        let mut n = [0; 5];
        for (name, n) in COUNTERS.iter().zip(&mut n) {
            *n = meta.get(name)?.map_or(0, |v| v.value());
        }
        let [blocks, bytes, disk, next_segment, next_root] = n;
        Ok(Counters {
            blocks,
            bytes,
            disk,
            next_segment,
            next_root,
            roots: roots.len()?,
        })
    }
}

/// Makes every table, so that reading never meets one that is missing.
pub(super) fn create(tx: &WriteTransaction) -> Result<(), Fail> {
    let index = Index::open(tx)?;
    drop(index);
    tx.open_table(super::peers::PEERS)?;
    tx.open_table(super::sequence::SEQUENCE)?;
    tx.open_table(super::windows::WINDOWS)?;
    tx.open_table(super::announcements::ANNOUNCEMENTS)?;
    tx.open_table(super::bans::BANS)?;
    tx.open_table(super::reputations::REPUTATIONS)?;
    tx.open_table(META)?.insert("format", FORMAT)?;
    Ok(())
}

/// The format of the database, `None` when it is not one of ours.
pub(super) fn format(tx: &ReadTransaction) -> Result<Option<u64>, Fail> {
    match tx.open_table(META) {
        Ok(meta) => Ok(meta.get("format")?.map(|v| v.value())),
        Err(TableError::Storage(e)) => Err(e.into()),
        Err(_) => Ok(None),
    }
}

/// Where the block `key` lies.
pub(super) fn locate(tx: &ReadTransaction, key: &[u8]) -> Result<Option<Location>, Fail> {
    Ok(tx
        .open_table(BLOCKS)?
        .get(key)?
        .map(|row| location(row.value())))
}

/// What the publisher says of the block `key`.
pub(super) fn provenance(tx: &ReadTransaction, key: &[u8]) -> Result<Option<Provenance>, Fail> {
    let table = match tx.open_table(PROVENANCE) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let row = table.get(key)?;
    Ok(row.and_then(|row| decode_provenance(row.value())))
}

/// How long the block `key` lives, seen at `now`.
pub(super) fn life(tx: &ReadTransaction, key: &[u8], now: u64) -> Result<Life, Fail> {
    if tx.open_table(BLOCKS)?.get(key)?.is_none() {
        return Ok(Life::Absent);
    }
    let provenance = provenance(tx, key)?;
    let mut expired = None;
    if let Some(provenance) = provenance {
        if provenance.expires_ms() > now {
            return Ok(Life::Published(provenance));
        }
        expired = Some(provenance.expires_ms());
    }
    // Stored before blocks had a publisher, or by a clock that was not set.
    let (holders, roots) = (tx.open_table(HOLDERS)?, tx.open_table(ROOTS)?);
    let mut longest: Option<RootRow> = None;
    for holder in holders.range((key, 0)..=(key, u64::MAX))? {
        let Some(row) = roots.get(holder?.0.value().1)? else {
            continue;
        };
        let row = decode(row.value());
        let lives = |row: &RootRow| row.expires_at.unwrap_or(u64::MAX);
        if longest.as_ref().is_none_or(|old| lives(old) < lives(&row)) {
            longest = Some(row);
        }
    }
    Ok(match longest {
        Some(row) if !row.is_expired(now) => Life::Held {
            put_at: from_unix_millis(row.put_at),
            expires_at: row.expires_at.map(from_unix_millis),
        },
        Some(row) => Life::Over(expired.max(row.expires_at).map(from_unix_millis)),
        None => Life::Over(expired.map(from_unix_millis)),
    })
}

/// Every root, in the order they came.
pub(super) fn roots(tx: &ReadTransaction) -> Result<Vec<RootRow>, Fail> {
    let mut rows = Vec::new();
    for row in tx.open_table(ROOTS)?.iter()? {
        rows.push(decode(row?.1.value()));
    }
    Ok(rows)
}

/// The CIDs of the roots whose time is not over at `now`, in the order they came.
pub(super) fn live_roots(tx: &ReadTransaction, now: SystemTime) -> Result<Vec<Cid>, Fail> {
    let now = unix_millis(now);
    let table = tx.open_table(ROOTS)?;
    let mut cids = Vec::with_capacity(usize::try_from(table.len()?).unwrap_or(0));
    for row in table.iter()? {
        let row = decode(row?.1.value());
        if !row.is_expired(now) {
            cids.extend(Cid::try_from(&row.cid[..]));
        }
    }
    Ok(cids)
}

/// The root with this CID.
pub(super) fn root(tx: &ReadTransaction, cid: &[u8]) -> Result<Option<RootRow>, Fail> {
    let Some(id) = tx.open_table(ROOT_IDS)?.get(cid)?.map(|id| id.value()) else {
        return Ok(None);
    };
    Ok(tx
        .open_table(ROOTS)?
        .get(id)?
        .map(|row| decode(row.value())))
}

/// The committed length of every segment.
pub(super) fn segment_ends(tx: &ReadTransaction) -> Result<HashMap<u32, u64>, Fail> {
    let mut ends = HashMap::new();
    for row in tx.open_table(SEGMENTS)?.iter()? {
        let (id, row) = row?;
        ends.insert(id.value(), row.value().0);
    }
    Ok(ends)
}

/// Ids of the pending batches.
pub(super) fn pending(tx: &ReadTransaction) -> Result<Vec<u64>, Fail> {
    tx.open_table(PENDING)?
        .iter()?
        .map(|row| Ok(row?.0.value()))
        .collect()
}

/// Ranges to punch, at most `limit`, with neighbours joined.
pub(super) fn holes(tx: &ReadTransaction, limit: usize) -> Result<Vec<(u32, u64, u64)>, Fail> {
    let mut found: Vec<(u32, u64, u64)> = Vec::new();
    for row in tx.open_table(HOLES)?.iter()?.take(limit) {
        let (at, len) = row?;
        let ((segment, offset), len) = (at.value(), len.value());
        match found.last_mut() {
            Some((s, o, l)) if *s == segment && *o + *l == offset => *l += len,
            _ => found.push((segment, offset, len)),
        }
    }
    Ok(found)
}

/// Segments in which nothing lives.
pub(super) fn empty_segments(tx: &ReadTransaction) -> Result<Vec<u32>, Fail> {
    let mut empty = Vec::new();
    for row in tx.open_table(SEGMENTS)?.iter()? {
        let (id, row) = row?;
        if row.value().1 == 0 {
            empty.push(id.value());
        }
    }
    Ok(empty)
}

fn location((segment, offset, len, _): BlockRow) -> Location {
    Location {
        segment,
        offset,
        len,
    }
}

fn decode(bytes: &[u8]) -> RootRow {
    // The page's checksum says that these are the bytes we wrote; a row that
    // still fails to parse has lost its CID and is dropped by `to_root`.
    RootRow::decode(bytes).unwrap_or_default()
}

/// How a provenance lies in the database: protobuf, so that fields can be added.
/// Some 120 bytes with an ed25519 key, which is repeated in each row: 3% of the
/// 4 KiB that the smallest block takes.
#[derive(Clone, PartialEq, prost::Message)]
struct ProvenanceRow {
    #[prost(uint64, tag = "1")]
    timestamp: u64,
    #[prost(uint32, tag = "2")]
    ttl: u32,
    #[prost(uint32, tag = "3")]
    version: u32,
    #[prost(bytes = "bytes", tag = "4")]
    signature: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    key: Bytes,
}

pub(super) fn decode_provenance(bytes: &[u8]) -> Option<Provenance> {
    let row = ProvenanceRow::decode(bytes).ok()?;
    Some(Provenance {
        timestamp: row.timestamp,
        ttl: row.ttl,
        version: row.version,
        key: row.key,
        signature: row.signature,
    })
}

/// What a root held, or what was evicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) blocks: u64,
    pub(super) bytes: u64,
}

impl std::ops::AddAssign for Gone {
    fn add_assign(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.bytes += other.bytes;
    }
}

/// All tables of the index, open for writing.
pub(super) struct Index<'t> {
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
    pub(super) counters: Counters,
    before: Counters,
    /// Change of living bytes by segment, written once at the end.
    live: HashMap<u32, i64>,
}

impl<'t> Index<'t> {
    pub(super) fn open(tx: &'t WriteTransaction) -> Result<Self, Fail> {
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

    /// Writes what was gathered while changing; call it before the commit.
    pub(super) fn finish(mut self) -> Result<Counters, Fail> {
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

    pub(super) fn locate(&self, key: &[u8]) -> Result<Option<Location>, Fail> {
        Ok(self.blocks.get(key)?.map(|row| location(row.value())))
    }

    /// Adds a block whose payload is on disk, held by root `id`.
    pub(super) fn insert(
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
    /// that lives longer stays.
    pub(super) fn publish(&mut self, key: &[u8], said: &Provenance) -> Result<(), Fail> {
        let before = self.provenance.get(key)?;
        let before = before.and_then(|row| decode_provenance(row.value()));
        if before.is_none_or(|before| before.expires_ms() < said.expires_ms()) {
            let row = ProvenanceRow {
                timestamp: said.timestamp,
                ttl: said.ttl,
                version: said.version,
                signature: said.signature.clone(),
                key: said.key.clone(),
            };
            self.provenance.insert(key, &row.encode_to_vec()[..])?;
        }
        Ok(())
    }

    /// Begins the time of roots that were put by a clock that was not set. To be
    /// called when `now` is of one that is.
    pub(super) fn date(&mut self, now: u64) -> Result<(), Fail> {
        for (id, mut row) in self.all_roots()? {
            if row.is_undated() {
                row.date(now);
                self.roots.insert(id, &row.encode_to_vec()[..])?;
            }
        }
        Ok(())
    }

    /// Marks the range of a record that never got into the index for punching.
    pub(super) fn discard(&mut self, key: &[u8], at: Location) -> Result<(), Fail> {
        let len = footprint(key, at.len as usize);
        self.holes.insert((at.segment, at.offset), len)?;
        Ok(())
    }

    /// Says how far segment `id` is committed.
    pub(super) fn set_end(&mut self, id: u32, end: u64) -> Result<(), Fail> {
        let live = self.segments.get(id)?.map_or(0, |row| row.value().1);
        self.segments.insert(id, (end, live))?;
        self.counters.next_segment = self.counters.next_segment.max(u64::from(id) + 1);
        Ok(())
    }

    /// Removes a block whoever holds it; its space waits in `holes`.
    pub(super) fn remove(&mut self, key: &[u8]) -> Result<Gone, Fail> {
        let Some((segment, offset, len, used)) = self.blocks.remove(key)?.map(|row| row.value())
        else {
            return Ok(Gone::default());
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
        Ok(Gone {
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

    /// Lets root `id` hold the block.
    pub(super) fn attach(&mut self, id: u64, key: &[u8]) -> Result<(), Fail> {
        self.members.insert((id, key), ())?;
        self.holders.insert((key, id), ())?;
        let used = self.blocks.get(key)?.map(|row| row.value().3);
        if let Some(used) = used {
            self.cache.remove((used, key))?;
        }
        Ok(())
    }

    /// Ends the hold of root `id`; true when nobody else holds the block.
    fn detach(&mut self, id: u64, key: &[u8]) -> Result<bool, Fail> {
        self.members.remove((id, key))?;
        self.holders.remove((key, id))?;
        Ok(self.holders_of(key)?.is_empty())
    }

    /// Makes a block that nobody holds cache, used last at `used`.
    pub(super) fn touch_cached(&mut self, key: &[u8], used: u64) -> Result<(), Fail> {
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

    /// Ends every hold of root `id`. Blocks that nobody else holds are removed,
    /// unless `keep` says that they become cache.
    fn dissolve(&mut self, id: u64, used: u64, keep: &dyn Fn(&[u8]) -> bool) -> Result<Gone, Fail> {
        let mut gone = Gone::default();
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

    /// A fresh id under which a batch holds its blocks.
    pub(super) fn begin_pending(&mut self) -> Result<u64, Fail> {
        let id = self.counters.next_root;
        self.counters.next_root += 1;
        self.pending.insert(id, 0)?;
        Ok(id)
    }

    /// From now on the blocks of this batch outlive it as cache.
    pub(super) fn keep_pending(&mut self, id: u64) -> Result<(), Fail> {
        self.pending.insert(id, 1)?;
        Ok(())
    }

    /// Ends a batch without a root.
    pub(super) fn end_pending(
        &mut self,
        id: u64,
        used: u64,
        keep: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Gone, Fail> {
        let Some(kept) = self.pending.remove(id)?.map(|v| v.value()) else {
            return Ok(Gone::default());
        };
        self.dissolve(id, used, &|key| kept == 1 || keep(key))
    }

    /// Turns a batch into a root; one with the same CID is joined.
    pub(super) fn promote(&mut self, id: u64, mut row: RootRow) -> Result<(), Fail> {
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
    pub(super) fn root_id(&self, cid: &[u8]) -> Result<Option<u64>, Fail> {
        Ok(self.root_ids.get(cid)?.map(|v| v.value()))
    }

    /// Removes a root and what only it held.
    pub(super) fn remove_root(
        &mut self,
        id: u64,
        used: u64,
        keep: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Gone, Fail> {
        let row = self.roots.remove(id)?.map(|v| decode(v.value()));
        if let Some(row) = row {
            self.root_ids.remove(&row.cid[..])?;
        }
        self.dissolve(id, used, keep)
    }

    /// Ids and rows of all roots.
    pub(super) fn all_roots(&self) -> Result<Vec<(u64, RootRow)>, Fail> {
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
    pub(super) fn cached_after(
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
    pub(super) fn apply_touches(&mut self, touches: &HashMap<Vec<u8>, u64>) -> Result<(), Fail> {
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
    pub(super) fn clear_holes(&mut self, segment: u32, from: u64, len: u64) -> Result<(), Fail> {
        self.holes
            .retain_in((segment, from)..(segment, from + len), |_, _| false)?;
        Ok(())
    }

    /// Forgets a segment that was deleted.
    pub(super) fn forget_segment(&mut self, id: u32) -> Result<(), Fail> {
        self.segments.remove(id)?;
        self.clear_holes(id, 0, u64::MAX)
    }
}
