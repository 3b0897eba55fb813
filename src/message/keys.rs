//! Decoded keys of recent publishers, for the next signature check.
//!
//! Decoding a key takes a square root in a finite field, about a tenth of a signature
//! check; an active publisher's key is used again and again.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::publisher::Publisher;
use super::windows::{Id, id_of};

/// Publishers kept, at some 400 bytes each. With more active ones at
/// once, a check only becomes as slow as it would be without this; the same happens
/// when somebody sends messages of many made-up publishers.
const SLOTS: usize = 512;

/// A publisher and its id in the replay windows.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) publisher: Publisher,
    pub(crate) id: Id,
}

impl Known {
    pub(crate) fn new(publisher: Publisher) -> Self {
        let id = id_of(&publisher.peer());
        Known { publisher, id }
    }
}

#[derive(Clone, Debug)]
struct Slot {
    key: Box<[u8]>,
    known: Arc<Known>,
}

/// See the module's documentation. Each key has one slot that it may be in,
/// under a hash that nobody outside knows.
#[derive(Debug)]
pub(crate) struct Keys {
    slots: Vec<Option<Slot>>,
    hash: RandomState,
}

impl Default for Keys {
    fn default() -> Self {
        Keys {
            slots: vec![None; SLOTS],
            hash: RandomState::new(),
        }
    }
}

impl Keys {
    fn slot(&self, key: &[u8]) -> usize {
        self.hash.hash_one(key) as usize % SLOTS
    }

    /// The publisher with this key, when it is kept.
    pub(crate) fn find(&self, key: &[u8]) -> Option<Arc<Known>> {
        let slot = self.slots[self.slot(key)].as_ref()?;
        (*slot.key == *key).then(|| slot.known.clone())
    }

    /// Keeps a publisher, in place of another. To be called only for one whose signature
    /// was right: anybody can send a key.
    pub(crate) fn keep(&mut self, key: &[u8], known: Arc<Known>) {
        let at = self.slot(key);
        self.slots[at] = Some(Slot {
            key: key.into(),
            known,
        });
    }
}

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;

    use super::*;

    #[test]
    fn a_key_finds_its_own_publisher_and_no_other() {
        let mut keys = Keys::default();
        let many: Vec<_> = (0..2 * SLOTS)
            .map(|n| {
                let mut secret = [7; 32];
                secret[..8].copy_from_slice(&n.to_le_bytes());
                let key = Keypair::ed25519_from_bytes(secret).unwrap().public();
                key.encode_protobuf()
            })
            .collect();
        for key in &many {
            assert!(keys.find(key).is_none());
            let known = Arc::new(Known::new(Publisher::decode(key).unwrap()));
            keys.keep(key, known);
            let found = keys.find(key).unwrap();
            assert_eq!(found.publisher, Publisher::decode(key).unwrap());
            assert_eq!(found.id, id_of(&found.publisher.peer()));
        }
        let kept = many.iter().filter_map(|key| {
            let found = keys.find(key)?;
            assert_eq!(found.publisher, Publisher::decode(key).unwrap());
            Some(())
        });
        let kept = kept.count();
        assert!(kept <= SLOTS && kept > SLOTS / 2, "{kept}");
    }
}
