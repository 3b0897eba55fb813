//! The key under which the members of a topic find each other in the DHT.
//!
//! It is the key of go-libp2p's pubsub discovery, so that its nodes and ours
//! find each other: the namespace `floodsub:` and the topic's name (`discovery.go`
//! of go-libp2p-pubsub), whose sha2-256 makes a CIDv1 of raw bytes
//! (`p2p/discovery/routing` of go-libp2p); and the DHT finds a CID under its
//! multihash.

use sha2::{Digest, Sha256};

/// Before the topic's name; the same for every kind of pubsub router.
const NAMESPACE: &[u8] = b"floodsub:";

/// A multihash begins with the code of sha2-256 and the length of the digest.
const SHA2_256: [u8; 2] = [0x12, 0x20];

/// The DHT key of a topic.
pub(super) fn key(topic: &str) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(NAMESPACE);
    hash.update(topic.as_bytes());
    let mut key = SHA2_256.to_vec();
    key.extend_from_slice(&hash.finalize());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_that_of_go_libp2p() {
        // printf floodsub:weblog | sha256sum
        let digest = "b5f1a96990511427dfcda38d315a2d135baf83ccbf1c8f884dfe97a9f0fbe3a0";
        let cid = cid::Cid::new_v1(
            0x55,
            cid::multihash::Multihash::from_bytes(&key("weblog")).unwrap(),
        );
        assert_eq!(
            cid.to_string(),
            "bafkreifv6guwtecrcqt57tndruyvulitloxyhtf7dshyqtp6s6u7b67dua"
        );
        let hex: String = key("weblog")[2..]
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(hex, digest);
    }
}
