//! Records that this node itself publishes.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use libp2p::PeerId;
use libp2p::kad::{ProviderRecord, Record, RecordKey};

use super::refused::Refused;

/// What this node publishes; bounded by what programs on this host do.
#[derive(Debug)]
pub(super) struct Own {
    local: PeerId,
    max_records: usize,
    values: HashMap<RecordKey, Record>,
    providers: HashMap<RecordKey, ProviderRecord>,
    /// Keys of the content in this host's store.
    pub(super) content: HashSet<RecordKey>,
}

impl Own {
    /// The node `local` publishes nothing yet, and at most `max_records` of each kind.
    pub(super) fn of(local: PeerId, max_records: usize) -> Self {
        Own {
            local,
            max_records,
            values: HashMap::new(),
            providers: HashMap::new(),
            content: HashSet::new(),
        }
    }

    /// Whether `peer` is this node.
    pub(super) fn is(&self, peer: &PeerId) -> bool {
        *peer == self.local
    }

    /// How many values there are.
    pub(super) fn values_len(&self) -> usize {
        self.values.len()
    }

    /// How many provider records there are, without those of this host's content.
    pub(super) fn providers_len(&self) -> usize {
        self.providers.len()
    }

    /// The value under a key.
    pub(super) fn value(&self, key: &RecordKey) -> Option<&Record> {
        self.values.get(key)
    }

    /// All values.
    pub(super) fn values(&self) -> impl Iterator<Item = &Record> {
        self.values.values()
    }

    /// Publishes a value.
    ///
    /// # Errors
    /// When there are as many as are allowed.
    pub(super) fn put(&mut self, record: Record) -> Result<(), Refused> {
        if self.values.len() >= self.max_records && !self.values.contains_key(&record.key) {
            return Err(Refused::Full(self.max_records));
        }
        self.values.insert(record.key.clone(), record);
        Ok(())
    }

    /// Removes a value; `false` when there is none.
    pub(super) fn remove(&mut self, key: &RecordKey) -> bool {
        self.values.remove(key).is_some()
    }

    /// All provider records, without those of this host's content.
    pub(super) fn providers(&self) -> impl Iterator<Item = &ProviderRecord> {
        self.providers.values()
    }

    /// The provider record for a key: that of a program on this host, or that of this
    /// host's content.
    pub(super) fn provider(&self, key: &RecordKey) -> Option<ProviderRecord> {
        let announced = self.providers.get(key).cloned();
        // Kademlia adds the addresses that this node has at the moment.
        announced.or_else(|| {
            let key = self.content.get(key)?.clone();
            Some(ProviderRecord::new(key, self.local, Vec::new()))
        })
    }

    /// Publishes a provider record.
    ///
    /// # Errors
    /// When there are as many as are allowed.
    pub(super) fn provide(&mut self, record: ProviderRecord) -> Result<(), Refused> {
        if self.providers.len() >= self.max_records && !self.providers.contains_key(&record.key) {
            return Err(Refused::Full(self.max_records));
        }
        self.providers.insert(record.key.clone(), record);
        Ok(())
    }

    /// This node provides `key` no longer.
    pub(super) fn stop_providing(&mut self, key: &RecordKey) {
        self.providers.remove(key);
        if self.content.remove(key) && self.content.capacity() > 1024 {
            let len = self.content.len();
            if self.content.capacity() > 4 * len {
                self.content.shrink_to(2 * len);
            }
        }
    }

    /// Removes what has expired by `now`.
    pub(super) fn remove_expired(&mut self, now: Instant) {
        self.values.retain(|_, r| !r.is_expired(now));
        self.providers.retain(|_, p| !p.is_expired(now));
    }
}
