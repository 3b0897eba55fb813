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
//! from announcing its content. What programs on this host provide is under the
//! same cap there; the content of this host's store is under none, because the
//! store bounds it: each root takes at least 4 KiB of `P2P_STORE_MAX_BYTES`, and
//! its key here some 100 bytes of memory.
//!
//! Nor may one remote fill the place of all: a peer holds at most an eighth of
//! it, and a subnet half ([`PEER_PART`], [`SUBNET_PART`]). Peer ids are free, so
//! it takes both; loopback, which is this host, and trusted peers are under
//! neither.

use std::borrow::Cow;
use std::collections::hash_map::{Entry, RandomState};
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{K_VALUE, ProviderRecord, Record, RecordKey};
use libp2p::{Multiaddr, PeerId};

/// Largest value: what one Kademlia message of libp2p (16 KiB packets) can
/// carry beside its key and peers.
pub(super) const MAX_VALUE_BYTES: usize = 14 * 1024;

/// Providers remembered for one key: the replication factor, as the
/// specification suggests. When there are more, the one that announced itself
/// longest ago makes room. To ignore those who come later would be worse: twenty
/// that have gone, or never were any good, would hide everybody else for two days,
/// and of a topic with more members than that all would find the same twenty.
const MAX_PROVIDERS_PER_KEY: usize = K_VALUE.get();

/// Of a full list, those of one subnet, at least: whoever comes after them from
/// there takes the place of its neighbour. To push out all others takes several
/// subnets, and a new announcement for each that is pushed out.
const MAX_OF_SUBNET: usize = MAX_PROVIDERS_PER_KEY / 4;

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

/// The part of the cap that one peer may hold: with the default, 8,192 records
/// and 8 MiB of values or provider records. In a network of fewer than twenty
/// nodes each holds what every other announces, so it is not less.
pub(super) const PEER_PART: usize = 8;

/// The part of the cap that one subnet may hold: a cluster behind one address
/// has more to announce than a peer, and must still leave half to the world.
pub(super) const SUBNET_PART: usize = 2;

/// A share is never smaller than this, however small the cap.
const LEAST_SHARE: usize = 64;

/// Longest life of a record of another, as the specification has it. libp2p
/// sees to it; a record that says otherwise must not depend on that.
const MAX_TTL: Duration = Duration::from_secs(48 * 3600);

/// Why a record of another was not stored.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Refused {
    /// The place of all others is full.
    #[error(
        "all {0} records that P2P_DHT_MAX_RECORDS allows are held, or the bytes allowed for them"
    )]
    Full(usize),
    /// The peer holds its share.
    #[error(
        "one peer may hold {0} records, an eighth of P2P_DHT_MAX_RECORDS, and as large a part of the bytes allowed"
    )]
    PeerShare(usize),
    /// The subnet holds its share.
    #[error(
        "one subnet may hold {0} records, half of P2P_DHT_MAX_RECORDS, and as large a part of the bytes allowed"
    )]
    SubnetShare(usize),
    /// The value is too large.
    #[error("the value is larger than {MAX_VALUE_BYTES} bytes, the most that a DHT record holds")]
    TooLarge,
}

impl Refused {
    /// Whether a share refused it, not the store as a whole.
    pub(super) fn is_of_sender(&self) -> bool {
        !matches!(self, Refused::Full(_))
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooLarge => Error::ValueTooLarge,
            _ => Error::MaxRecords,
        }
    }
}

/// Whose share a record counts for: marks of a peer and of a subnet, zero for
/// none. Marks are keyed hashes, so that an entry of the store grows by sixteen
/// bytes and nobody can choose to count for another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owner {
    peer: u64,
    subnet: u64,
}

/// What one owner holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    records: usize,
    bytes: usize,
}

/// What each peer and subnet holds; an entry exists only while it holds something.
#[derive(Debug, Default)]
struct Shares {
    map: HashMap<u64, Share>,
}

impl Shares {
    fn add(&mut self, owner: Owner, bytes: usize) {
        for mark in [owner.peer, owner.subnet] {
            if mark != 0 {
                let share = self.map.entry(mark).or_default();
                share.records += 1;
                share.bytes += bytes;
            }
        }
    }

    fn remove(&mut self, owner: Owner, bytes: usize) {
        for mark in [owner.peer, owner.subnet] {
            if let Entry::Occupied(mut share) = self.map.entry(mark) {
                let left = share.get_mut();
                left.records = left.records.saturating_sub(1);
                left.bytes = left.bytes.saturating_sub(bytes);
                if left.records == 0 {
                    share.remove();
                }
            }
        }
    }

    /// Whether `mark` may hold a record more, in place of `before` bytes of its own.
    fn fits(&self, mark: u64, bytes: usize, before: Option<usize>, most: Share) -> bool {
        let share = self.map.get(&mark).copied().unwrap_or_default();
        let records = share.records + usize::from(before.is_none());
        mark == 0
            || records <= most.records && share.bytes + bytes - before.unwrap_or(0) <= most.bytes
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Records {
    local: PeerId,
    max_records: usize,
    /// What this node published; bounded by what programs on this host do.
    own_values: HashMap<RecordKey, Record>,
    own_providers: HashMap<RecordKey, ProviderRecord>,
    /// Keys of the content in this host's store.
    own_content: HashSet<RecordKey>,
    /// What others stored here.
    values: HashMap<RecordKey, (Record, Owner)>,
    providers: HashMap<RecordKey, Vec<(ProviderRecord, Owner)>>,
    shares: Shares,
    marks: RandomState,
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
            own_content: HashSet::new(),
            values: HashMap::new(),
            providers: HashMap::new(),
            shares: Shares::default(),
            marks: RandomState::new(),
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

    /// Provider records held, over all keys; without the content of this host, which
    /// is under no cap.
    pub(super) fn provider_records_len(&self) -> usize {
        self.own_providers.len() + self.provider_records
    }

    /// This host has the content of `key`.
    pub(super) fn provide_content(&mut self, key: RecordKey) {
        self.own_content.insert(key);
    }

    /// Keys that have provider records, of others or of this node: the larger of
    /// the two, since each has the cap for itself.
    pub(super) fn provider_keys_len(&self) -> usize {
        self.own_providers.len().max(self.providers.len())
    }

    /// Drops everything that has expired by `now`.
    pub(super) fn remove_expired(&mut self, now: Instant) {
        self.own_values.retain(|_, r| !r.is_expired(now));
        self.own_providers.retain(|_, p| !p.is_expired(now));
        self.values.retain(|_, (r, _)| !r.is_expired(now));
        self.providers.retain(|_, list| {
            list.retain(|(p, _)| !p.is_expired(now));
            !list.is_empty()
        });
        self.shares = Shares::default();
        (self.value_bytes, self.provider_bytes) = (0, 0);
        for (record, owner) in self.values.values() {
            let bytes = value_bytes(record);
            self.value_bytes += bytes;
            self.shares.add(*owner, bytes);
        }
        self.provider_records = 0;
        for (record, owner) in self.providers.values().flatten() {
            let bytes = provider_bytes(record);
            self.provider_records += 1;
            self.provider_bytes += bytes;
            self.shares.add(*owner, bytes);
        }
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
        let before = self.values.get(&record.key).map(|(r, _)| r);
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
            e.get_mut().retain(|(p, owner)| {
                let gone = gone(p);
                if gone {
                    self.provider_records -= 1;
                    self.provider_bytes -= provider_bytes(p);
                    self.shares.remove(*owner, provider_bytes(p));
                }
                !gone
            });
            if e.get().is_empty() {
                e.remove();
            }
        }
    }

    /// Whose share a record counts for that `peer` stores, from `subnet`.
    pub(super) fn owner(&self, peer: &PeerId, subnet: Option<IpNet>) -> Owner {
        // Zero stands for nobody.
        Owner {
            peer: self.marks.hash_one(peer).max(1),
            subnet: subnet.map_or(0, |net| self.marks.hash_one(net).max(1)),
        }
    }

    /// The most that one in `part` may hold.
    fn share_of(&self, part: usize) -> Share {
        Share {
            records: (self.max_records / part).max(LEAST_SHARE),
            bytes: (self.max_bytes() / part).max(4 * MAX_VALUE_BYTES),
        }
    }

    /// Whether `owner` may hold a record more, in place of one of its own.
    fn within_shares(
        &self,
        owner: Owner,
        bytes: usize,
        before: Option<(Owner, usize)>,
    ) -> std::result::Result<(), Refused> {
        let (peer, subnet) = (self.share_of(PEER_PART), self.share_of(SUBNET_PART));
        let own = |same: bool| before.filter(|_| same).map(|(_, bytes)| bytes);
        let same = before.is_some_and(|(o, _)| o.peer == owner.peer);
        if !self.shares.fits(owner.peer, bytes, own(same), peer) {
            return Err(Refused::PeerShare(peer.records));
        }
        let same = before.is_some_and(|(o, _)| o.subnet == owner.subnet);
        if !self.shares.fits(owner.subnet, bytes, own(same), subnet) {
            return Err(Refused::SubnetShare(subnet.records));
        }
        Ok(())
    }

    /// Stores a value of another, on the account of `owner`.
    ///
    /// # Errors
    /// When it is too large, or there is no room for it.
    pub(super) fn put_of(
        &mut self,
        mut record: Record,
        owner: Owner,
        now: Instant,
    ) -> std::result::Result<(), Refused> {
        if record.value.len() > MAX_VALUE_BYTES {
            return Err(Refused::TooLarge);
        }
        record.expires = Some(record.expires.unwrap_or(now + MAX_TTL).min(now + MAX_TTL));
        if !self.fits_value(&record) {
            self.sweep_if_due(now);
            if !self.fits_value(&record) {
                return Err(Refused::Full(self.max_records));
            }
        }
        let bytes = value_bytes(&record);
        let held = |(r, o): &(Record, Owner)| (*o, value_bytes(r));
        let before = self.values.get(&record.key).map(held);
        if let Err(refused) = self.within_shares(owner, bytes, before) {
            self.sweep_if_due(now);
            let before = self.values.get(&record.key).map(held);
            self.within_shares(owner, bytes, before)
                .map_err(|_| refused)?;
        }
        self.value_bytes += bytes;
        self.shares.add(owner, bytes);
        if let Some((before, owner)) = self.values.insert(record.key.clone(), (record, owner)) {
            self.value_bytes -= value_bytes(&before);
            self.shares.remove(owner, value_bytes(&before));
        }
        Ok(())
    }

    /// Stores a provider record of another, on the account of `owner`.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(super) fn add_provider_of(
        &mut self,
        mut record: ProviderRecord,
        owner: Owner,
        now: Instant,
    ) -> std::result::Result<(), Refused> {
        record.expires = Some(record.expires.unwrap_or(now + MAX_TTL).min(now + MAX_TTL));
        record.addresses.retain(|a| a.len() <= MAX_ADDR_BYTES);
        record.addresses.truncate(MAX_ADDRS_PER_PROVIDER);
        if !self.fits_provider(&record) {
            self.sweep_if_due(now);
            if !self.fits_provider(&record) {
                return Err(Refused::Full(self.max_records));
            }
        }
        let bytes = provider_bytes(&record);
        if let Err(refused) = self.within_shares(owner, bytes, self.provider_before(&record)) {
            self.sweep_if_due(now);
            self.within_shares(owner, bytes, self.provider_before(&record))
                .map_err(|_| refused)?;
        }
        let full = self
            .providers
            .get(&record.key)
            .is_some_and(|list| list.len() >= MAX_PROVIDERS_PER_KEY);
        let provider = record.provider;
        self.forget_provider(&record.key, |p| {
            p.provider == provider || full && p.is_expired(now)
        });
        if let Some(oldest) = self.makes_room(&record.key, owner) {
            self.forget_provider(&record.key, |p| p.provider == oldest);
        }
        self.provider_records += 1;
        self.provider_bytes += bytes;
        self.shares.add(owner, bytes);
        let list = self.providers.entry(record.key.clone()).or_default();
        // Most content has one or two providers. A list that makes room for four at
        // its first record would take 500 bytes more than this room counts, for each
        // file that anybody announced in the last two days.
        list.reserve_exact(1);
        list.push((record, owner));
        Ok(())
    }

    /// Who goes from a full list of providers when `owner` comes. The list is in the
    /// order in which they announced themselves.
    fn makes_room(&self, key: &RecordKey, owner: Owner) -> Option<PeerId> {
        let list = self.providers.get(key)?;
        if list.len() < MAX_PROVIDERS_PER_KEY {
            return None;
        }
        let same = |o: &Owner| o.subnet != 0 && o.subnet == owner.subnet;
        let neighbours = list.iter().filter(|(_, o)| same(o)).count();
        let crowded = neighbours >= MAX_OF_SUBNET;
        list.iter()
            .find(|(_, o)| !crowded || same(o))
            .map(|(p, _)| p.provider)
    }

    /// The addresses in the record that `provider` has stored under `key`.
    pub(super) fn record_of(&self, key: &RecordKey, provider: &PeerId) -> Option<Vec<Multiaddr>> {
        let list = self.providers.get(key)?;
        let record = list.iter().find(|(p, _)| p.provider == *provider);
        record.map(|(p, _)| p.addresses.clone())
    }

    /// The record that this one takes the place of.
    fn provider_before(&self, record: &ProviderRecord) -> Option<(Owner, usize)> {
        let list = self.providers.get(&record.key)?;
        list.iter()
            .find(|(p, _)| p.provider == record.provider)
            .map(|(p, owner)| (*owner, provider_bytes(p)))
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
            .or_else(|| self.values.get(key).map(|(r, _)| r))
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
        Ok(self.put_of(record, Owner::default(), Instant::now())?)
    }

    fn remove(&mut self, key: &RecordKey) {
        if self.own_values.remove(key).is_none()
            && let Some((record, owner)) = self.values.remove(key)
        {
            self.value_bytes -= value_bytes(&record);
            self.shares.remove(owner, value_bytes(&record));
        }
    }

    fn records(&self) -> Self::RecordsIter<'_> {
        let others = self.values.iter();
        self.own_values
            .values()
            .chain(
                others
                    .filter(|(key, _)| !self.own_values.contains_key(*key))
                    .map(|(_, (record, _))| record),
            )
            .map(Cow::Borrowed)
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn add_provider(&mut self, record: ProviderRecord) -> Result<()> {
        if record.provider == self.local {
            if self.own_providers.len() >= self.max_records
                && !self.own_providers.contains_key(&record.key)
            {
                return Err(Error::MaxProvidedKeys);
            }
            self.own_providers.insert(record.key.clone(), record);
            return Ok(());
        }
        self.add_provider_of(record, Owner::default(), Instant::now())
            .map_err(|_| Error::MaxProvidedKeys)
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let others = self.providers.get(key).into_iter().flatten();
        let others = others.map(|(record, _)| record);
        let own = self.own_providers.get(key).cloned();
        // Kademlia adds the addresses that this node has at the moment.
        let content = || {
            let key = self.own_content.get(key)?.clone();
            Some(ProviderRecord::new(key, self.local, Vec::new()))
        };
        let own = own.or_else(content).into_iter();
        own.chain(others.cloned()).collect()
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
            if self.own_content.remove(key) && self.own_content.capacity() > 1024 {
                let len = self.own_content.len();
                if self.own_content.capacity() > 4 * len {
                    self.own_content.shrink_to(2 * len);
                }
            }
        } else {
            self.forget_provider(key, |p| p.provider == *provider);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

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
    fn who_announced_itself_longest_ago_makes_room() {
        let mut records = Records::new(PeerId::random(), 8);
        let all: Vec<PeerId> = (0..100).map(|_| PeerId::random()).collect();
        for who in &all {
            records.add_provider(provider(0, *who, None)).unwrap();
            // The first one announces itself again and again.
            records.add_provider(provider(0, all[0], None)).unwrap();
        }
        let held: HashSet<PeerId> = records
            .providers(&key(0))
            .iter()
            .map(|p| p.provider)
            .collect();
        let latest = all[100 - (MAX_PROVIDERS_PER_KEY - 1)..].iter();
        assert_eq!(held, latest.chain([&all[0]]).copied().collect());
        records.remove_expired(Instant::now());
        assert_eq!(records.provider_records_len(), MAX_PROVIDERS_PER_KEY);
    }

    #[test]
    fn one_subnet_cannot_push_all_others_out_of_a_full_list() {
        let (mut records, now) = (Records::new(PeerId::random(), 1024), Instant::now());
        let mut add = |who: PeerId, subnet: &str| {
            let owner = records.owner(&who, subnet.parse().ok());
            let record = provider(0, who, None);
            records.add_provider_of(record, owner, now).unwrap();
        };
        let honest: Vec<PeerId> = (0..MAX_PROVIDERS_PER_KEY)
            .map(|_| PeerId::random())
            .collect();
        for (n, who) in honest.iter().enumerate() {
            add(*who, &format!("192.0.2.{n}/32"));
        }
        for _ in 0..1000 {
            add(PeerId::random(), "198.51.100.1/32");
        }
        let held = records.providers(&key(0));
        let left = held.iter().filter(|p| honest.contains(&p.provider));
        assert_eq!(left.count(), MAX_PROVIDERS_PER_KEY - MAX_OF_SUBNET);
    }

    /// The store bounds it, and no cap of records does.
    #[test]
    fn the_content_of_this_host_is_under_no_cap_and_named_until_it_is_gone() {
        let local = PeerId::random();
        let mut records = Records::new(local, 2);
        for n in 0..10_000 {
            records.provide_content(key(n));
        }
        assert_eq!(records.providers(&key(9_999))[0].provider, local);
        assert_eq!(records.providers(&key(10_000)), []);
        assert_eq!(records.provider_records_len(), 0);
        // What a program provides stands beside it, and is under the cap.
        records.add_provider(provider(0, local, None)).unwrap();
        assert_eq!(records.providers(&key(0)).len(), 1);
        for n in 0..10_000 {
            records.remove_provider(&key(n), &local);
        }
        assert_eq!(records.providers(&key(9_999)), []);
        assert!(records.own_content.capacity() < 1_100);
    }

    #[test]
    fn a_provider_that_asks_finds_its_own_record() {
        let (local, peer) = (PeerId::random(), PeerId::random());
        let mut records = Records::new(local, 2);
        assert_eq!(records.record_of(&key(1), &peer), None);
        records.add_provider(provider(1, peer, None)).unwrap();
        assert_eq!(records.record_of(&key(1), &peer), Some(Vec::new()));
        assert_eq!(records.record_of(&key(1), &local), None);
    }

    #[test]
    fn a_record_takes_no_more_room_than_is_counted_for_it() {
        let mut records = Records::new(PeerId::random(), 8);
        for n in 1..=3 {
            records
                .add_provider(provider(0, PeerId::random(), None))
                .unwrap();
            let room = records.providers[&key(0)].capacity();
            assert_eq!(room, n);
            assert!(room * size_of::<(ProviderRecord, Owner)>() <= n * OVERHEAD);
        }
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
        let values: usize = records.values.values().map(|(r, _)| r.value.len()).sum();
        assert!(values > 50 * BYTES_A_RECORD, "{values}");
        assert!(values <= 100 * BYTES_A_RECORD, "{values}");
        let listed = records.providers.values().flatten();
        let addresses: usize = listed
            .flat_map(|(p, _)| p.addresses.iter().map(|a| a.len()))
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
            let bytes: usize = records.values.values().map(|(r, _)| value_bytes(r)).sum();
            assert_eq!(records.value_bytes, bytes);
            let bytes: usize = records
                .providers
                .values()
                .flatten()
                .map(|(p, _)| provider_bytes(p))
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

    #[test]
    fn one_peer_fills_its_share_and_leaves_room_for_others() {
        let now = Instant::now();
        let mut records = Records::new(PeerId::random(), 1024);
        let (flooder, honest) = (PeerId::random(), PeerId::random());
        let owner = records.owner(&flooder, None);
        let share = 1024 / PEER_PART;
        let mut stored = 0;
        let refused = loop {
            match records.put_of(Record::new(key(stored), vec![1]), owner, now) {
                Ok(()) => stored += 1,
                Err(refused) => break refused,
            }
        };
        assert_eq!(
            (stored as usize, &refused),
            (share, &Refused::PeerShare(share))
        );
        assert!(refused.to_string().contains("P2P_DHT_MAX_RECORDS"));
        // Its provider records are under the same share, and what it holds it
        // may renew.
        let record = provider(5000, flooder, None);
        assert_eq!(
            records.add_provider_of(record, owner, now),
            Err(Refused::PeerShare(share))
        );
        records
            .put_of(Record::new(key(0), vec![2]), owner, now)
            .unwrap();
        let other = records.owner(&honest, None);
        for n in 0..share as u32 {
            let record = provider(10_000 + n, honest, None);
            records.add_provider_of(record, other, now).unwrap();
        }
        // What is given up can be used again.
        records.remove(&key(0));
        let record = Record::new(key(9000), vec![1]);
        records.put_of(record, owner, now).unwrap();
    }

    #[test]
    fn many_peers_of_one_subnet_fill_half_and_leave_the_rest_to_the_world() {
        let now = Instant::now();
        let mut records = Records::new(PeerId::random(), 1024);
        let subnet: IpNet = "192.0.2.1/32".parse().unwrap();
        let mut refused = None;
        let mut stored = 0;
        for n in 0..1024 {
            let owner = records.owner(&PeerId::random(), Some(subnet));
            match records.put_of(Record::new(key(n), vec![1]), owner, now) {
                Ok(()) => stored += 1,
                Err(e) => refused = Some(e),
            }
        }
        let half = 1024 / SUBNET_PART;
        assert_eq!((stored, refused), (half, Some(Refused::SubnetShare(half))));
        let other = records.owner(&PeerId::random(), Some("192.0.2.2/32".parse().unwrap()));
        records
            .put_of(Record::new(key(5000), vec![1]), other, now)
            .unwrap();
    }

    #[test]
    fn shares_are_counted_right_through_every_change_and_end_with_what_they_held() {
        let now = Instant::now();
        let mut records = Records::new(PeerId::random(), 1024);
        let (a, b) = (PeerId::random(), PeerId::random());
        let owners = [records.owner(&a, None), records.owner(&b, None)];
        for n in 0..100_u32 {
            let owner = owners[(n % 2) as usize];
            let mut record = Record::new(key(n % 10), vec![0; n as usize]);
            record.expires = Some(now + Duration::from_secs(1));
            records.put_of(record, owner, now).unwrap();
            let who = [a, b][(n % 2) as usize];
            let until = Some(now + Duration::from_secs(1));
            records
                .add_provider_of(provider(n % 7, who, until), owner, now)
                .unwrap();
        }
        let held: usize = records.shares.map.values().map(|s| s.records).sum();
        assert_eq!(held, records.values.len() + records.provider_records);
        let bytes: usize = records.shares.map.values().map(|s| s.bytes).sum();
        assert_eq!(bytes, records.value_bytes + records.provider_bytes);
        records.remove_provider(&key(0), &a);
        records.remove(&key(0));
        let held: usize = records.shares.map.values().map(|s| s.records).sum();
        assert_eq!(held, records.values.len() + records.provider_records);
        records.remove_expired(now + Duration::from_secs(2));
        assert!(records.shares.map.is_empty());
    }

    #[test]
    fn no_record_of_another_lives_longer_than_two_days() {
        let now = Instant::now();
        let mut records = Records::new(PeerId::random(), 8);
        let far = Some(now + Duration::from_secs(10 * 365 * 24 * 3600));
        for expires in [None, far] {
            let mut record = Record::new(key(1), vec![1]);
            record.expires = expires;
            records.put_of(record, Owner::default(), now).unwrap();
            let record = provider(1, PeerId::random(), expires);
            records
                .add_provider_of(record, Owner::default(), now)
                .unwrap();
        }
        records.remove_expired(now + MAX_TTL);
        assert_eq!(
            (records.values_len(), records.provider_records_len()),
            (0, 0)
        );
    }
}
