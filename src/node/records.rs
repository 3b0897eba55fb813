//! Records that this node holds for the DHT: values and provider records.
//!
//! libp2p's memory store refuses new keys for ever once it is full, also when
//! what fills it has long expired. This one makes room: first by dropping what
//! has expired, then, for provider records, it refuses. It is capped by
//! `P2P_DHT_MAX_RECORDS` for values and for provider keys alike, so that a
//! remote that stuffs records can only fill its cap, and only until they expire.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{K_VALUE, ProviderRecord, Record, RecordKey};

/// Largest value: what one Kademlia message of libp2p (16 KiB packets) can
/// carry beside its key and peers.
pub(super) const MAX_VALUE_BYTES: usize = 14 * 1024;

/// Providers remembered for one key: the replication factor, as the
/// specification suggests. Later ones are ignored until an earlier one expires.
const MAX_PROVIDERS_PER_KEY: usize = K_VALUE.get();

/// Addresses kept with one provider record.
const MAX_ADDRS_PER_PROVIDER: usize = super::handle::MAX_ADDRS_PER_PEER;

/// How often a full store looks for expired records: each look walks the whole
/// store, so a flood must not be able to ask for one with every packet.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Records {
    local: PeerId,
    max_records: usize,
    values: HashMap<RecordKey, Record>,
    providers: HashMap<RecordKey, Vec<ProviderRecord>>,
    last_sweep: Option<Instant>,
}

impl Records {
    /// An empty store for the node `local`, of at most `max_records` values and
    /// as many provider keys.
    pub(super) fn new(local: PeerId, max_records: usize) -> Self {
        Records {
            local,
            max_records,
            values: HashMap::new(),
            providers: HashMap::new(),
            last_sweep: None,
        }
    }

    /// Values held.
    pub(super) fn values_len(&self) -> usize {
        self.values.len()
    }

    /// Provider records held, over all keys.
    pub(super) fn provider_records_len(&self) -> usize {
        self.providers.values().map(Vec::len).sum()
    }

    /// Drops everything that has expired by `now`.
    pub(super) fn remove_expired(&mut self, now: Instant) {
        self.values.retain(|_, r| !r.is_expired(now));
        self.providers.retain(|_, list| {
            list.retain(|p| !p.is_expired(now));
            !list.is_empty()
        });
        self.last_sweep = Some(now);
    }

    fn sweep_if_due(&mut self, now: Instant) {
        if self
            .last_sweep
            .is_none_or(|t| now.duration_since(t) >= SWEEP_INTERVAL)
        {
            self.remove_expired(now);
        }
    }
}

impl RecordStore for Records {
    type RecordsIter<'a> = std::vec::IntoIter<Cow<'a, Record>>;
    type ProvidedIter<'a> = std::vec::IntoIter<Cow<'a, ProviderRecord>>;

    fn get(&self, key: &RecordKey) -> Option<Cow<'_, Record>> {
        self.values.get(key).map(Cow::Borrowed)
    }

    fn put(&mut self, record: Record) -> Result<()> {
        if record.value.len() > MAX_VALUE_BYTES {
            return Err(Error::ValueTooLarge);
        }
        if self.values.len() >= self.max_records && !self.values.contains_key(&record.key) {
            self.sweep_if_due(Instant::now());
            if self.values.len() >= self.max_records {
                return Err(Error::MaxRecords);
            }
        }
        self.values.insert(record.key.clone(), record);
        Ok(())
    }

    fn remove(&mut self, key: &RecordKey) {
        self.values.remove(key);
    }

    fn records(&self) -> Self::RecordsIter<'_> {
        self.values
            .values()
            .map(Cow::Borrowed)
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn add_provider(&mut self, mut record: ProviderRecord) -> Result<()> {
        record.addresses.truncate(MAX_ADDRS_PER_PROVIDER);
        if self.providers.len() >= self.max_records && !self.providers.contains_key(&record.key) {
            self.sweep_if_due(Instant::now());
            if self.providers.len() >= self.max_records {
                return Err(Error::MaxProvidedKeys);
            }
        }
        let local = record.provider == self.local;
        let list = match self.providers.entry(record.key.clone()) {
            Entry::Occupied(e) => e.into_mut(),
            Entry::Vacant(e) => e.insert(Vec::new()),
        };
        if let Some(known) = list.iter_mut().find(|p| p.provider == record.provider) {
            *known = record;
        } else if list.len() < MAX_PROVIDERS_PER_KEY || local {
            list.push(record);
        } else {
            let now = Instant::now();
            if let Some(expired) = list.iter_mut().find(|p| p.is_expired(now)) {
                *expired = record;
            }
        }
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        self.providers.get(key).cloned().unwrap_or_default()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        self.providers
            .values()
            .flatten()
            .filter(|p| p.provider == self.local)
            .map(Cow::Borrowed)
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        if let Entry::Occupied(mut e) = self.providers.entry(key.clone()) {
            e.get_mut().retain(|p| &p.provider != provider);
            if e.get().is_empty() {
                e.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> RecordKey {
        RecordKey::from(n.to_be_bytes().to_vec())
    }

    fn provider(n: u32, who: PeerId, expires: Option<Instant>) -> ProviderRecord {
        ProviderRecord {
            key: key(n),
            provider: who,
            expires,
            addresses: Vec::new(),
        }
    }

    #[test]
    fn a_full_store_makes_room_for_new_values_from_expired_ones() {
        let now = Instant::now();
        let mut records = Records::new(PeerId::random(), 2);
        for n in 0..2 {
            let mut r = Record::new(key(n), vec![1]);
            r.expires = Some(now);
            records.put(r).unwrap();
        }
        records.put(Record::new(key(2), vec![2])).unwrap();
        assert_eq!(records.values_len(), 1);
        records.put(Record::new(key(3), vec![3])).unwrap();
        assert!(matches!(
            records.put(Record::new(key(4), vec![4])),
            Err(Error::MaxRecords)
        ));
        records.put(Record::new(key(3), vec![5])).unwrap();
        assert_eq!(records.get(&key(3)).unwrap().value, vec![5]);
    }

    #[test]
    fn provider_keys_and_providers_of_a_key_are_capped() {
        let mut records = Records::new(PeerId::random(), 1);
        for _ in 0..100 {
            records
                .add_provider(provider(0, PeerId::random(), None))
                .unwrap();
        }
        assert_eq!(records.provider_records_len(), MAX_PROVIDERS_PER_KEY);
        assert!(matches!(
            records.add_provider(provider(1, PeerId::random(), None)),
            Err(Error::MaxProvidedKeys)
        ));
    }

    #[test]
    fn the_own_record_is_kept_beside_a_full_list_and_found_again() {
        let local = PeerId::random();
        let mut records = Records::new(local, 8);
        for _ in 0..100 {
            records
                .add_provider(provider(0, PeerId::random(), None))
                .unwrap();
        }
        records.add_provider(provider(0, local, None)).unwrap();
        assert_eq!(records.provided().count(), 1);
        records.remove_provider(&key(0), &local);
        assert_eq!(records.provided().count(), 0);
    }

    #[test]
    fn an_expired_provider_gives_its_place_to_a_new_one() {
        let now = Instant::now();
        let mut records = Records::new(PeerId::random(), 8);
        for _ in 0..MAX_PROVIDERS_PER_KEY {
            records
                .add_provider(provider(0, PeerId::random(), Some(now)))
                .unwrap();
        }
        let fresh = PeerId::random();
        records.add_provider(provider(0, fresh, None)).unwrap();
        assert!(
            records
                .providers(&key(0))
                .iter()
                .any(|p| p.provider == fresh)
        );
        records.remove_expired(now);
        assert_eq!(records.provider_records_len(), 1);
    }

    #[test]
    fn too_large_a_value_is_refused() {
        let mut records = Records::new(PeerId::random(), 8);
        let r = Record::new(key(0), vec![0; MAX_VALUE_BYTES + 1]);
        assert!(matches!(records.put(r), Err(Error::ValueTooLarge)));
    }
}
