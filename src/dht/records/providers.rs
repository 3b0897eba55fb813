//! Provider records that others have stored here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Instant;

use libp2p::kad::{K_VALUE, ProviderRecord, RecordKey};
use libp2p::{Multiaddr, PeerId};

use super::amount::{Amount, OVERHEAD};
use super::shares::{Sender, Shares};
use crate::dht::addresses::MAX_ADDRS_PER_PEER;

/// Providers remembered for one key: the replication factor, as the specification
/// suggests, and the most that an answer names. When there are more, the subnet with the
/// most of them makes room: peer ids are free, and addresses are not. To ignore those who
/// come later would be worse: twenty that have gone, or never were any good, would hide
/// everybody else for two days, and of a topic with more members than that all would find
/// the same twenty.
pub(super) const MAX_PROVIDERS_PER_KEY: usize = K_VALUE.get();

/// Longest address kept. A TCP or QUIC address with its peer id has some 60
/// bytes, one with a name or through a relay up to 400.
const MAX_ADDR_BYTES: usize = 512;

/// The provider records of others, by key.
#[derive(Debug, Default)]
pub(super) struct Providers {
    /// Each list is in the order in which the providers announced themselves.
    pub(super) by_key: HashMap<RecordKey, Vec<(ProviderRecord, Sender)>>,
    /// Records in all lists, and their bytes by [`size`].
    pub(super) held: Amount,
}

/// The memory that a provider record takes.
pub(super) fn size(record: &ProviderRecord) -> usize {
    let addresses: usize = record.addresses.iter().map(|a| 32 + a.len()).sum();
    OVERHEAD + record.key.as_ref().len() + addresses
}

/// Leaves a record the addresses that it may have.
pub(super) fn trim(record: &mut ProviderRecord) {
    record.addresses.retain(|a| a.len() <= MAX_ADDR_BYTES);
    record.addresses.truncate(MAX_ADDRS_PER_PEER);
}

impl Providers {
    /// Keys that have a record.
    pub(super) fn keys(&self) -> usize {
        self.by_key.len()
    }

    /// Records over all keys.
    pub(super) fn len(&self) -> usize {
        self.held.records
    }

    /// The records under a key.
    pub(super) fn of(&self, key: &RecordKey) -> impl Iterator<Item = &ProviderRecord> {
        let list = self.by_key.get(key).into_iter().flatten();
        list.map(|(record, _)| record)
    }

    /// The addresses in the record that `provider` has stored under `key`.
    pub(super) fn addresses(&self, key: &RecordKey, provider: &PeerId) -> Option<Vec<Multiaddr>> {
        let record = self.of(key).find(|p| p.provider == *provider);
        record.map(|p| p.addresses.clone())
    }

    /// Who stored the record whose place this one takes, and its bytes.
    pub(super) fn replaced(&self, record: &ProviderRecord) -> Option<(Sender, usize)> {
        let list = self.by_key.get(&record.key)?;
        list.iter()
            .find(|(p, _)| p.provider == record.provider)
            .map(|(p, sender)| (*sender, size(p)))
    }

    /// Whether there is room for a record beside those under its key. The cap counts
    /// keys, and the bytes of all records.
    pub(super) fn fits(&self, record: &ProviderRecord, cap: Amount) -> bool {
        cap.allows(Amount {
            records: self.keys() + usize::from(!self.by_key.contains_key(&record.key)),
            bytes: self.held.bytes + size(record),
        })
    }

    /// Adds a record in place of the one that its provider had under the key. A full
    /// list drops what has expired, or else one other record. `connected` tells whether a
    /// peer is connected with this node.
    pub(super) fn insert(
        &mut self,
        record: ProviderRecord,
        sender: Sender,
        connected: impl Fn(&PeerId) -> bool,
        now: Instant,
        shares: &mut Shares,
    ) {
        let list = self.by_key.get(&record.key);
        let full = list.is_some_and(|list| list.len() >= MAX_PROVIDERS_PER_KEY);
        let provider = record.provider;
        self.remove_where(&record.key, shares, |p| {
            p.provider == provider || full && p.is_expired(now)
        });
        if let Some(gone) = self.makes_room(&record.key, sender, connected, shares) {
            self.remove(&record.key, &gone, shares);
        }
        let bytes = size(&record);
        self.held.records += 1;
        self.held.bytes += bytes;
        shares.add(sender, bytes);
        let list = self.by_key.entry(record.key.clone()).or_default();
        // Most content has one or two providers. A list that makes room for four at
        // its first record would take 500 bytes more than are counted here, for each
        // file that anybody announced in the last two days.
        list.reserve_exact(1);
        list.push((record, sender));
    }

    /// Which provider is dropped from a full list when `sender` adds one: one of the
    /// largest group, and there first one that is neither connected nor can be dialed as
    /// it says.
    ///
    /// Among several groups of the same size, the one that announced itself longest ago
    /// goes. Within one group that would leave its places to whoever announces itself most
    /// often, and twenty ids of one host would push out the provider that is behind the
    /// same address. So there a secret order decides, which is another one for each key.
    fn makes_room(
        &self,
        key: &RecordKey,
        sender: Sender,
        connected: impl Fn(&PeerId) -> bool,
        shares: &Shares,
    ) -> Option<PeerId> {
        let list = self.by_key.get(key)?;
        if list.len() < MAX_PROVIDERS_PER_KEY {
            return None;
        }
        // Whoever shares no place is a group of its own.
        let in_group = |group: u64| {
            let held = list
                .iter()
                .filter(|(_, s)| group != 0 && s.group() == group);
            held.count().max(1) + usize::from(group != 0 && group == sender.group())
        };
        let sizes: Vec<usize> = list.iter().map(|(_, s)| in_group(s.group())).collect();
        let largest = sizes.iter().max()?;
        let order = |provider: &PeerId, at: usize| match largest {
            1 => at as u64,
            _ => shares.mark(&(key, provider)),
        };
        list.iter()
            .enumerate()
            .filter(|(at, _)| sizes[*at] == *largest)
            .min_by_key(|(at, (p, s))| {
                let proven = s.is_dialable() || connected(&p.provider);
                (proven, order(&p.provider, *at))
            })
            .map(|(_, (p, _))| p.provider)
    }

    /// Removes the record of `provider` under a key.
    pub(super) fn remove(&mut self, key: &RecordKey, provider: &PeerId, shares: &mut Shares) {
        self.remove_where(key, shares, |p| p.provider == *provider);
    }

    fn remove_where(
        &mut self,
        key: &RecordKey,
        shares: &mut Shares,
        gone: impl Fn(&ProviderRecord) -> bool,
    ) {
        if let Entry::Occupied(mut list) = self.by_key.entry(key.clone()) {
            list.get_mut().retain(|(p, sender)| {
                let gone = gone(p);
                if gone {
                    self.held.records -= 1;
                    self.held.bytes -= size(p);
                    shares.remove(*sender, size(p));
                }
                !gone
            });
            if list.get().is_empty() {
                list.remove();
            }
        }
    }

    /// Removes what has expired by `now`, and adds what is left to `shares`.
    pub(super) fn remove_expired(&mut self, now: Instant, shares: &mut Shares) {
        self.by_key.retain(|_, list| {
            list.retain(|(p, _)| !p.is_expired(now));
            !list.is_empty()
        });
        self.held = Amount::default();
        for (record, sender) in self.by_key.values().flatten() {
            let bytes = size(record);
            self.held.records += 1;
            self.held.bytes += bytes;
            shares.add(*sender, bytes);
        }
    }
}
