//! What is read from the tables, in one snapshot.

use std::collections::HashMap;
use std::time::SystemTime;

use cid::Cid;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableError};

use super::{
    BLOCKS, HOLDERS, HOLES, PENDING, PROVENANCE, ROOT_IDS, ROOTS, SEGMENTS, decode, location,
    provenance,
};
use crate::message::provenance::Provenance;
use crate::store::database::Fail;
use crate::store::lifetime::Lifetime;
use crate::store::root::RootRow;
use crate::store::segment::Location;
use crate::text::unix_time::{from_unix_millis, unix_millis};

/// Where the block `key` lies.
pub(in crate::store) fn locate(tx: &ReadTransaction, key: &[u8]) -> Result<Option<Location>, Fail> {
    Ok(tx
        .open_table(BLOCKS)?
        .get(key)?
        .map(|row| location(row.value())))
}

/// What the publisher says of the block `key`.
pub(in crate::store) fn provenance_of(
    tx: &ReadTransaction,
    key: &[u8],
) -> Result<Option<Provenance>, Fail> {
    let table = match tx.open_table(PROVENANCE) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let row = table.get(key)?;
    Ok(row.and_then(|row| provenance::decode(row.value())))
}

/// How long the block `key` is kept, seen at `now`.
pub(in crate::store) fn lifetime(
    tx: &ReadTransaction,
    key: &[u8],
    now: u64,
) -> Result<Lifetime, Fail> {
    if tx.open_table(BLOCKS)?.get(key)?.is_none() {
        return Ok(Lifetime::Absent);
    }
    let provenance = provenance_of(tx, key)?;
    let mut expired = None;
    if let Some(provenance) = provenance {
        if provenance.expires_ms() > now {
            return Ok(Lifetime::Published(provenance));
        }
        expired = Some(provenance.expires_ms());
    }
    // It was stored before blocks had a publisher, or while the clock was not set.
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
        Some(row) if !row.is_expired(now) => Lifetime::OfRoot {
            put_at: from_unix_millis(row.put_at),
            expires_at: row.expires_at.map(from_unix_millis),
        },
        Some(row) => Lifetime::Expired(expired.max(row.expires_at).map(from_unix_millis)),
        None => Lifetime::Expired(expired.map(from_unix_millis)),
    })
}

/// Every root, in the order in which they were put.
pub(in crate::store) fn roots(tx: &ReadTransaction) -> Result<Vec<RootRow>, Fail> {
    let mut rows = Vec::new();
    for row in tx.open_table(ROOTS)?.iter()? {
        rows.push(decode(row?.1.value()));
    }
    Ok(rows)
}

/// The CIDs of the roots that have not expired at `now`, in the order in which they
/// were put.
pub(in crate::store) fn live_roots(
    tx: &ReadTransaction,
    now: SystemTime,
) -> Result<Vec<Cid>, Fail> {
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
pub(in crate::store) fn root(tx: &ReadTransaction, cid: &[u8]) -> Result<Option<RootRow>, Fail> {
    let Some(id) = tx.open_table(ROOT_IDS)?.get(cid)?.map(|id| id.value()) else {
        return Ok(None);
    };
    Ok(tx
        .open_table(ROOTS)?
        .get(id)?
        .map(|row| decode(row.value())))
}

/// The committed length of every segment.
pub(in crate::store) fn segment_ends(tx: &ReadTransaction) -> Result<HashMap<u32, u64>, Fail> {
    let mut ends = HashMap::new();
    for row in tx.open_table(SEGMENTS)?.iter()? {
        let (id, row) = row?;
        ends.insert(id.value(), row.value().0);
    }
    Ok(ends)
}

/// Ids of the pending batches.
pub(in crate::store) fn pending(tx: &ReadTransaction) -> Result<Vec<u64>, Fail> {
    tx.open_table(PENDING)?
        .iter()?
        .map(|row| Ok(row?.0.value()))
        .collect()
}

/// Ranges to punch, at most `limit`, with neighbours joined.
pub(in crate::store) fn holes(
    tx: &ReadTransaction,
    limit: usize,
) -> Result<Vec<(u32, u64, u64)>, Fail> {
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

/// Segments that hold no block.
pub(in crate::store) fn empty_segments(tx: &ReadTransaction) -> Result<Vec<u32>, Fail> {
    let mut empty = Vec::new();
    for row in tx.open_table(SEGMENTS)?.iter()? {
        let (id, row) = row?;
        if row.value().1 == 0 {
            empty.push(id.value());
        }
    }
    Ok(empty)
}
