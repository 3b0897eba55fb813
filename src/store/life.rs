//! How long a block lives, and who says so.

use std::time::SystemTime;

use cid::Cid;

use super::{Error, Store, index};
use crate::message::provenance::Provenance;
use crate::text::unix_time::unix_millis;

/// The life of a block in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// It is not here.
    Absent,
    /// Its publisher's time for it is not over.
    Published(Provenance),
    /// No publisher vouches for it (any more), and a root of this node holds it:
    /// it was stored before blocks had a publisher, or by a clock that was not set.
    Held {
        /// When the root was put.
        put_at: SystemTime,
        /// When the root's time is over.
        expires_at: Option<SystemTime>,
    },
    /// Its time is over, at that moment when it is known. The next sweep takes
    /// it, or the next need for its room.
    Over(Option<SystemTime>),
}

impl Store {
    /// How long the block lives, seen at `now`. Of several roots that hold it
    /// the one that lives longest counts.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn life(&self, cid: &Cid, now: SystemTime) -> Result<Life, Error> {
        let key = cid.hash().to_bytes();
        let now = unix_millis(now);
        self.database().read(|tx| index::life(tx, &key, now))
    }

    /// What the publisher of the block says of it, also when its time is over.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn provenance(&self, cid: &Cid) -> Result<Option<Provenance>, Error> {
        let key = cid.hash().to_bytes();
        self.database().read(|tx| index::provenance(tx, &key))
    }
}
