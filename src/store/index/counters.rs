//! Numbers that are kept about the store as a whole.

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};

use super::{META, ROOTS};
use crate::store::database::Fail;

/// Numbers kept in the table `meta`, and the number of roots, which their table knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Counters {
    /// Blocks in the store.
    pub(in crate::store) blocks: u64,
    /// Bytes of their payloads.
    pub(in crate::store) bytes: u64,
    /// Bytes of disk that they take.
    pub(in crate::store) disk: u64,
    /// Above every segment id that was ever committed.
    pub(in crate::store) next_segment: u64,
    /// Above every root id that was ever given.
    pub(in crate::store) next_root: u64,
    /// Roots; the length of their table, which costs nothing to read.
    pub(in crate::store) roots: u64,
}

/// Their names in `meta`.
pub(super) const COUNTERS: [&str; 5] = ["blocks", "bytes", "disk", "next_segment", "next_root"];

impl Counters {
    /// The numbers in the order of [`COUNTERS`].
    pub(super) fn to_array(self) -> [u64; 5] {
        [
            self.blocks,
            self.bytes,
            self.disk,
            self.next_segment,
            self.next_root,
        ]
    }

    /// Reads them from a snapshot.
    pub(in crate::store) fn load(tx: &ReadTransaction) -> Result<Self, Fail> {
        let meta = tx.open_table(META)?;
        Self::from_tables(&meta, &tx.open_table(ROOTS)?)
    }

    /// Reads them from the tables that have them.
    pub(super) fn from_tables(
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
