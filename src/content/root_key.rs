//! Stores the address of a root in little memory.

use cid::Cid;
use multihash::Multihash;
use sha2::{Digest, Sha256};

use super::address::{DAG_PB, RAW, SHA2_256};

/// The address of a root, reduced to its codec and digest. Every root that this node
/// stores has a CID that these two determine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RootKey {
    digest: [u8; 32],
    is_dag: bool,
}

impl RootKey {
    /// The smallest of all keys in their order, and the largest.
    pub(crate) const FIRST: RootKey = RootKey {
        digest: [0; 32],
        is_dag: false,
    };
    pub(crate) const LAST: RootKey = RootKey {
        digest: [255; 32],
        is_dag: true,
    };

    pub(crate) fn of(cid: &Cid) -> Option<RootKey> {
        let hash = cid.hash();
        let is_dag = match cid.codec() {
            RAW => false,
            DAG_PB => true,
            _ => return None,
        };
        (hash.code() == SHA2_256).then_some(())?;
        Some(RootKey {
            digest: hash.digest().try_into().ok()?,
            is_dag,
        })
    }

    /// Returns the CID from which it was made.
    pub(crate) fn cid(&self) -> Cid {
        let codec = if self.is_dag { DAG_PB } else { RAW };
        // 32 bytes fit into a multihash of 64, so that the default is never used.
        let hash = Multihash::wrap(SHA2_256, &self.digest).unwrap_or_default();
        Cid::new_v1(codec, hash)
    }

    /// Returns its position in the DHT as a fraction of the whole key space. Kademlia
    /// orders keys by their hash.
    pub(crate) fn position(&self) -> u32 {
        let hash = Multihash::<64>::wrap(SHA2_256, &self.digest).unwrap_or_default();
        let position = Sha256::digest(hash.to_bytes());
        u32::from_be_bytes([position[0], position[1], position[2], position[3]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::address::{Codec, address};

    #[test]
    fn a_key_is_the_cid_in_little() {
        for codec in [Codec::Raw, Codec::DagPb] {
            let cid = address(b"x", codec);
            assert_eq!(RootKey::of(&cid).unwrap().cid(), cid);
        }
        assert_eq!(RootKey::of(&Cid::default()), None);
    }
}
