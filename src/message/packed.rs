//! A payload in the form in which it is sent, to be sealed in an envelope.

use bytes::Bytes;
use libp2p::identity::{KeyType, Keypair, SigningError};
use prost::Message;

use super::Limits;
use super::compression::{self, Compression};
use super::envelope::statement;
use super::pb;
use super::publisher::MAX_SIGNATURE_BYTES;

/// Why a payload was not sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The payload is longer than receivers accept.
    #[error("cannot publish {len} bytes: a message has at most {limit}")]
    TooLong {
        /// Its bytes.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// The envelope would be longer than receivers accept.
    #[error(
        "cannot publish {len} bytes: the envelope would have {envelope}, at most {limit} are allowed; publish less at once"
    )]
    EnvelopeTooLong {
        /// Bytes of the payload.
        len: usize,
        /// Bytes of the envelope.
        envelope: usize,
        /// The limit.
        limit: usize,
    },
    /// Number 0 is not a sequence number.
    #[error("cannot publish under sequence number 0")]
    NoNumber,
    /// The key could not sign.
    #[error("cannot sign a message with this node's key: {0}")]
    Signing(#[from] SigningError),
}

/// Seals `payload` for `topic` as message `number` of the owner of `keypair`.
///
/// The payload is packed when that makes it smaller ([`compression::pack`]).
/// Receivers accept each number of a key once.
///
/// # Errors
/// See [`SealError`].
pub fn seal(
    keypair: &Keypair,
    topic: &[u8],
    number: u64,
    payload: Bytes,
    limits: Limits,
) -> Result<Bytes, SealError> {
    Packed::new(payload, limits)?.seal(keypair, topic, number, limits)
}

/// A payload in the form in which it is sent, to be sealed.
#[derive(Clone, Debug)]
pub struct Packed {
    clear: Bytes,
    payload: Bytes,
    compression: Compression,
}

impl Packed {
    /// Packs `payload` when that makes it smaller.
    ///
    /// # Errors
    /// [`SealError::TooLong`].
    pub fn new(payload: Bytes, limits: Limits) -> Result<Self, SealError> {
        if payload.len() > limits.payload {
            return Err(SealError::TooLong {
                len: payload.len(),
                limit: limits.payload,
            });
        }
        let clear = payload.clone();
        let (payload, compression) = compression::pack(payload);
        Ok(Packed {
            clear,
            payload,
            compression,
        })
    }

    /// Its bytes in the form in which it is sent.
    pub fn size(&self) -> usize {
        self.payload.len()
    }

    /// The payload as it was before.
    pub fn into_clear(self) -> Bytes {
        self.clear
    }

    /// The most bytes that an envelope around it has when the owner of `keypair` seals
    /// it. With an Ed25519 key it has a byte or two less, because its number is shorter.
    pub fn envelope_size(&self, keypair: &Keypair) -> usize {
        let signature = match keypair.key_type() {
            KeyType::Ed25519 => 64,
            // In DER, with two numbers of 33 bytes at most.
            KeyType::Secp256k1 | KeyType::Ecdsa => 72,
            KeyType::RSA => MAX_SIGNATURE_BYTES,
        };
        self.envelope(keypair, vec![0; signature], u64::MAX)
            .encoded_len()
    }

    fn envelope(&self, keypair: &Keypair, signature: Vec<u8>, number: u64) -> pb::SignedMessage {
        pb::SignedMessage {
            payload: self.payload.clone(),
            signature: signature.into(),
            seq_no: number,
            key: keypair.public().encode_protobuf().into(),
            compression: self.compression.into(),
        }
    }

    /// Seals it; see [`seal`].
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal(
        &self,
        keypair: &Keypair,
        topic: &[u8],
        number: u64,
        limits: Limits,
    ) -> Result<Bytes, SealError> {
        if number == 0 {
            return Err(SealError::NoNumber);
        }
        let signature = statement(topic, number, self.compression, &self.payload).sign(keypair)?;
        let envelope = self.envelope(keypair, signature, number);
        let encoded = envelope.encoded_len();
        if encoded > limits.envelope {
            return Err(SealError::EnvelopeTooLong {
                len: self.clear.len(),
                envelope: encoded,
                limit: limits.envelope,
            });
        }
        Ok(envelope.encode_to_vec().into())
    }
}
