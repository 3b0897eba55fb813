//! `/p2p-node/PEER/NAME`: a value that only the peer can change.
//!
//! The key is text, with the peer id as it is written everywhere. The value carries the
//! owner's public key and signature, a sequence number, and the second at which it ends;
//! the signature covers the key too, so that a value cannot be moved to another name. See
//! `docs/decisions/dht-truth.md`.

use std::time::{Duration, SystemTime};

use libp2p::PeerId;
use libp2p::identity::{Keypair, SigningError};
use prost::Message;

use super::{Invalid, Owned, until};
use crate::message::publisher::Publisher;
use crate::message::statement::{Purpose, Statement};

/// How such keys begin.
const PREFIX: &[u8] = b"/p2p-node/";

/// A value as it travels.
#[derive(Clone, PartialEq, Message)]
struct Signed {
    #[prost(bytes = "vec", tag = "1")]
    payload: Vec<u8>,
    #[prost(uint64, tag = "2")]
    sequence: u64,
    /// Seconds since 1970.
    #[prost(uint64, tag = "3")]
    ends: u64,
    #[prost(bytes = "vec", tag = "4")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    signature: Vec<u8>,
}

impl Signed {
    fn statement(&self, key: &[u8]) -> Statement {
        Statement::new(Purpose::Value)
            .bytes(key)
            .number(self.sequence)
            .number(self.ends)
            .digest(&self.payload)
    }
}

/// A key of this kind, and its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    key: &'a [u8],
    owner: PeerId,
}

impl<'a> Name<'a> {
    /// The name that a key is. `None` if it is of another kind.
    pub(crate) fn of(key: &'a [u8]) -> Option<Result<Name<'a>, Invalid>> {
        let rest = key.strip_prefix(PREFIX)?;
        let owner = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
        let named = rest.len() > owner.len() + 1;
        let owner = std::str::from_utf8(owner).ok();
        let owner = owner.and_then(|text| text.parse().ok());
        Some(match owner {
            Some(owner) if named => Ok(Name { key, owner }),
            _ => Err(Invalid::Key),
        })
    }

    /// The peer that alone can change the value.
    pub(crate) fn owner(&self) -> PeerId {
        self.owner
    }
}

/// What a value is sealed with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seal {
    /// The larger is the newer. The milliseconds of the day's clock grow over restarts.
    pub(crate) sequence: u64,
    /// When the value ends.
    pub(crate) ends: SystemTime,
}

impl Seal {
    /// Signs a value under a key. The key must be a name that belongs to `owner`.
    ///
    /// # Errors
    /// When the identity key cannot sign.
    pub(crate) fn put_on(
        self,
        name: &Name<'_>,
        payload: Vec<u8>,
        owner: &Keypair,
    ) -> Result<Vec<u8>, SigningError> {
        let ends = self.ends.duration_since(SystemTime::UNIX_EPOCH);
        let mut signed = Signed {
            payload,
            sequence: self.sequence,
            ends: ends.map_or(0, |since| since.as_secs()),
            key: owner.public().encode_protobuf(),
            signature: Vec::new(),
        };
        signed.signature = signed.statement(name.key).sign(owner)?;
        Ok(signed.encode_to_vec())
    }
}

/// Checks a value under its name.
///
/// # Errors
/// When it is malformed, not signed by its owner, or its time is over.
pub(super) fn check(name: &Name<'_>, value: &[u8], wall: SystemTime) -> Result<Owned, Invalid> {
    let signed = Signed::decode(value).map_err(|_| Invalid::Malformed("it is no signed value"))?;
    let owner = Publisher::decode(&signed.key)
        .map_err(|_| Invalid::Malformed("its public key cannot be read"))?;
    let statement = signed.statement(name.key);
    if owner.peer() != name.owner || !statement.is_signed_by(&owner, &signed.signature) {
        return Err(Invalid::Signature);
    }
    let ends = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(signed.ends));
    let (second, lives) = until(ends.ok_or(Invalid::Malformed("it has no end"))?, wall)?;
    Ok(Owned {
        rank: (signed.sequence, second),
        lives: Some(lives),
    })
}

/// The bytes that the owner has put, from a value that was checked. A value under another
/// kind of key is given back as it is.
pub(crate) fn open(key: &[u8], value: Vec<u8>) -> Vec<u8> {
    if !key.starts_with(PREFIX) {
        return value;
    }
    Signed::decode(&value[..]).map_or(value, |signed| signed.payload)
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn a_value_is_its_owners_and_stands_under_its_name_only() {
        let (owner, other) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let ends = wall + Duration::from_secs(60);
        let key = |who: &Keypair, name: &str| {
            format!("/p2p-node/{}/{name}", who.public().to_peer_id()).into_bytes()
        };
        let sign = |key: &[u8], sequence, by: &Keypair| {
            let name = Name::of(key).unwrap().unwrap();
            let seal = Seal { sequence, ends };
            seal.put_on(&name, b"payload".to_vec(), by).unwrap()
        };
        let home = key(&owner, "home");
        let value = sign(&home, 7, &owner);
        let held = check(&home, &value, wall).unwrap().unwrap();
        assert_eq!(held.lives, Some(Duration::from_secs(60)));
        let newer = check(&home, &sign(&home, 8, &owner), wall);
        assert!(newer.unwrap().unwrap().rank > held.rank);
        assert_eq!(open(&home, value.clone()), b"payload");

        let moved = check(&key(&owner, "house"), &value, wall);
        assert_eq!(moved, Err(Invalid::Signature));
        let stolen = check(&home, &sign(&home, 9, &other), wall);
        assert_eq!(stolen, Err(Invalid::Signature));
        let over = check(&home, &value, ends + Duration::from_secs(1));
        assert_eq!(over, Err(Invalid::Expired));
        let nonsense = check(&home, b"\xff", wall);
        assert!(matches!(nonsense, Err(Invalid::Malformed(_))));
        for nobody in ["/p2p-node/", "/p2p-node/x/y", "/p2p-node//"] {
            assert_eq!(check(nobody.as_bytes(), b"", wall), Err(Invalid::Key));
        }
        // A name is not empty.
        assert_eq!(check(&key(&owner, ""), b"", wall), Err(Invalid::Key));
        assert_eq!(check(b"greeting", b"hello", wall), Ok(None));
    }
}
