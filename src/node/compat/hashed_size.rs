//! Measures values whose fields cannot be read.
//!
//! # What libp2p lacks
//!
//! Gossipsub's control messages and subscriptions keep their ids and topics to
//! themselves, and no method tells how large they are.
//!
//! # What is done instead
//!
//! They can be hashed, and hashing visits every byte: a hasher that adds up lengths
//! measures them.
//!
//! # What would make this superfluous
//!
//! Public fields of `ControlAction` and `Subscription` in libp2p-gossipsub, or the size of
//! an RPC from its handler.
//! No issue asks for either. With
//! <https://github.com/libp2p/rust-libp2p/pull/6468>, gossipsub itself measures
//! these bytes before it decodes them, for a limit of its own.

use std::hash::{Hash, Hasher};

/// Adds up the lengths of what is hashed.
#[derive(Default)]
struct Size(u64);

impl Hasher for Size {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = self.0.saturating_add(bytes.len() as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The bytes in a value, and a few for each list and each text in it.
pub(in crate::node) fn size(of: &impl Hash) -> u64 {
    let mut size = Size::default();
    of.hash(&mut size);
    size.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_every_list_counts() {
        let list = size(&vec![vec![0_u8; 46]; 5000]);
        // Eight for the length of each list.
        assert_eq!(list, 5000 * (46 + 8) + 8, "every byte counts");
        let empty = size(&vec![Vec::<u8>::new(); 5000]);
        assert_eq!(empty, 5000 * 8 + 8, "empty ids do");
        let topics = size(&vec![("t".repeat(100), [0_u64; 2]); 10]);
        // A byte ends each text, and the length of each array stands before it.
        assert_eq!(topics, 10 * (100 + 1 + 8 + 16) + 8, "texts do");
    }
}
