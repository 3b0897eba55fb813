//! Checks a block that a peer sent.
//!
//! The order of the checks follows from what each of them costs and from what can be
//! trusted. First come the lengths of the fields, the publisher's signature (some 50 µs),
//! the time that the signature vouches for, and the size that the compressed form
//! declares. Only then are bytes unpacked and hashed (at most 2 ms per mebibyte).

use std::time::SystemTime;

use bytes::Bytes;
use cid::Cid;

use super::address;
use super::refusal::Refusal;
use crate::message::compression;
use crate::message::pb::Block;
use crate::message::provenance::Provenance;

/// A block that has passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Its unpacked bytes. If they were sent unpacked, they share the memory of the
    /// frame.
    pub(crate) data: Bytes,
    /// What its publisher states about it, in separate memory.
    pub(crate) provenance: Provenance,
}

/// Checks a block that was sent for `wanted`. This node must be able to verify that CID.
/// At most `max` bytes are allocated.
///
/// # Errors
/// See [`Refusal`].
pub(crate) fn accept(
    block: Block,
    wanted: &Cid,
    max: usize,
    now: SystemTime,
) -> Result<Accepted, Refusal> {
    if block.hash.is_empty() {
        return Err(Refusal::Malformed("it has no hash".into()));
    }
    let hash = wanted.hash().to_bytes();
    if block.hash != hash {
        return Err(Refusal::WrongHash);
    }
    let provenance = Provenance {
        timestamp: block.timestamp,
        ttl: block.ttl,
        version: block.version,
        key: block.key,
        signature: block.signature,
    };
    provenance.verify(&hash)?;
    provenance.check_time(now)?;
    let how = compression::from_wire(block.compression)?;
    let data = compression::unpack(block.data, how, max)?;
    address::verify(wanted, &data).map_err(|_| Refusal::WrongHash)?;
    Ok(Accepted {
        data,
        provenance: Provenance {
            // Without a copy, a small field would keep the whole frame in memory.
            key: Bytes::copy_from_slice(&provenance.key),
            signature: Bytes::copy_from_slice(&provenance.signature),
            ..provenance
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::address::{Codec, address};
    use crate::message::compression::Compression;
    use crate::message::provenance::MAX_SKEW;
    use crate::message::signer::Signer;
    use libp2p::identity::Keypair;
    use std::time::{Duration, UNIX_EPOCH};

    const PUT: u64 = 1_800_000_000_000;
    const MAX: usize = 64 << 10;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(PUT)
    }

    /// Returns a block as an honest peer sends it, and its address.
    fn good(data: &[u8]) -> (Cid, Block) {
        let cid = address(data, Codec::Raw);
        let hash = cid.hash().to_bytes();
        let publisher = Signer::new(Keypair::generate_ed25519());
        let said = publisher.sign(&hash, PUT, 60).unwrap();
        let block = Block {
            hash: hash.into(),
            data: data.to_vec().into(),
            timestamp: said.timestamp,
            ttl: said.ttl,
            version: said.version,
            signature: said.signature,
            key: said.key,
            compression: 0,
        };
        (cid, block)
    }

    fn refused(change: impl FnOnce(&mut Block)) -> Refusal {
        let (cid, mut block) = good(b"content");
        change(&mut block);
        accept(block, &cid, MAX, now()).unwrap_err()
    }

    #[test]
    fn what_is_right_is_accepted_packed_or_not_up_to_the_limit() {
        for len in [0, 1, 1000, MAX] {
            let data = vec![7; len];
            let (cid, block) = good(&data);
            let accepted = accept(block.clone(), &cid, MAX, now()).unwrap();
            assert_eq!(accepted.data, data);
            assert_eq!(accepted.provenance.timestamp, PUT);
            let (data, how) = compression::pack(data.into());
            let packed = Block {
                data,
                compression: how as i32,
                ..block
            };
            assert_eq!(accept(packed, &cid, MAX, now()), Ok(accepted));
        }
    }

    #[test]
    fn other_bytes_and_another_hash_are_a_wrong_hash() {
        let bytes = refused(|b| b.data = Bytes::from_static(b"Content"));
        assert_eq!(bytes, Refusal::WrongHash);
        let packed = refused(|b| {
            let (data, how) = compression::pack(vec![0; 2000].into());
            (b.data, b.compression) = (data, how as i32);
        });
        assert_eq!(packed, Refusal::WrongHash);
        // This block is valid, but it is not the one that was asked for.
        let (_, other) = good(b"other");
        let (wanted, _) = good(b"content");
        let other = accept(other, &wanted, MAX, now());
        assert_eq!(other.unwrap_err(), Refusal::WrongHash);
    }

    #[test]
    fn what_the_publisher_did_not_sign_is_refused() {
        assert_eq!(refused(|b| b.ttl += 1), Refusal::WrongSignature);
        let key = good(b"x").1.key;
        assert_eq!(refused(|b| b.key = key), Refusal::WrongSignature);
        assert_eq!(refused(|b| b.signature.clear()), Refusal::Unsigned);
        assert_eq!(refused(|b| b.key.clear()), Refusal::Unsigned);
        assert_eq!(refused(|b| b.version = 9), Refusal::Version(9));
        let long = refused(|b| b.key = vec![1; 5000].into());
        assert!(matches!(long, Refusal::Malformed(_)), "{long}");
    }

    #[test]
    fn time_is_that_of_the_publisher_and_the_clocks_are_named() {
        let (cid, block) = good(b"content");
        let at = |now| accept(block.clone(), &cid, MAX, now);
        let over = at(now() + Duration::from_secs(60)).unwrap_err();
        assert_eq!((over.reason(), over.is_fault()), ("expired", false));
        assert!(over.to_string().contains("clocks"), "{over}");
        assert!(at(now() + Duration::from_secs(59)).is_ok());
        assert!(at(now() - MAX_SKEW).is_ok());
        let ahead = at(now() - MAX_SKEW - Duration::from_secs(1)).unwrap_err();
        assert_eq!((ahead.reason(), ahead.is_fault()), ("future", false));
        assert!(ahead.to_string().contains("clocks"), "{ahead}");
    }

    #[test]
    fn what_is_too_large_is_refused_in_both_forms() {
        let (cid, block) = good(&vec![7; MAX + 1]);
        let plain = accept(block.clone(), &cid, MAX, now()).unwrap_err();
        assert_eq!(plain.reason(), "oversized");
        let (data, how) = compression::pack(block.data.clone());
        assert_eq!(how, Compression::Snappy);
        let packed = Block {
            data,
            compression: how as i32,
            ..block
        };
        let bomb = accept(packed, &cid, MAX, now()).unwrap_err();
        assert_eq!((bomb.reason(), bomb.is_fault()), ("bomb", true));
    }

    #[test]
    fn what_makes_no_sense_is_malformed() {
        for change in [
            (|b: &mut Block| *b = Block::default()) as fn(&mut Block),
            |b| b.compression = 7,
            |b| b.compression = 1,
        ] {
            let refusal = refused(change);
            assert!(matches!(refusal, Refusal::Malformed(_)), "{refusal}");
        }
    }
}
