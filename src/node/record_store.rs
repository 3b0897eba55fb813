//! The records of [`crate::dht::records`] as Kademlia asks for them.
//!
//! libp2p's trait passes no time, so the clock is read here, and nowhere below.

use std::borrow::Cow;
use std::time::Instant;

use libp2p::PeerId;
use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{ProviderRecord, Record, RecordKey};

use crate::dht::records::{Records, Refused};

impl RecordStore for Records {
    type RecordsIter<'a> = std::vec::IntoIter<Cow<'a, Record>>;
    type ProvidedIter<'a> = std::vec::IntoIter<Cow<'a, ProviderRecord>>;

    fn get(&self, key: &RecordKey) -> Option<Cow<'_, Record>> {
        self.value(key).map(Cow::Borrowed)
    }

    fn put(&mut self, record: Record) -> Result<()> {
        let stored = self.put_value(record, Instant::now());
        stored.map_err(|refused| match refused {
            Refused::TooLarge => Error::ValueTooLarge,
            _ => Error::MaxRecords,
        })
    }

    fn remove(&mut self, key: &RecordKey) {
        self.remove_value(key);
    }

    fn records(&self) -> Self::RecordsIter<'_> {
        let records: Vec<_> = self.all_values().map(Cow::Borrowed).collect();
        records.into_iter()
    }

    fn add_provider(&mut self, record: ProviderRecord) -> Result<()> {
        self.put_provider(record, Instant::now())
            .map_err(|_| Error::MaxProvidedKeys)
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        self.providers_of(key)
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        let records: Vec<_> = self.own_providers().map(Cow::Borrowed).collect();
        records.into_iter()
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        Records::remove_provider(self, key, provider);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dht::records::MAX_VALUE_BYTES;

    /// Their words reach whoever asked for the record to be stored.
    #[test]
    fn what_the_store_refuses_is_told_to_kademlia_by_its_kind() {
        let mut records = Records::new(PeerId::random(), 1);
        let value = |n: u8, bytes| Record::new(RecordKey::new(&[n]), vec![0; bytes]);
        let too_large = RecordStore::put(&mut records, value(1, MAX_VALUE_BYTES + 1));
        assert!(matches!(too_large, Err(Error::ValueTooLarge)));
        RecordStore::put(&mut records, value(1, 1)).unwrap();
        let full = RecordStore::put(&mut records, value(2, 1));
        assert!(matches!(full, Err(Error::MaxRecords)));
        let provider =
            |n: u8| ProviderRecord::new(RecordKey::new(&[n]), PeerId::random(), Vec::new());
        RecordStore::add_provider(&mut records, provider(1)).unwrap();
        let full = RecordStore::add_provider(&mut records, provider(2));
        assert!(matches!(full, Err(Error::MaxProvidedKeys)));
    }
}
