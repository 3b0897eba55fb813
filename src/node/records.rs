//! Records that this node holds for the DHT: values and provider records.
//!
//! libp2p's memory store refuses new keys for ever once it is full, also when
//! what fills it has long expired. This one makes room by dropping what has
//! expired, and refuses when that is not enough.
//!
//! `P2P_DHT_MAX_RECORDS` caps the keys with values and the keys with provider
//! records. Keys alone bound no memory, because whoever stores a record chooses
//! its size; so the bytes of values and those of provider records are capped as
//! well, at [`BYTES_A_RECORD`] for each record allowed. What this node itself
//! publishes has a place of its own: remotes that fill theirs must not keep it
//! from announcing its content.

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

/// Longest address kept. A TCP or QUIC address with its peer id has some 60
/// bytes, one with a name or through a relay up to 400.
const MAX_ADDR_BYTES: usize = 512;

/// Bytes allowed for each record of the cap, on the average over a full store:
/// names and small documents, or a key with a handful of providers. With the
/// default cap, values and provider records take at most 64 MiB each.
const BYTES_A_RECORD: usize = 1024;

/// What an entry costs beside the bytes that it carries: tables, pointers, times.
const OVERHEAD: usize = 192;

/// How often a full store looks for expired records: each look walks the whole
/// store, so a flood must not be able to ask for one with every packet.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Records {
    local: PeerId,
    max_records: usize,
    /// What this node published; bounded by what programs on this host do.
    own_values: HashMap<RecordKey, Record>,
    own_providers: HashMap<RecordKey, ProviderRecord>,
    /// What others stored here.
    values: HashMap<RecordKey, Record>,
    providers: HashMap<RecordKey, Vec<ProviderRecord>>,
    /// Bytes of `values`, by [`value_bytes`].
    value_bytes: usize,
    /// Records in `providers`, and their bytes by [`provider_bytes`].
    provider_records: usize,
    provider_bytes: usize,
    last_sweep: Option<Instant>,
}

fn value_bytes(record: &Record) -> usize {
    OVERHEAD + record.key.as_ref().len() + record.value.len()
}

fn provider_bytes(record: &ProviderRecord) -> usize {
    let addresses: usize = record.addresses.iter().map(|a| 32 + a.len()).sum();
    OVERHEAD + record.key.as_ref().len() + addresses
}

impl Records {
    /// An empty store for the node `local`, of at most `max_records` values and
    /// as many provider keys of others, and as many again of its own.
    pub(super) fn new(local: PeerId, max_records: usize) -> Self {
        Records {
            local,
            max_records,
            own_values: HashMap::new(),
            own_providers: HashMap::new(),
            values: HashMap::new(),
            providers: HashMap::new(),
            value_bytes: 0,
            provider_records: 0,
            provider_bytes: 0,
            last_sweep: None,
        }
    }

    /// Values held.
    pub(super) fn values_len(&self) -> usize {
        self.own_values.len() + self.values.len()
    }

    /// Provider records held, over all keys.
    pub(super) fn provider_records_len(&self) -> usize {
        self.own_providers.len() + self.provider_records
    }

    /// Drops everything that has expired by `now`.
    pub(super) fn remove_expired(&mut self, now: Instant) {
        self.own_values.retain(|_, r| !r.is_expired(now));
        self.own_providers.retain(|_, p| !p.is_expired(now));
        self.values.retain(|_, r| !r.is_expired(now));
        self.value_bytes = self.values.values().map(value_bytes).sum();
        self.providers.retain(|_, list| {
            list.retain(|p| !p.is_expired(now));
            !list.is_empty()
        });
        let left = || self.providers.values().flatten();
        self.provider_records = left().count();
        self.provider_bytes = left().map(provider_bytes).sum();
        self.last_sweep = Some(now);
    }

    fn sweep_if_due(&mut self, now: Instant) {
        if self
            .last_sweep
            .is_none_or(|t| now.saturating_duration_since(t) >= SWEEP_INTERVAL)
        {
            self.remove_expired(now);
        }
    }

    /// A small cap still holds a few records of the largest size.
    fn max_bytes(&self) -> usize {
        self.max_records
            .saturating_mul(BYTES_A_RECORD)
            .max(4 * MAX_VALUE_BYTES)
    }

    /// Whether a value of another fits, in place of the one under its key.
    fn fits_value(&self, record: &Record) -> bool {
        let before = self.values.get(&record.key);
        let records = self.values.len() + usize::from(before.is_none());
        let bytes = self.value_bytes + value_bytes(record) - before.map_or(0, value_bytes);
        records <= self.max_records && bytes <= self.max_bytes()
    }

    /// Whether a provider record of another fits, beside those under its key.
    fn fits_provider(&self, record: &ProviderRecord) -> bool {
        let keys = self.providers.len() + usize::from(!self.providers.contains_key(&record.key));
        keys <= self.max_records && self.provider_bytes + provider_bytes(record) <= self.max_bytes()
    }

    fn forget_provider(&mut self, key: &RecordKey, gone: impl Fn(&ProviderRecord) -> bool) {
        if let Entry::Occupied(mut e) = self.providers.entry(key.clone()) {
            e.get_mut().retain(|p| {
                let gone = gone(p);
                if gone {
                    self.provider_records -= 1;
                    self.provider_bytes -= provider_bytes(p);
                }
                !gone
            });
            if e.get().is_empty() {
                e.remove();
            }
        }
    }
}

impl RecordStore for Records {
    type RecordsIter<'a> = std::vec::IntoIter<Cow<'a, Record>>;
    type ProvidedIter<'a> = std::vec::IntoIter<Cow<'a, ProviderRecord>>;

    /// The value under a key: this node's own when it published one, whatever
    /// others say of that key.
    fn get(&self, key: &RecordKey) -> Option<Cow<'_, Record>> {
        self.own_values
            .get(key)
            .or_else(|| self.values.get(key))
            .map(Cow::Borrowed)
    }

    fn put(&mut self, record: Record) -> Result<()> {
        if record.value.len() > MAX_VALUE_BYTES {
            return Err(Error::ValueTooLarge);
        }
        // libp2p drops what others send in this node's name.
        if record.publisher == Some(self.local) {
            if self.own_values.len() >= self.max_records
                && !self.own_values.contains_key(&record.key)
            {
                return Err(Error::MaxRecords);
            }
            self.own_values.insert(record.key.clone(), record);
            return Ok(());
        }
        if !self.fits_value(&record) {
            self.sweep_if_due(Instant::now());
            if !self.fits_value(&record) {
                return Err(Error::MaxRecords);
            }
        }
        self.value_bytes += value_bytes(&record);
        if let Some(before) = self.values.insert(record.key.clone(), record) {
            self.value_bytes -= value_bytes(&before);
        }
        Ok(())
    }

    fn remove(&mut self, key: &RecordKey) {
        if self.own_values.remove(key).is_none()
            && let Some(record) = self.values.remove(key)
        {
            self.value_bytes -= value_bytes(&record);
        }
    }

    fn records(&self) -> Self::RecordsIter<'_> {
        let others = self.values.iter();
        self.own_values
            .values()
            .chain(
                others
                    .filter(|(key, _)| !self.own_values.contains_key(*key))
                    .map(|(_, record)| record),
            )
            .map(Cow::Borrowed)
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn add_provider(&mut self, mut record: ProviderRecord) -> Result<()> {
        if record.provider == self.local {
            if self.own_providers.len() >= self.max_records
                && !self.own_providers.contains_key(&record.key)
            {
                return Err(Error::MaxProvidedKeys);
            }
            self.own_providers.insert(record.key.clone(), record);
            return Ok(());
        }
        record.addresses.retain(|a| a.len() <= MAX_ADDR_BYTES);
        record.addresses.truncate(MAX_ADDRS_PER_PROVIDER);
        if !self.fits_provider(&record) {
            self.sweep_if_due(Instant::now());
            if !self.fits_provider(&record) {
                return Err(Error::MaxProvidedKeys);
            }
        }
        let full = self
            .providers
            .get(&record.key)
            .is_some_and(|list| list.len() >= MAX_PROVIDERS_PER_KEY);
        let now = Instant::now();
        let provider = record.provider;
        self.forget_provider(&record.key, |p| {
            p.provider == provider || full && p.is_expired(now)
        });
        let list = self.providers.entry(record.key.clone()).or_default();
        if list.len() < MAX_PROVIDERS_PER_KEY {
            self.provider_records += 1;
            self.provider_bytes += provider_bytes(&record);
            list.push(record);
        }
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let others = self.providers.get(key).into_iter().flatten();
        let own = self.own_providers.get(key).into_iter();
        own.chain(others).cloned().collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        self.own_providers
            .values()
            .map(Cow::Borrowed)
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        if *provider == self.local {
            self.own_providers.remove(key);
        } else {
            self.forget_provider(key, |p| p.provider == *provider);
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

    #[test]
    fn the_bytes_of_others_are_capped_whatever_the_size_of_a_record() {
        let mut records = Records::new(PeerId::random(), 100);
        let far: Vec<libp2p::Multiaddr> = (0..16)
            .map(|n| {
                let name = "x".repeat(200);
                format!("/dns4/{name}/tcp/{n}").parse().unwrap()
            })
            .collect();
        for n in 0..100 {
            let _ = records.put(Record::new(key(n), vec![0; MAX_VALUE_BYTES]));
            for _ in 0..MAX_PROVIDERS_PER_KEY {
                let mut record = provider(n, PeerId::random(), None);
                record.addresses = far.clone();
                let _ = records.add_provider(record);
            }
        }
        let values: usize = records.values.values().map(|r| r.value.len()).sum();
        assert!(values > 50 * BYTES_A_RECORD, "{values}");
        assert!(values <= 100 * BYTES_A_RECORD, "{values}");
        let listed = records.providers.values().flatten();
        let addresses: usize = listed
            .flat_map(|p| p.addresses.iter().map(|a| a.len()))
            .sum();
        assert!(addresses > 50 * BYTES_A_RECORD, "{addresses}");
        assert!(addresses <= 100 * BYTES_A_RECORD, "{addresses}");
    }

    #[test]
    fn the_bytes_are_counted_right_through_every_change() {
        let now = Instant::now();
        let mut records = Records::new(PeerId::random(), 8);
        let who = PeerId::random();
        for size in [10, 2000, 100] {
            records.put(Record::new(key(0), vec![0; size])).unwrap();
            let mut record = provider(0, who, Some(now));
            let address = format!("/dns4/{}/tcp/1", "x".repeat(size.min(200)));
            record.addresses = vec![address.parse().unwrap()];
            records.add_provider(record).unwrap();
            let bytes: usize = records.values.values().map(value_bytes).sum();
            assert_eq!(records.value_bytes, bytes);
            let bytes: usize = records
                .providers
                .values()
                .flatten()
                .map(provider_bytes)
                .sum();
            assert_eq!(
                (records.provider_bytes, records.provider_records),
                (bytes, 1)
            );
        }
        records.remove(&key(0));
        records.remove_provider(&key(0), &who);
        assert_eq!((records.value_bytes, records.provider_bytes), (0, 0));
        assert_eq!(records.provider_records_len(), 0);
    }

    #[test]
    fn a_store_that_others_filled_still_takes_what_this_node_publishes() {
        let local = PeerId::random();
        let mut records = Records::new(local, 2);
        for n in 0..2 {
            records.put(Record::new(key(n), vec![1])).unwrap();
            records
                .add_provider(provider(n, PeerId::random(), None))
                .unwrap();
        }
        records.add_provider(provider(7, local, None)).unwrap();
        assert_eq!(records.provided().count(), 1);
        let mut own = Record::new(key(7), vec![7]);
        own.publisher = Some(local);
        records.put(own).unwrap();
        // And nobody else can change what this node says under that key.
        records.remove(&key(0));
        records.put(Record::new(key(7), vec![6])).unwrap();
        assert_eq!(records.get(&key(7)).unwrap().value, vec![7]);
        assert_eq!(records.records().filter(|r| r.key == key(7)).count(), 1);
    }
}
