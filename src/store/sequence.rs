//! The counter of this node's own signed messages: where the last reserved block
//! of numbers ends.

use std::time::SystemTime;

use redb::{ReadableTable, TableDefinition};

use super::{Error, Store, database::Fail};
use crate::message::sequence::next_block;

/// One row.
pub(super) const SEQUENCE: TableDefinition<&str, u64> = TableDefinition::new("sequence");

/// The first number that is not reserved.
const END: &str = "end";

impl Store {
    /// Reserves a block of sequence numbers: returns the first, and the one after the
    /// last. Durable when it returns, so no later call returns any of them again.
    /// `fresh` says that this is the first block of a run, which begins no lower
    /// than the clock.
    ///
    /// # Errors
    /// [`Error::Exhausted`], and when the database cannot be written; no number
    /// may be used then.
    pub fn reserve_sequence(&self, fresh: bool, now: SystemTime) -> Result<(u64, u64), Error> {
        self.database().write(|tx| {
            let mut table = tx.open_table(SEQUENCE)?;
            let stored = table.get(END)?.map(|row| row.value());
            let (start, end) = next_block(stored, fresh, now).map_err(|e| Fail::Store(e.into()))?;
            table.insert(END, end)?;
            Ok((start, end))
        })
    }
}
