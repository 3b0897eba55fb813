//! The end of a segment, where records are appended.

use std::fs::File;
use std::sync::Arc;

/// The end of a segment, where one batch appends. There is one for each id.
#[derive(Debug)]
pub(in crate::store) struct Writer {
    pub(in crate::store) id: u32,
    pub(in crate::store) file: Arc<File>,
    /// Where the next record goes.
    pub(in crate::store) end: u64,
    /// The bytes before this are recorded in the database.
    pub(in crate::store) committed: u64,
}

impl Writer {
    /// Whether records were appended that are not committed yet.
    pub(in crate::store) fn is_dirty(&self) -> bool {
        self.end > self.committed
    }
}
