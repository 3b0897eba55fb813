//! The publisher's key, as it is sent with what it signed.

use libp2p::PeerId;
use libp2p::identity::PublicKey;

/// Longest key in libp2p's protobuf form: RSA with 4096 bits takes 555 bytes,
/// the other types less than 100. Longer RSA keys would make each signature
/// check slower and help nobody.
pub const MAX_KEY_BYTES: usize = 600;

/// Longest signature: that of RSA with 4096 bits. Ed25519's has 64 bytes.
pub const MAX_SIGNATURE_BYTES: usize = 512;

/// Why a key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error("no key")]
    Missing,
    /// It is longer than [`MAX_KEY_BYTES`].
    #[error("a key of {0} bytes is longer than the {MAX_KEY_BYTES} allowed")]
    TooLong(usize),
    /// It does not decode as a key of a type that libp2p knows.
    #[error("no key of a known type (Ed25519, secp256k1, ECDSA, RSA)")]
    Unsupported,
    /// It is a key, but not in its canonical form.
    #[error("the key is not in its canonical form")]
    NotCanonical,
}

/// The signer of something: the key and the peer id that follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publisher {
    key: PublicKey,
    peer: PeerId,
}

impl Publisher {
    /// The publisher whose public key `bytes` is, in libp2p's protobuf form
    /// (libp2p specification, `peer-ids/peer-ids.md`).
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.is_empty() {
            return Err(KeyError::Missing);
        }
        if bytes.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLong(bytes.len()));
        }
        let key = PublicKey::try_decode_protobuf(bytes).map_err(|_| KeyError::Unsupported)?;
        // The peer id is made from the key and not from these bytes: if other
        // encodings were allowed, one message could have any number of forms.
        if key.encode_protobuf() != bytes {
            return Err(KeyError::NotCanonical);
        }
        let peer = key.to_peer_id();
        Ok(Publisher { key, peer })
    }

    /// The peer id.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Whether `signature` is this publisher's over `bytes`.
    ///
    /// Of some key types a third party can turn one valid signature into
    /// another (ECDSA; Ed25519's are checked to be reduced). So a signature
    /// proves who signed, but does not identify a message.
    pub(super) fn verify(&self, bytes: &[u8], signature: &[u8]) -> bool {
        signature.len() <= MAX_SIGNATURE_BYTES && self.key.verify(bytes, signature)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
    use libp2p::identity::Keypair;

    use super::*;

    pub(crate) fn rsa(size: KeySize) -> Keypair {
        let pair = RsaKeyPair::generate(size).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        Keypair::rsa_from_pkcs8(&mut der.as_ref().to_vec()).unwrap()
    }

    #[test]
    fn every_key_type_of_libp2p_is_taken() {
        for keypair in [
            Keypair::generate_ed25519(),
            Keypair::generate_secp256k1(),
            Keypair::generate_ecdsa(),
            rsa(KeySize::Rsa2048),
        ] {
            let publisher = Publisher::decode(&keypair.public().encode_protobuf()).unwrap();
            assert_eq!(publisher.peer(), keypair.public().to_peer_id());
            let signature = keypair.sign(b"text").unwrap();
            assert!(publisher.verify(b"text", &signature));
            assert!(!publisher.verify(b"test", &signature));
            assert!(!publisher.verify(b"text", &[]));
            assert!(!publisher.verify(b"text", &[0; MAX_SIGNATURE_BYTES + 1]));
        }
    }

    #[test]
    fn a_key_of_8192_bits_is_too_long_and_one_of_4096_is_not() {
        let key = rsa(KeySize::Rsa4096).public().encode_protobuf();
        Publisher::decode(&key).unwrap();
        let key = vec![0; 1062];
        assert_eq!(Publisher::decode(&key), Err(KeyError::TooLong(1062)));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert_eq!(Publisher::decode(&[]), Err(KeyError::Missing));
        let key = Keypair::generate_ed25519().public().encode_protobuf();
        assert_eq!(Publisher::decode(&key[..20]), Err(KeyError::Unsupported));
        let mut unknown = key.clone();
        unknown[1] = 9;
        assert_eq!(Publisher::decode(&unknown), Err(KeyError::Unsupported));
    }

    #[test]
    fn a_key_has_one_form_only() {
        let key = Keypair::generate_ed25519().public().encode_protobuf();
        // A field that the format does not have.
        let padded = [&key[..], &[0x18, 0x01]].concat();
        assert_eq!(Publisher::decode(&padded), Err(KeyError::NotCanonical));
        // The same two fields in the other order.
        let turned = [&key[2..], &key[..2]].concat();
        assert_eq!(Publisher::decode(&turned), Err(KeyError::NotCanonical));
    }
}
