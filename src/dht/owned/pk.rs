//! `/pk/` and the bytes of a peer id: the public key of that peer.
//!
//! <https://github.com/libp2p/specs/blob/master/kad-dht/README.md>

use libp2p::PeerId;

use super::{Invalid, Owned};
use crate::message::publisher::Publisher;

/// Checks a value under the key of `peer`.
///
/// # Errors
/// When it is not the public key from which the peer's id is made.
pub(super) fn check(peer: &[u8], value: &[u8]) -> Result<Owned, Invalid> {
    let peer = PeerId::from_bytes(peer).map_err(|_| Invalid::Key)?;
    let owner = Publisher::decode(value).map_err(|_| Invalid::Malformed("it is no public key"))?;
    if owner.peer() != peer {
        return Err(Invalid::Signature);
    }
    // There is only one, and it stays valid.
    Ok(Owned {
        rank: (0, 0),
        lives: None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use libp2p::identity::Keypair;

    use super::super::check;
    use super::*;

    #[test]
    fn only_the_key_that_makes_the_id_stands_under_it() {
        let (owner, other) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let key = [b"/pk/", &owner.public().to_peer_id().to_bytes()[..]].concat();
        let at = SystemTime::UNIX_EPOCH;
        let put = |value: &[u8]| check(&key, value, at);
        assert!(put(&owner.public().encode_protobuf()).unwrap().is_some());
        assert_eq!(
            put(&other.public().encode_protobuf()),
            Err(Invalid::Signature)
        );
        assert!(matches!(put(b"no key"), Err(Invalid::Malformed(_))));
        assert_eq!(check(b"/pk/somebody", b"", at), Err(Invalid::Key));
        assert_eq!(check(b"/pkg/somebody", b"", at), Ok(None));
    }
}
