//! The table of announcements: which roots the DHT was told of, and when.
//!
//! It is written in batches, some seconds after the announcements: those that are lost
//! when the process is killed are made once more. A root that has no row was never
//! announced, so that the rows and the roots need no common transaction.

use std::collections::HashMap;

use cid::Cid;
use redb::{ReadableTable, TableDefinition, TableError};

use super::{Error, Store, database::Fail, index};

/// Key: the CID. Value: when it was announced, in milliseconds since 1970.
pub(super) const ANNOUNCEMENTS: TableDefinition<&[u8], u64> = TableDefinition::new("announcements");

impl Store {
    /// When each root was last announced, as far as it is known. A row that cannot
    /// be read is left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn load_announcements(&self) -> Result<HashMap<Cid, u64>, Error> {
        self.database().read(|tx| {
            let table = match tx.open_table(ANNOUNCEMENTS) {
                // A database from before this table.
                Err(TableError::TableDoesNotExist(_)) => return Ok(HashMap::new()),
                table => table?,
            };
            let mut rows = HashMap::new();
            for row in table.iter()? {
                let (cid, at) = row?;
                if let Ok(cid) = Cid::try_from(cid.value()) {
                    rows.insert(cid, at.value());
                }
            }
            Ok(rows)
        })
    }

    /// Stores when roots were announced, and forgets those of roots that were removed. Durable
    /// when it returns.
    ///
    /// # Errors
    /// When the database cannot be written; nothing was stored then.
    pub fn save_announcements(&self, announced: &[(Cid, u64)], gone: &[Cid]) -> Result<(), Error> {
        self.database().write(|tx| {
            let mut table = tx.open_table(ANNOUNCEMENTS)?;
            for cid in gone {
                table.remove(&cid.to_bytes()[..])?;
            }
            for (cid, at) in announced {
                table.insert(&cid.to_bytes()[..], at)?;
            }
            Ok::<(), Fail>(())
        })
    }

    /// The CIDs of the roots that have not expired at `now`, in the order in which
    /// they were put.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn live_roots(&self, now: std::time::SystemTime) -> Result<Vec<Cid>, Error> {
        self.database().read(|tx| index::live_roots(tx, now))
    }
}
