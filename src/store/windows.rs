//! The table of replay windows: which numbers of which publishers were seen.
//!
//! It is written every few minutes; messages that were accepted since are in the
//! [`journal`](super::journal).

use redb::{ReadableTable, TableDefinition, TableError};

use super::{Error, Store, database::Fail};
use crate::message::windows::{Changes, Id, Row};

/// Key: [`Id`]. Value: [`encode`].
pub(super) const WINDOWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("windows");

/// Bytes of a value.
const ROW_BYTES: usize = 8 + 8 + 4 + 4 + 1 + 1;

/// Highest number, bitmap, first and last second, lane, established; little endian.
pub(super) fn encode(row: &Row) -> [u8; ROW_BYTES] {
    let mut bytes = [0; ROW_BYTES];
    bytes[..8].copy_from_slice(&row.highest.to_le_bytes());
    bytes[8..16].copy_from_slice(&row.seen.to_le_bytes());
    bytes[16..20].copy_from_slice(&row.first.to_le_bytes());
    bytes[20..24].copy_from_slice(&row.last.to_le_bytes());
    bytes[24] = row.lane;
    bytes[25] = row.established.into();
    bytes
}

pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Row> {
    let value: &[u8; ROW_BYTES] = value.try_into().ok()?;
    let long = |at: usize| Some(u64::from_le_bytes(value.get(at..at + 8)?.try_into().ok()?));
    let short = |at: usize| Some(u32::from_le_bytes(value.get(at..at + 4)?.try_into().ok()?));
    Some(Row {
        id: Id::try_from(key).ok()?,
        highest: long(0)?,
        seen: long(8)?,
        first: short(16)?,
        last: short(20)?,
        lane: value[24],
        established: value[25] != 0,
    })
}

impl Store {
    /// Every stored window, in no order. Rows that cannot be read are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn load_windows(&self) -> Result<Vec<Row>, Error> {
        self.database().read(|tx| {
            let table = match tx.open_table(WINDOWS) {
                // A database from before this table.
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let mut rows = Vec::new();
            for row in table.iter()? {
                let (key, value) = row?;
                rows.extend(decode(key.value(), value.value()));
            }
            Ok(rows)
        })
    }

    /// Stores what changed. Durable when it returns.
    ///
    /// # Errors
    /// When the database cannot be written; nothing was stored then.
    pub fn save_windows(&self, changes: &Changes) -> Result<(), Error> {
        self.database().write(|tx| {
            let mut table = tx.open_table(WINDOWS)?;
            for id in &changes.gone {
                table.remove(&id[..])?;
            }
            for row in &changes.rows {
                table.insert(&row.id[..], &encode(row)[..])?;
            }
            Ok::<(), Fail>(())
        })
    }
}
