//! How long a block is kept, and who decides that.

use std::time::SystemTime;

use cid::Cid;

use super::{Error, Store, index};
use crate::message::provenance::Provenance;
use crate::text::unix_time::unix_millis;

/// How long a block in the store is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// It is not here.
    Absent,
    /// Until it expires as its publisher said.
    Published(Provenance),
    /// As long as a root of this node that holds it. No publisher's statement on it is
    /// valid: it was stored before blocks had a publisher, or while the clock was not set.
    OfRoot {
        /// When the root was put.
        put_at: SystemTime,
        /// When the root expires.
        expires_at: Option<SystemTime>,
    },
    /// It has expired, at that time if it is known. The next sweep removes it, or the next
    /// block that needs its room.
    Expired(Option<SystemTime>),
}

impl Store {
    /// How long the block is kept, seen at `now`. Of several roots that hold it
    /// the one that expires last counts.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn lifetime(&self, cid: &Cid, now: SystemTime) -> Result<Lifetime, Error> {
        let key = cid.hash().to_bytes();
        let now = unix_millis(now);
        self.database().read(|tx| index::lifetime(tx, &key, now))
    }

    /// What the publisher of the block says of it, also when that has expired.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn provenance(&self, cid: &Cid) -> Result<Option<Provenance>, Error> {
        let key = cid.hash().to_bytes();
        self.database().read(|tx| index::provenance_of(tx, &key))
    }
}
