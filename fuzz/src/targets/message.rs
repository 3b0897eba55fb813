//! Envelopes and compression.
//!
//! - An envelope that opens is in canonical form: the second
//!   definition of the message in `wire` encodes to the same bytes.
//! - An envelope that opens under one topic does not open under another, and no bit of
//!   it can be changed.
//! - An envelope that a publisher signed opens whatever it contains, unless a rule
//!   refuses it, and a model checks the rule.
//! - Nothing that is unpacked is longer than the limit or than was declared, and
//!   it is the same as the output of the library.

use std::sync::LazyLock;

use bytes::Bytes;
use libp2p::identity::Keypair;
use p2p_node::message::compression::{self, Compression};
use p2p_node::message::statement::{Purpose, Statement};
use p2p_node::message::{Envelope, Limits, Refusal, refusal, seal};
use prost::Message;

use crate::stream;
use crate::wire::SignedMessage;

/// The topic that seeds are sealed for.
pub const TOPIC: &[u8] = b"/p2p-node/chat";

/// Small, so that inputs reach it.
const LIMIT: usize = 32 << 10;

/// A key of the fuzzer's own.
pub fn keypair() -> &'static Keypair {
    static KEYPAIR: LazyLock<Keypair> = LazyLock::new(|| {
        Keypair::ed25519_from_bytes([7; 32]).unwrap_or_else(|_| Keypair::generate_ed25519())
    });
    &KEYPAIR
}

fn limits() -> Limits {
    Limits::of_payload(LIMIT)
}

fn is_known(refusal: &Refusal) {
    super::one_line(refusal);
    assert!(refusal::LABELS.contains(&refusal.label()));
}

/// Bytes as they come.
pub fn envelope(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let envelope = match Envelope::open(TOPIC, bytes.clone(), limits()) {
        Ok(envelope) => envelope,
        Err(refusal) => return is_known(&refusal),
    };
    let ours = SignedMessage::decode(data).expect("it opened, so it is a message");
    assert_eq!(ours.encode_to_vec(), data, "two forms of one message");
    assert_eq!(envelope.number(), ours.seq_no);
    assert_ne!(envelope.number(), 0);
    assert!(Envelope::open(b"/p2p-node/other", bytes, limits()).is_err());
    // One bit, chosen by the input.
    let mut changed = data.to_vec();
    let at = stream::hash(data) as usize % (changed.len() * 8);
    changed[at / 8] ^= 1 << (at % 8);
    assert!(
        Envelope::open(TOPIC, changed.into(), limits()).is_err(),
        "bit {at} is not covered"
    );
    match envelope.unpack(limits()) {
        Ok(opened) => assert!(opened.payload.len() <= LIMIT),
        Err(refusal) => is_known(&refusal),
    }
}

/// A payload that was signed as it is: number (8 bytes), compression (1), the
/// payload as sent.
pub fn envelope_signed(data: &[u8]) {
    let Some((head, payload)) = data.split_first_chunk::<9>() else {
        return;
    };
    let number = u64::from_le_bytes([
        head[0], head[1], head[2], head[3], head[4], head[5], head[6], head[7],
    ]);
    let compression = i32::from(head[8] as i8);
    let statement = Statement::new(Purpose::Message)
        .bytes(TOPIC)
        .number(number)
        .number(compression as u64)
        .digest(payload);
    let signature = statement.sign(keypair()).expect("ed25519 always signs");
    let message = SignedMessage {
        payload: payload.to_vec(),
        signature,
        seq_no: number,
        key: keypair().public().encode_protobuf(),
        compression,
    };
    let bytes: Bytes = message.encode_to_vec().into();
    let known = (0..=1).contains(&compression);
    let fits = bytes.len() <= limits().envelope;
    let opened = Envelope::open(TOPIC, bytes, limits());
    assert_eq!(opened.is_ok(), known && number != 0 && fits, "{opened:?}");
    let Ok(envelope) = opened else {
        return;
    };
    assert_eq!(envelope.publisher(), keypair().public().to_peer_id());
    let unpacked = envelope.unpack(limits());
    let model = match compression {
        0 => (payload.len() <= LIMIT).then(|| payload.to_vec()),
        _ => snappy(payload, LIMIT),
    };
    assert_eq!(
        unpacked.as_ref().ok().map(|o| &o.payload[..]),
        model.as_deref()
    );
    if let Ok(opened) = unpacked {
        // Sealed by ourselves it opens to the same again.
        let sealed = seal(keypair(), TOPIC, number, opened.payload.clone(), limits())
            .expect("it is within the limits");
        let again = Envelope::open(TOPIC, sealed, limits())
            .and_then(|envelope| envelope.unpack(limits()))
            .expect("what was sealed opens");
        assert_eq!(again, opened);
    }
}

/// What the library unpacks, within a limit.
fn snappy(packed: &[u8], limit: usize) -> Option<Vec<u8>> {
    let declared = snap::raw::decompress_len(packed).ok()?;
    if packed.is_empty() || declared > limit {
        return None;
    }
    snap::raw::Decoder::new().decompress_vec(packed).ok()
}

/// Packed bytes as they come, and the same bytes as something to pack.
pub fn compression(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    for limit in [0, 100, LIMIT] {
        let size = compression::check(data, Compression::Snappy, limit);
        let unpacked = compression::unpack(bytes.clone(), Compression::Snappy, limit);
        match &unpacked {
            Ok(out) => {
                assert_eq!(size, Ok(out.len()));
                assert!(out.len() <= limit);
            }
            Err(error) => super::one_line(error),
        }
        assert_eq!(
            unpacked.as_ref().ok().map(|out| &out[..]),
            snappy(data, limit).as_deref()
        );
    }
    let (packed, how) = compression::pack(bytes.clone());
    assert!(packed.len() <= data.len());
    assert_eq!(compression::unpack(packed, how, data.len()), Ok(bytes));
}
