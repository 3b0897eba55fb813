//! `/ipns/` and the bytes of a peer id: what that peer says its name points to.
//!
//! <https://specs.ipfs.tech/ipns/ipns-record/>

use std::time::SystemTime;

use libp2p::PeerId;
use libp2p::identity::PublicKey;
use prost::Message;

use super::cbor::{self, Item};
use super::{Invalid, Owned, time, until};
use crate::message::publisher::{MAX_KEY_BYTES, MAX_SIGNATURE_BYTES};

/// The largest record, as the specification has it.
const MAX_BYTES: usize = 10 << 10;

/// What the second version of the signature covers before the signed fields.
const SIGNED: &[u8] = b"ipns-signature:";

/// The only kind of validity: until a time.
const EOL: u64 = 0;

/// A hash function that is none: such a peer id contains the public key.
const IDENTITY: u64 = 0;

/// `IpnsEntry` of the specification.
#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(bytes = "vec", optional, tag = "1")]
    value: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    signature_v1: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "3")]
    validity_type: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "4")]
    validity: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "5")]
    sequence: Option<u64>,
    #[prost(uint64, optional, tag = "6")]
    ttl: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "7")]
    pub_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "8")]
    signature_v2: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "9")]
    data: Option<Vec<u8>>,
}

/// The fields that are signed, from `data`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Signed<'a> {
    value: Option<&'a [u8]>,
    validity: Option<&'a [u8]>,
    validity_type: Option<u64>,
    sequence: Option<u64>,
    ttl: Option<u64>,
}

impl<'a> Signed<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        let mut signed = Signed::default();
        cbor::fields(data, |name, item| match (name, item) {
            ("Value", Item::Bytes(bytes)) => signed.value = Some(bytes),
            ("Validity", Item::Bytes(bytes)) => signed.validity = Some(bytes),
            ("ValidityType", Item::Number(number)) => signed.validity_type = Some(number),
            ("Sequence", Item::Number(number)) => signed.sequence = Some(number),
            ("TTL", Item::Number(number)) => signed.ttl = Some(number),
            _ => {}
        })?;
        Some(signed)
    }

    /// Whether the fields beside the signed ones say the same. Records of today's nodes
    /// have them for old readers, and may leave them out.
    fn matches(&self, entry: &Entry) -> bool {
        let none = entry.signature_v1.as_deref().unwrap_or_default().is_empty()
            && entry.value.as_deref().unwrap_or_default().is_empty();
        none || self.value.unwrap_or_default() == entry.value.as_deref().unwrap_or_default()
            && self.validity.unwrap_or_default() == entry.validity.as_deref().unwrap_or_default()
            && self.validity_type.unwrap_or(EOL) == entry.validity_type.unwrap_or(EOL)
            && self.sequence.unwrap_or(0) == entry.sequence.unwrap_or(0)
            && self.ttl.unwrap_or(0) == entry.ttl.unwrap_or(0)
    }
}

/// The public key of `peer`: from its id, or else from the record.
fn public_key(peer: &PeerId, entry: &Entry) -> Result<PublicKey, Invalid> {
    let hash = peer.as_ref();
    let encoded = match (&entry.pub_key, hash.code()) {
        (Some(key), _) if !key.is_empty() => key,
        (_, IDENTITY) => hash.digest(),
        _ => return Err(Invalid::Malformed("it has no public key")),
    };
    // What is longer would only make the check slower.
    if encoded.len() > MAX_KEY_BYTES {
        return Err(Invalid::Malformed("its public key is too long"));
    }
    let key = PublicKey::try_decode_protobuf(encoded)
        .map_err(|_| Invalid::Malformed("its public key cannot be read"))?;
    match key.to_peer_id() == *peer {
        true => Ok(key),
        false => Err(Invalid::Signature),
    }
}

/// Checks a record under the name of `peer`.
///
/// # Errors
/// When it is malformed, not signed by that peer, or its time is over.
pub(super) fn check(peer: &[u8], value: &[u8], wall: SystemTime) -> Result<Owned, Invalid> {
    let peer = PeerId::from_bytes(peer).map_err(|_| Invalid::Key)?;
    if value.len() > MAX_BYTES {
        return Err(Invalid::Malformed("it is larger than 10 KiB"));
    }
    let entry = Entry::decode(value).map_err(|_| Invalid::Malformed("it is no IPNS record"))?;
    let (Some(signature), Some(data)) = (&entry.signature_v2, &entry.data) else {
        return Err(Invalid::Malformed("it has no signature of version 2"));
    };
    let key = public_key(&peer, &entry)?;
    let fits = signature.len() <= MAX_SIGNATURE_BYTES;
    if !fits || !key.verify(&[SIGNED, data].concat(), signature) {
        return Err(Invalid::Signature);
    }
    let signed = Signed::read(data).ok_or(Invalid::Malformed("its data is no map in CBOR"))?;
    if !signed.matches(&entry) {
        return Err(Invalid::Malformed(
            "its fields are not those that are signed",
        ));
    }
    if signed.validity_type != Some(EOL) {
        return Err(Invalid::Malformed("its kind of validity is unknown"));
    }
    let (Some(validity), Some(sequence)) = (signed.validity, signed.sequence) else {
        return Err(Invalid::Malformed(
            "it has no validity or no sequence number",
        ));
    };
    let ends = std::str::from_utf8(validity).ok().and_then(time::parse);
    let ends = ends.ok_or(Invalid::Malformed("its validity is no time"))?;
    let (second, lives) = until(ends, wall)?;
    Ok(Owned {
        rank: (sequence, second),
        lives: Some(lives),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use libp2p::identity::Keypair;

    use super::*;

    const VALUE: &[u8] = b"/ipfs/bafkqaaa";
    const ENDS: &str = "2030-01-01T00:00:00.000000000Z";

    fn text(name: &str) -> Vec<u8> {
        [&[0x60 | name.len() as u8][..], name.as_bytes()].concat()
    }

    fn bytes(bytes: &[u8]) -> Vec<u8> {
        [&[0x58, bytes.len() as u8][..], bytes].concat()
    }

    /// A record as other implementations make it.
    fn record(owner: &Keypair, sequence: u8, ends: &str) -> Entry {
        let data = [
            vec![0xa5],
            text("TTL"),
            vec![0x18, 60],
            text("Value"),
            bytes(VALUE),
            text("Sequence"),
            vec![0x18, sequence],
            text("Validity"),
            bytes(ends.as_bytes()),
            text("ValidityType"),
            vec![0],
        ]
        .concat();
        let signature = owner.sign(&[SIGNED, &data].concat()).unwrap();
        Entry {
            value: Some(VALUE.to_vec()),
            signature_v1: Some(vec![1]),
            validity_type: Some(EOL),
            validity: Some(ends.as_bytes().to_vec()),
            sequence: Some(sequence.into()),
            ttl: Some(60),
            pub_key: None,
            signature_v2: Some(signature),
            data: Some(data),
        }
    }

    fn judge(owner: &Keypair, entry: &Entry, wall: &str) -> Result<Owned, Invalid> {
        let name = owner.public().to_peer_id().to_bytes();
        check(&name, &entry.encode_to_vec(), time::parse(wall).unwrap())
    }

    const NOW: &str = "2029-12-31T23:59:00Z";

    #[test]
    fn a_record_is_valid_until_it_says_and_the_newer_wins() {
        let owner = Keypair::generate_ed25519();
        let held = judge(&owner, &record(&owner, 30, ENDS), NOW).unwrap();
        assert_eq!(held.lives, Some(Duration::from_secs(60)));
        let newer = judge(&owner, &record(&owner, 31, ENDS), NOW).unwrap();
        let longer = record(&owner, 30, "2031-01-01T00:00:00Z");
        let longer = judge(&owner, &longer, NOW).unwrap();
        assert!(held.rank < longer.rank && longer.rank < newer.rank);
        let late = judge(&owner, &record(&owner, 30, ENDS), "2030-01-01T00:00:01Z");
        assert_eq!(late, Err(Invalid::Expired));
        // Fields for old readers may be missing.
        let bare = Entry {
            signature_v2: record(&owner, 30, ENDS).signature_v2,
            data: record(&owner, 30, ENDS).data,
            ..Entry::default()
        };
        assert_eq!(judge(&owner, &bare, NOW), Ok(held));
    }

    #[test]
    fn nobody_else_can_make_one() {
        let (owner, other) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let forged = record(&other, 30, ENDS);
        assert_eq!(judge(&owner, &forged, NOW), Err(Invalid::Signature));
        let named = Entry {
            pub_key: Some(other.public().encode_protobuf()),
            ..forged
        };
        assert_eq!(judge(&owner, &named, NOW), Err(Invalid::Signature));
        let good = record(&owner, 30, ENDS);
        for changed in [
            Entry {
                sequence: Some(31),
                ..good.clone()
            },
            Entry {
                value: Some(b"/ipfs/x".to_vec()),
                ..good.clone()
            },
            Entry {
                validity: Some(b"2031-01-01T00:00:00Z".to_vec()),
                ..good.clone()
            },
            Entry {
                signature_v2: None,
                ..good.clone()
            },
        ] {
            let refused = judge(&owner, &changed, NOW);
            assert!(matches!(refused, Err(Invalid::Malformed(_))), "{refused:?}");
        }
        let mut broken = good;
        broken.data.as_mut().unwrap()[10] ^= 1;
        assert_eq!(judge(&owner, &broken, NOW), Err(Invalid::Signature));
    }
}
