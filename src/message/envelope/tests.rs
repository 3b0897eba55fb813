use libp2p::identity::Keypair;

use super::super::publisher::KeyError;
use super::*;
use crate::message::limits::MAX_OVERHEAD;
use crate::message::publisher::MAX_KEY_BYTES;
use crate::message::{Packed, SealError, seal};

const LIMITS: Limits = Limits {
    envelope: 64 << 10,
    payload: 32 << 10,
};
const TOPIC: &[u8] = b"/p2p-node/chat";

fn text(len: usize) -> Bytes {
    (*b"a line that repeats. ")
        .iter()
        .copied()
        .cycle()
        .take(len)
        .collect()
}

fn sealed(keypair: &Keypair, number: u64, payload: Bytes) -> Bytes {
    seal(keypair, TOPIC, number, payload, LIMITS).unwrap()
}

/// A good envelope's fields, changed by `change`, and signed again when asked.
fn changed(resign: bool, change: impl FnOnce(&mut pb::SignedMessage)) -> Bytes {
    let keypair = Keypair::generate_ed25519();
    let mut raw = pb::SignedMessage::decode(sealed(&keypair, 7, text(100))).unwrap();
    change(&mut raw);
    if resign {
        let compression = Compression::try_from(raw.compression).unwrap();
        raw.signature = statement(TOPIC, raw.seq_no, compression, &raw.payload)
            .sign(&keypair)
            .unwrap()
            .into();
    }
    raw.encode_to_vec().into()
}

fn refusal(bytes: Bytes) -> Refusal {
    Envelope::open(TOPIC, bytes, LIMITS)
        .and_then(|envelope| envelope.unpack(LIMITS))
        .unwrap_err()
}

#[test]
fn what_is_sealed_opens_with_every_type_of_key() {
    for keypair in [
        Keypair::generate_ed25519(),
        Keypair::generate_secp256k1(),
        Keypair::generate_ecdsa(),
    ] {
        for (number, len) in [(1, 0), (2, 1), (1 << 50, 20_000), (u64::MAX, 32 << 10)] {
            let bytes = sealed(&keypair, number, text(len));
            assert!(bytes.len() <= len + MAX_OVERHEAD);
            let envelope = Envelope::open(TOPIC, bytes, LIMITS).unwrap();
            assert_eq!(envelope.publisher(), keypair.public().to_peer_id());
            assert_eq!(envelope.number(), number);
            let opened = envelope.unpack(LIMITS).unwrap();
            assert_eq!(opened.payload, text(len));
            assert_eq!(opened.publisher, keypair.public().to_peer_id());
            assert_eq!(opened.number, number);
        }
    }
}

#[test]
fn long_text_travels_packed_and_short_text_shares_the_envelopes_buffer() {
    let keypair = Keypair::generate_ed25519();
    assert!(sealed(&keypair, 1, text(20_000)).len() < 4000);
    let bytes = sealed(&keypair, 2, text(100));
    let range = bytes.as_ptr_range();
    let opened = Envelope::open(TOPIC, bytes, LIMITS)
        .unwrap()
        .unpack(LIMITS)
        .unwrap();
    assert!(range.contains(&opened.payload.as_ptr()));
}

#[test]
fn a_long_envelope_is_refused_unseen() {
    let bytes = Bytes::from(vec![0xff; LIMITS.envelope + 1]);
    assert_eq!(
        refusal(bytes),
        Refusal::Oversized {
            len: LIMITS.envelope + 1,
            limit: LIMITS.envelope
        }
    );
}

#[test]
fn what_is_no_envelope_is_malformed() {
    let good = sealed(&Keypair::generate_ed25519(), 7, text(100));
    for bytes in [
        Bytes::from_static(b"\xff"),
        Bytes::from_static(b"hello"),
        // A payload that says to be longer than the message.
        Bytes::from_static(b"\x0a\xff\xff\xff\xff\x0f"),
        // A sequence number of more than 64 bits.
        Bytes::from_static(b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
        Bytes::new(),
    ] {
        assert_eq!(refusal(bytes.clone()).label(), "malformed", "{bytes:?}");
    }
    for len in 0..good.len() {
        assert!(Envelope::open(TOPIC, good.slice(..len), LIMITS).is_err());
    }
}

#[test]
fn number_zero_is_malformed_even_when_signed() {
    let bytes = changed(true, |raw| raw.seq_no = 0);
    assert_eq!(
        refusal(bytes),
        Refusal::Malformed("it has no sequence number")
    );
    let keypair = Keypair::generate_ed25519();
    let error = seal(&keypair, TOPIC, 0, Bytes::new(), LIMITS).unwrap_err();
    assert!(matches!(error, SealError::NoNumber));
}

#[test]
fn a_second_way_to_write_an_envelope_is_malformed() {
    let keypair = Keypair::generate_ed25519();
    let good = sealed(&keypair, 7, text(100));
    let raw = pb::SignedMessage::decode(good.clone()).unwrap();
    let other_form = Refusal::Malformed("it is not in its canonical form");
    let payload_len = 2 + raw.payload.len();

    // A field that nobody signed, at the end and at the beginning.
    assert_eq!(
        refusal([&good[..], b"\x78\x01"].concat().into()),
        other_form
    );
    assert_eq!(
        refusal([b"\x78\x01", &good[..]].concat().into()),
        other_form
    );
    // The payload twice, the last one counts.
    let twice = [b"\x0a\x01x", &good[..]].concat();
    assert_eq!(refusal(twice.into()), other_form);
    // The payload behind the rest.
    let turned = [&good[payload_len..], &good[..payload_len]].concat();
    assert_eq!(refusal(turned.into()), other_form);
    // A length in more bytes than it needs.
    let longer = [b"\x0a\xe4\x00", &good[2..]].concat();
    assert_eq!(refusal(longer.into()), other_form);
    // The default value, written out.
    let default = [&good[..], b"\x28\x00"].concat();
    assert_eq!(refusal(default.into()), other_form);
}

#[test]
fn an_envelope_without_a_usable_key_says_why() {
    let key = |key: Vec<u8>| refusal(changed(false, |raw| raw.key = key.into()));
    assert_eq!(key(Vec::new()), Refusal::Key(KeyError::Missing));
    assert_eq!(key(vec![8, 9, 18, 0]), Refusal::Key(KeyError::Unsupported));
    assert_eq!(
        key(vec![0; MAX_KEY_BYTES + 1]),
        Refusal::Key(KeyError::TooLong(MAX_KEY_BYTES + 1))
    );
}

#[test]
fn whatever_the_signature_covers_cannot_be_changed() {
    let other = Keypair::generate_ed25519().public().encode_protobuf();
    let changes: [fn(&mut pb::SignedMessage); 6] = [
        |raw| raw.payload = text(99),
        |raw| raw.seq_no += 1,
        |raw| raw.compression = Compression::Snappy.into(),
        |raw| raw.signature = Bytes::new(),
        |raw| raw.signature = vec![0; 64].into(),
        |raw| {
            let mut signature = raw.signature.to_vec();
            signature[40] ^= 1;
            raw.signature = signature.into();
        },
    ];
    for (n, change) in changes.into_iter().enumerate() {
        assert_eq!(
            refusal(changed(false, change)).label(),
            "bad_signature",
            "{n}"
        );
    }
    let stolen = changed(false, |raw| raw.key = other.into());
    assert_eq!(refusal(stolen).label(), "bad_signature");
    let long = changed(false, |raw| {
        raw.signature = vec![0; MAX_SIGNATURE_BYTES + 1].into();
    });
    assert_eq!(refusal(long).label(), "malformed");
}

#[test]
fn a_message_is_good_for_its_own_topic_only() {
    let bytes = sealed(&Keypair::generate_ed25519(), 1, text(10));
    let refused = Envelope::open(b"/p2p-node/news", bytes, LIMITS).unwrap_err();
    assert_eq!(refused.label(), "bad_signature");
}

/// Adding the group order to an Ed25519 signature's scalar gives a second
/// signature that lax implementations take.
#[test]
fn a_signature_cannot_be_turned_into_another() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let bytes = changed(false, |raw| {
        let mut signature = raw.signature.to_vec();
        let mut carry = 0;
        for (byte, add) in signature[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        raw.signature = signature.into();
    });
    assert_eq!(refusal(bytes).label(), "bad_signature");
}

#[test]
fn a_bomb_is_refused_though_it_is_signed() {
    let bytes = changed(true, |raw| {
        raw.payload = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
        raw.compression = Compression::Snappy.into();
    });
    assert_eq!(refusal(bytes).label(), "bomb");
}

#[test]
fn a_payload_over_the_limit_is_refused_and_not_sealed() {
    let bytes = changed(true, |raw| raw.payload = text(LIMITS.payload + 1));
    assert_eq!(refusal(bytes).label(), "over_limit");
    let keypair = Keypair::generate_ed25519();
    let error = seal(&keypair, TOPIC, 1, text(LIMITS.payload + 1), LIMITS).unwrap_err();
    assert!(error.to_string().contains("32768"), "{error}");
    let small = Limits {
        envelope: 50,
        ..LIMITS
    };
    let error = seal(&keypair, TOPIC, 1, text(10), small).unwrap_err();
    assert!(matches!(error, SealError::EnvelopeTooLong { .. }));
}

#[test]
fn a_payload_that_does_not_unpack_is_refused() {
    let bytes = changed(true, |raw| raw.compression = Compression::Snappy.into());
    assert_eq!(refusal(bytes).label(), "bad_compression");
    let bytes = changed(false, |raw| raw.compression = 5);
    let refused = refusal(bytes);
    assert_eq!(refused.label(), "bad_compression");
    assert!(refused.to_string().contains('5'), "{refused}");
}

/// Flips every bit of an envelope: whatever comes out, it is an error, or it
/// is not the envelope that the publisher sealed.
#[test]
fn no_bit_can_be_flipped() {
    let good = sealed(&Keypair::generate_ed25519(), 300, text(3));
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.to_vec();
            bytes[at] ^= 1 << bit;
            Envelope::open(TOPIC, bytes.into(), LIMITS).unwrap_err();
        }
    }
}

#[test]
fn how_large_an_envelope_gets_is_known_before_it_is_sealed() {
    for keypair in [
        Keypair::generate_ed25519(),
        Keypair::generate_secp256k1(),
        Keypair::generate_ecdsa(),
    ] {
        for len in [0, 1, 127, 128, 1000, 20_000] {
            let packed = Packed::new(text(len), LIMITS).unwrap();
            let most = packed.envelope_size(&keypair);
            let number = 1_700_000_000_000_000;
            let sealed = packed.seal(&keypair, TOPIC, number, LIMITS).unwrap();
            assert!((sealed.len()..sealed.len() + 8).contains(&most));
            let longest = packed.seal(&keypair, TOPIC, u64::MAX, LIMITS).unwrap();
            assert!(longest.len() <= most);
        }
    }
}
