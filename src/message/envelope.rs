//! The signed envelope around a payload: sealing it and opening it.
//!
//! The steps of opening go from cheap to expensive, and each needs the ones before:
//!
//! 1. size of the envelope;
//! 2. decoding, and whether it is in its canonical form;
//! 3. the key, within its bounds, and the peer id that follows from it;
//! 4. the signature ([`Envelope::open`] ends here);
//! 5. the publisher's replay window (`node::gossip::signed::Opener`);
//! 6. the declared size, then unpacking ([`Envelope::unpack`]).
//!
//! Only what a publisher signed reaches the windows, so nobody can fill another
//! publisher's window or make one under somebody else's id.
//!
//! # What identifies a message
//!
//! Its publisher and number do, never its bytes or its signature. An envelope
//! has one canonical form all the same: fields in the order of their numbers, each once
//! and with no others beside them. A forwarder cannot make a second message of
//! one by padding it, and an envelope carries nothing that is not signed.

use bytes::{BufMut, Bytes, BytesMut};
use libp2p::PeerId;
use libp2p::identity::{KeyType, Keypair, SigningError};
use prost::Message;

use super::compression::{self, Compression};
use super::pb;
use super::publisher::{MAX_KEY_BYTES, MAX_SIGNATURE_BYTES, Publisher};
use super::refusal::Refusal;
use super::statement::{Purpose, Statement};

/// The tag of the payload on the wire: field 1, length-delimited.
const PAYLOAD_TAG: u8 = 1 << 3 | 2;

/// The most bytes that an envelope has beside its payload: key and signature at
/// their bounds, three lengths, a number, a compression, and the tags.
pub const MAX_OVERHEAD: usize = MAX_KEY_BYTES + MAX_SIGNATURE_BYTES + 40;

/// Bounds of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an envelope.
    pub envelope: usize,
    /// Bytes of a payload when unpacked.
    pub payload: usize,
}

impl Limits {
    /// A payload of at most `payload` bytes, and an envelope that holds one
    /// that packing does not make smaller.
    pub fn of_payload(payload: usize) -> Self {
        Limits {
            envelope: payload.saturating_add(MAX_OVERHEAD),
            payload,
        }
    }
}

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

/// What the publisher's signature covers.
fn statement(topic: &[u8], number: u64, compression: Compression, payload: &[u8]) -> Statement {
    Statement::new(Purpose::Message)
        .bytes(topic)
        .number(number)
        .number(compression as u64)
        .digest(payload)
}

/// An envelope whose signature is right. Its number is not checked yet, and
/// its payload is still packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    publisher: PeerId,
    number: u64,
    payload: Bytes,
    compression: Compression,
}

/// What was in an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Who published it.
    pub publisher: PeerId,
    /// Its sequence number.
    pub number: u64,
    /// What was published. Shares the envelope's buffer when it came unpacked.
    pub payload: Bytes,
}

impl Envelope {
    /// Decodes an envelope that came under `topic` and checks its signature.
    ///
    /// # Errors
    /// The first step that refuses it.
    pub fn open(topic: &[u8], bytes: Bytes, limits: Limits) -> Result<Self, Refusal> {
        let raw = decode(&bytes, limits)?;
        let publisher = Publisher::decode(&raw.key)?;
        Self::verify(topic, raw, &publisher)
    }

    /// Checks the signature of an envelope whose fields and publisher are known.
    pub(crate) fn verify(
        topic: &[u8],
        raw: pb::SignedMessage,
        publisher: &Publisher,
    ) -> Result<Self, Refusal> {
        let peer = publisher.peer();
        let compression =
            compression::from_wire(raw.compression).map_err(|error| Refusal::Payload {
                publisher: peer,
                error,
            })?;
        let said = statement(topic, raw.seq_no, compression, &raw.payload);
        if !said.is_signed_by(publisher, &raw.signature) {
            return Err(Refusal::Signature { publisher: peer });
        }
        Ok(Envelope {
            publisher: peer,
            number: raw.seq_no,
            payload: raw.payload,
            compression,
        })
    }

    /// Who published it.
    pub fn publisher(&self) -> PeerId {
        self.publisher
    }

    /// Its sequence number; never 0.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The payload, unpacked within the limit of `limits`.
    ///
    /// # Errors
    /// [`Refusal::Payload`].
    pub fn unpack(self, limits: Limits) -> Result<Opened, Refusal> {
        let payload = compression::unpack(self.payload, self.compression, limits.payload).map_err(
            |error| Refusal::Payload {
                publisher: self.publisher,
                error,
            },
        )?;
        Ok(Opened {
            publisher: self.publisher,
            number: self.number,
            payload,
        })
    }
}

/// The fields of an envelope. Payload, key and signature share its buffer.
pub(crate) fn decode(bytes: &Bytes, limits: Limits) -> Result<pb::SignedMessage, Refusal> {
    if bytes.len() > limits.envelope {
        return Err(Refusal::Oversized {
            len: bytes.len(),
            limit: limits.envelope,
        });
    }
    let raw = pb::SignedMessage::decode(bytes.clone())
        .map_err(|_| Refusal::Malformed("its fields cannot be decoded"))?;
    if raw.seq_no == 0 {
        return Err(Refusal::Malformed("it has no sequence number"));
    }
    if raw.signature.len() > MAX_SIGNATURE_BYTES {
        return Err(Refusal::Malformed("its signature is too long"));
    }
    if !is_canonical(&raw, bytes) {
        return Err(Refusal::Malformed("it is not in its canonical form"));
    }
    Ok(raw)
}

/// Whether `bytes`, which decode to `raw`, are what `raw` encodes to. Encodes
/// all but the payload, which needs no copy to be compared: head and tail fix
/// where it lies and how long it is.
fn is_canonical(raw: &pb::SignedMessage, bytes: &[u8]) -> bool {
    let mut head = BytesMut::new();
    if !raw.payload.is_empty() {
        head.put_u8(PAYLOAD_TAG);
        prost::encoding::encode_varint(raw.payload.len() as u64, &mut head);
    }
    let tail = pb::SignedMessage {
        payload: Bytes::new(),
        ..raw.clone()
    }
    .encode_to_vec();
    bytes.len() == head.len() + raw.payload.len() + tail.len()
        && bytes.starts_with(&head)
        && bytes.ends_with(&tail)
}

#[cfg(test)]
mod tests;
