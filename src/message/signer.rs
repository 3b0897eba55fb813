//! Signs the blocks of one node.

use bytes::Bytes;
use libp2p::PeerId;
use libp2p::identity::Keypair;

use super::provenance::{Provenance, VERSION, statement};
use super::publisher::{MAX_KEY_BYTES, MAX_SIGNATURE_BYTES};

/// Why a block could not be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The key cannot sign.
    #[error("cannot sign a block with this node's identity: {0}")]
    Key(String),
    /// The key is larger than others accept.
    #[error(
        "this node's identity is too large to sign blocks with (key of {key} bytes, signature of {signature}); the limits are {MAX_KEY_BYTES} and {MAX_SIGNATURE_BYTES}: use an ed25519 identity"
    )]
    TooLarge {
        /// Bytes of the public key.
        key: usize,
        /// Bytes of the signature.
        signature: usize,
    },
}

/// Signs the blocks of one node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Signer {
    keypair: Keypair,
    key: Bytes,
}

impl Signer {
    /// Signs with the node's identity.
    pub fn new(keypair: Keypair) -> Self {
        let key = keypair.public().encode_protobuf().into();
        Signer { keypair, key }
    }

    /// The node's id.
    pub fn peer_id(&self) -> PeerId {
        self.keypair.public().to_peer_id()
    }

    /// Signs the block with the multihash `hash`, put at `timestamp` (milliseconds
    /// since 1970) for `ttl` seconds.
    ///
    /// # Errors
    /// When the identity is one that cannot sign, or whose signatures others refuse.
    pub fn sign(&self, hash: &[u8], timestamp: u64, ttl: u32) -> Result<Provenance, SignError> {
        let signature = statement(hash, timestamp, ttl, VERSION)
            .sign(&self.keypair)
            .map_err(|error| SignError::Key(error.to_string()))?;
        if self.key.len() > MAX_KEY_BYTES || signature.len() > MAX_SIGNATURE_BYTES {
            return Err(SignError::TooLarge {
                key: self.key.len(),
                signature: signature.len(),
            });
        }
        Ok(Provenance {
            timestamp,
            ttl,
            version: VERSION,
            key: self.key.clone(),
            signature: signature.into(),
        })
    }
}
