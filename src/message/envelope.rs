//! The signed envelope around a payload, and how it is opened. [`Packed`](super::Packed)
//! seals it.
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
use prost::Message;

use super::compression::{self, Compression};
use super::limits::Limits;
use super::pb;
use super::publisher::{MAX_SIGNATURE_BYTES, Publisher};
use super::refusal::Refusal;
use super::statement::{Purpose, Statement};

/// The tag of the payload on the wire: field 1, length-delimited.
const PAYLOAD_TAG: u8 = 1 << 3 | 2;

/// What the publisher's signature covers.
pub(super) fn statement(
    topic: &[u8],
    number: u64,
    compression: Compression,
    payload: &[u8],
) -> Statement {
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
