//! Records that this node holds for the DHT: values and provider records.
//!
//! | file | noun |
//! |---|---|
//! | `own` | records that this node itself publishes |
//! | `values` | values of others |
//! | `providers` | provider records of others |
//! | `shares` | how much each sender may hold |
//! | `amount` | a number of records and their bytes |
//! | `refused` | why a record was not stored |
//!
//! libp2p's memory store refuses new keys forever once it is full, even when
//! what fills it has long expired. This one makes room by dropping what has
//! expired, and refuses when that is not enough.
//!
//! `P2P_DHT_MAX_RECORDS` caps the keys with values and the keys with provider
//! records. A cap on keys alone does not bound memory, because whoever stores a
//! record chooses its size; so the bytes of values and those of provider records
//! are capped as well, at 1 KiB (`BYTES_A_RECORD`) for each record allowed. What
//! this node itself publishes is kept apart: remotes that fill their part must not
//! keep it from announcing its content. What programs on this host provide is under
//! the same cap there. The content of this host's store is under none, because the
//! store bounds it: each root takes at least 4 KiB of `P2P_STORE_MAX_BYTES`, and
//! its key here some 100 bytes of memory.
//!
//! Nor may one remote fill the store: a peer holds at most an eighth of it, and a
//! subnet half (`PEER_PART`, `SUBNET_PART`). Peer ids are free, so it takes both.
//! Neither limit applies to loopback, which is this host, and to trusted peers.
//!
//! The places for providers of one key are shared among subnets (`providers`), and for
//! them loopback is a subnet like any other. A value is changed only by its writer
//! (`values`).

mod amount;
mod own;
mod providers;
mod refused;
mod shares;
mod values;

use std::time::{Duration, Instant};

use libp2p::kad::{ProviderRecord, Record, RecordKey};
use libp2p::{Multiaddr, PeerId};

use amount::Amount;
use own::Own;
use providers::Providers;
pub(crate) use refused::Refused;
use shares::Shares;
pub(crate) use shares::{Origin, Sender};
pub(crate) use values::MAX_VALUE_BYTES;
pub(crate) use values::Rank;
use values::{Values, Verdict};

/// How often a full store looks for expired records: each look walks the whole
/// store, so a flood must not be able to ask for one with every packet.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Longest life of a record of another, as the specification has it. libp2p
/// sees to it; a record that says otherwise must not depend on that.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(48 * 3600);

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Records {
    /// What may be held of values, and again of keys with providers.
    cap: Amount,
    own: Own,
    values: Values,
    providers: Providers,
    shares: Shares,
    last_sweep: Option<Instant>,
}

impl Records {
    /// An empty store for the node `local`, of at most `max_records` values and
    /// as many provider keys of others, and as many again of its own.
    pub(crate) fn new(local: PeerId, max_records: usize) -> Self {
        let cap = Amount::cap(max_records);
        Records {
            cap,
            own: Own::of(local, max_records),
            values: Values::default(),
            providers: Providers::default(),
            shares: Shares::of(cap),
            last_sweep: None,
        }
    }

    /// How many values there are.
    pub(crate) fn values_len(&self) -> usize {
        self.own.values_len() + self.values.len()
    }

    /// How many provider records there are, over all keys; without the content of
    /// this host, which is under no cap.
    pub(crate) fn provider_records_len(&self) -> usize {
        self.own.providers_len() + self.providers.len()
    }

    /// Keys that have provider records, of others or of this node: the larger of
    /// the two, since each has the cap for itself.
    pub(crate) fn provider_keys_len(&self) -> usize {
        self.own.providers_len().max(self.providers.keys())
    }

    /// Drops everything that has expired by `now`.
    pub(crate) fn remove_expired(&mut self, now: Instant) {
        self.own.remove_expired(now);
        self.shares.clear();
        self.values.remove_expired(now, &mut self.shares);
        self.providers.remove_expired(now, &mut self.shares);
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

    /// The sender in whose share the records of `peer` count.
    pub(crate) fn sender(&self, peer: &PeerId, origin: Origin) -> Sender {
        self.shares.sender(peer, origin)
    }

    /// The value under a key: this node's own when it published one, whatever
    /// others say of that key.
    pub(crate) fn value(&self, key: &RecordKey) -> Option<&Record> {
        self.own.value(key).or_else(|| self.values.get(key))
    }

    /// The value of each key.
    pub(crate) fn all_values(&self) -> impl Iterator<Item = &Record> {
        let others = self.values.iter();
        self.own
            .values()
            .chain(others.filter(|r| self.own.value(&r.key).is_none()))
    }

    /// Stores a value: as this node's own when it is the publisher, and otherwise in
    /// nobody's share. libp2p drops what others send in this node's name.
    ///
    /// # Errors
    /// When it is too large, or there is no room for it.
    pub(crate) fn put_value(&mut self, record: Record, now: Instant) -> Result<(), Refused> {
        if record.value.len() > MAX_VALUE_BYTES {
            return Err(Refused::TooLarge);
        }
        if record.publisher.is_some_and(|p| self.own.is(&p)) {
            return self.own.put(record);
        }
        self.put_value_from(Sender::EXEMPT, record, now)
    }

    /// Stores a value that `sender` sent under a key that names no owner.
    ///
    /// # Errors
    /// When it is too large, there is no room for it, or the value under its key is that
    /// of another writer.
    pub(crate) fn put_value_from(
        &mut self,
        sender: Sender,
        record: Record,
        now: Instant,
    ) -> Result<(), Refused> {
        self.put_ranked(sender, record, None, now)
    }

    /// Stores a value that `sender` sent, and that the owner of its key has signed.
    ///
    /// # Errors
    /// When it is too large, there is no room for it, or a newer one is here.
    pub(crate) fn put_owned_from(
        &mut self,
        sender: Sender,
        record: Record,
        rank: Rank,
        now: Instant,
    ) -> Result<(), Refused> {
        self.put_ranked(sender, record, Some(rank), now)
    }

    fn put_ranked(
        &mut self,
        sender: Sender,
        mut record: Record,
        rank: Option<Rank>,
        now: Instant,
    ) -> Result<(), Refused> {
        if record.value.len() > MAX_VALUE_BYTES {
            return Err(Refused::TooLarge);
        }
        record.expires = expiry(record.expires, now);
        let verdict = self
            .values
            .judge(&record, rank, sender, now, &self.shares)?;
        if let Verdict::Renew(expires) = verdict {
            self.values.renew(&record.key, expires);
            return Ok(());
        }
        if !self.values.fits(&record, self.cap) {
            self.sweep_if_due(now);
            if !self.values.fits(&record, self.cap) {
                return Err(Refused::Full(self.cap.records));
            }
        }
        let bytes = values::size(&record);
        let stored = self.values.stored(&record.key);
        if let Err(refused) = self.shares.check(sender, bytes, stored) {
            self.sweep_if_due(now);
            let stored = self.values.stored(&record.key);
            self.shares
                .check(sender, bytes, stored)
                .map_err(|_| refused)?;
        }
        self.values.insert(record, rank, sender, &mut self.shares);
        Ok(())
    }

    /// Removes the value under a key: this node's own, or else that of another.
    pub(crate) fn remove_value(&mut self, key: &RecordKey) {
        if !self.own.remove(key) {
            self.values.remove(key, &mut self.shares);
        }
    }

    /// This host has the content of `key`.
    pub(crate) fn provide_content(&mut self, key: RecordKey) {
        self.own.content.insert(key);
    }

    /// Who provides a key, this node first.
    pub(crate) fn providers_of(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let own = self.own.provider(key).into_iter();
        own.chain(self.providers.of(key).cloned()).collect()
    }

    /// The provider records of this node, without those of this host's content.
    pub(crate) fn own_providers(&self) -> impl Iterator<Item = &ProviderRecord> {
        self.own.providers()
    }

    /// The addresses in the record that `provider` has stored under `key`.
    pub(crate) fn addresses_of(
        &self,
        key: &RecordKey,
        provider: &PeerId,
    ) -> Option<Vec<Multiaddr>> {
        self.providers.addresses(key, provider)
    }

    /// Stores a provider record: as this node's own when it is the provider, and
    /// otherwise in nobody's share.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) fn put_provider(
        &mut self,
        record: ProviderRecord,
        now: Instant,
    ) -> Result<(), Refused> {
        if self.own.is(&record.provider) {
            return self.own.provide(record);
        }
        self.put_provider_from(Sender::EXEMPT, record, |_| false, now)
    }

    /// Stores a provider record that `sender` sent. `connected` tells whether a provider
    /// is connected with this node.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) fn put_provider_from(
        &mut self,
        sender: Sender,
        mut record: ProviderRecord,
        connected: impl Fn(&PeerId) -> bool,
        now: Instant,
    ) -> Result<(), Refused> {
        record.expires = expiry(record.expires, now);
        providers::trim(&mut record);
        if !self.providers.fits(&record, self.cap) {
            self.sweep_if_due(now);
            if !self.providers.fits(&record, self.cap) {
                return Err(Refused::Full(self.cap.records));
            }
        }
        let bytes = providers::size(&record);
        let replaced = self.providers.replaced(&record);
        if let Err(refused) = self.shares.check(sender, bytes, replaced) {
            self.sweep_if_due(now);
            let replaced = self.providers.replaced(&record);
            self.shares
                .check(sender, bytes, replaced)
                .map_err(|_| refused)?;
        }
        self.providers
            .insert(record, sender, connected, now, &mut self.shares);
        Ok(())
    }

    /// Removes the record of `provider` under a key.
    pub(crate) fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        if self.own.is(provider) {
            self.own.stop_providing(key);
        } else {
            self.providers.remove(key, provider, &mut self.shares);
        }
    }
}

/// When a record of another expires: when it says so, and after [`MAX_TTL`] at the
/// latest.
fn expiry(said: Option<Instant>, now: Instant) -> Option<Instant> {
    Some(said.unwrap_or(now + MAX_TTL).min(now + MAX_TTL))
}

#[cfg(test)]
mod tests;
