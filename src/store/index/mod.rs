//! The tables that say which blocks there are, where their payloads lie and
//! which roots hold them.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name | number: format, counters, next ids |
//! | `blocks` | multihash | segment, offset, length, last use of a rootless block |
//! | `provenance` | multihash | what its publisher says of a block |
//! | `cache` | last use, multihash | blocks that no root holds, oldest first |
//! | `members` | root id, multihash | the blocks of a root |
//! | `holders` | multihash, root id | the roots of a block |
//! | `roots` | root id | [`RootRow`] |
//! | `root_ids` | CID | root id |
//! | `pending` | root id | batches that are open, or were when the node was killed; 1: keep the blocks |
//! | `segments` | segment | committed length, bytes in use |
//! | `holes` | segment, offset | length of a range that is to be punched |
//!
//! Blocks are known by multihash: the bytes are the same whatever codec the CID names.
//! Times are milliseconds since 1970.
//!
//! | file | noun |
//! |---|---|
//! | `snapshot` | what is read from the tables |
//! | `write` | the tables, open for changes |
//! | `counters` | numbers about the store as a whole |
//! | `provenance` | what the publisher of a block says of it, as a row |

mod counters;
mod provenance;
mod snapshot;
mod write;

use prost::Message;
use redb::{ReadTransaction, TableDefinition, TableError, WriteTransaction};

use super::database::Fail;
use super::root::RootRow;
use super::segment::Location;
pub(super) use counters::Counters;
#[cfg(feature = "fuzzing")]
pub(super) use provenance::decode as decode_provenance;
pub(super) use snapshot::{
    empty_segments, holes, lifetime, live_roots, locate, pending, provenance_of, root, roots,
    segment_ends,
};
pub(super) use write::Index;

/// Format of the tables. A change that old programs would misread raises it.
pub(super) const FORMAT: u64 = 1;

type Key = &'static [u8];
type BlockRow = (u32, u64, u32, u64);

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const BLOCKS: TableDefinition<Key, BlockRow> = TableDefinition::new("blocks");
/// Newer than the others: a database from before it has none until the next write.
const PROVENANCE: TableDefinition<Key, Key> = TableDefinition::new("provenance");
const CACHE: TableDefinition<(u64, Key), ()> = TableDefinition::new("cache");
const MEMBERS: TableDefinition<(u64, Key), ()> = TableDefinition::new("members");
const HOLDERS: TableDefinition<(Key, u64), ()> = TableDefinition::new("holders");
const ROOTS: TableDefinition<u64, Key> = TableDefinition::new("roots");
const ROOT_IDS: TableDefinition<Key, u64> = TableDefinition::new("root_ids");
const PENDING: TableDefinition<u64, u8> = TableDefinition::new("pending");
const SEGMENTS: TableDefinition<u32, (u64, u64)> = TableDefinition::new("segments");
const HOLES: TableDefinition<(u32, u64), u64> = TableDefinition::new("holes");

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

/// The format of the database; `None` when another program made it.
pub(super) fn format(tx: &ReadTransaction) -> Result<Option<u64>, Fail> {
    match tx.open_table(META) {
        Ok(meta) => Ok(meta.get("format")?.map(|v| v.value())),
        Err(TableError::Storage(e)) => Err(e.into()),
        Err(_) => Ok(None),
    }
}

fn location((segment, offset, len, _): BlockRow) -> Location {
    Location {
        segment,
        offset,
        len,
    }
}

fn decode(bytes: &[u8]) -> RootRow {
    // The page's checksum proves that these are the bytes that were written; a row that
    // still fails to parse has lost its CID and is dropped by `to_root`.
    RootRow::decode(bytes).unwrap_or_default()
}
