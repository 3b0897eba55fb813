//! Values that others have stored here.

use std::collections::HashMap;
use std::time::Instant;

use libp2p::kad::{Record, RecordKey};

use super::amount::{Amount, OVERHEAD};
use super::shares::{Sender, Shares};

/// Largest value: what one Kademlia message of libp2p (16 KiB packets) can
/// carry beside its key and peers.
pub(crate) const MAX_VALUE_BYTES: usize = 14 * 1024;

/// The values of others, by key.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) by_key: HashMap<RecordKey, (Record, Sender)>,
    /// Bytes of them all, by [`size`].
    pub(super) bytes: usize,
}

/// The memory that a value takes.
pub(super) fn size(record: &Record) -> usize {
    OVERHEAD + record.key.as_ref().len() + record.value.len()
}

impl Values {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The value under a key.
    pub(super) fn get(&self, key: &RecordKey) -> Option<&Record> {
        self.by_key.get(key).map(|(record, _)| record)
    }

    /// All values.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.by_key.values().map(|(record, _)| record)
    }

    /// Who stored the value under a key, and its bytes.
    pub(super) fn stored(&self, key: &RecordKey) -> Option<(Sender, usize)> {
        let (record, sender) = self.by_key.get(key)?;
        Some((*sender, size(record)))
    }

    /// Whether there is room for a value, in place of the one under its key.
    pub(super) fn fits(&self, record: &Record, cap: Amount) -> bool {
        let before = self.get(&record.key);
        cap.allows(Amount {
            records: self.len() + usize::from(before.is_none()),
            bytes: self.bytes + size(record) - before.map_or(0, size),
        })
    }

    /// Puts a value in place of the one under its key.
    pub(super) fn insert(&mut self, record: Record, sender: Sender, shares: &mut Shares) {
        let bytes = size(&record);
        self.bytes += bytes;
        shares.add(sender, bytes);
        if let Some(before) = self.by_key.insert(record.key.clone(), (record, sender)) {
            self.forget(&before, shares);
        }
    }

    /// Removes the value under a key.
    pub(super) fn remove(&mut self, key: &RecordKey, shares: &mut Shares) {
        if let Some(removed) = self.by_key.remove(key) {
            self.forget(&removed, shares);
        }
    }

    fn forget(&mut self, (record, sender): &(Record, Sender), shares: &mut Shares) {
        self.bytes -= size(record);
        shares.remove(*sender, size(record));
    }

    /// Removes what has expired by `now`, and adds what is left to `shares`, which
    /// are empty.
    pub(super) fn remove_expired(&mut self, now: Instant, shares: &mut Shares) {
        self.by_key.retain(|_, (record, _)| !record.is_expired(now));
        self.bytes = 0;
        for (record, sender) in self.by_key.values() {
            let bytes = size(record);
            self.bytes += bytes;
            shares.add(*sender, bytes);
        }
    }
}
