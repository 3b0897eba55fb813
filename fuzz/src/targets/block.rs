//! Blocks, the nodes of trees, and addresses of content.
//!
//! - A block that is accepted has the bytes of its CID, not more than the
//!   limit, and a time that a model confirms. Nothing in it is believed that
//!   its publisher did not sign.
//! - A node's size is the sum of its parts, it does not have more children than allowed,
//!   all of them can be verified, and a node without data of its own is encoded to
//!   what it was decoded from.
//! - A CID that is decoded is canonical, and can be parsed from its text.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use cid::Cid;
use p2p_node::content::address::{self, Codec};
use p2p_node::content::dag::{self, MAX_LINKS};
use p2p_node::content::refusal::{Refusal, RefusalKind};
use p2p_node::fuzzing;
use p2p_node::message::provenance::{self, MAX_SKEW, Provenance};
use p2p_node::message::signer::Signer;
use prost::Message;
use sha2::{Digest, Sha256};

use super::message::keypair;
use crate::stream;
use crate::wire::Block;

/// The content of the block that is wanted in the target `block`.
pub const WANTED: &[u8] = b"a block of content";

/// When it was put, in milliseconds since 1970.
pub const PUT: u64 = 1_800_000_000_000;

const MAX: usize = 32 << 10;

fn at(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

fn is_known(refusal: &Refusal) {
    super::one_line(refusal);
    assert!(RefusalKind::ALL.contains(&refusal.kind()));
}

fn is_right(data: &[u8], said: &Provenance, wanted: &Cid, now: u64) {
    assert!(data.len() <= MAX);
    assert_eq!(Sha256::digest(data)[..], *wanted.hash().digest());
    assert_eq!(said.version, provenance::VERSION);
    let skew = MAX_SKEW.as_millis() as u64;
    assert!(said.timestamp <= now + skew, "dated ahead");
    let ends = u128::from(said.timestamp) + u128::from(said.ttl) * 1000;
    assert!(ends > u128::from(now), "expired");
    assert_eq!(said.verify(&wanted.hash().to_bytes()), Ok(()));
}

/// An encoded `Block` as it comes for one that is wanted.
pub fn accept(data: &[u8]) {
    let wanted = address::address(WANTED, Codec::Raw);
    let now = PUT + 1000;
    let message = Bytes::copy_from_slice(data);
    match fuzzing::block::accept(message, &wanted, MAX, at(now)) {
        None => {}
        Some(Ok((bytes, said))) => is_right(&bytes, &said, &wanted, now),
        Some(Err(refusal)) => is_known(&refusal),
    }
}

/// A block that was signed as it is: timestamp (8 bytes), time to live (4), the
/// receiver's clock (8), compression (1), the bytes as sent.
pub fn accept_signed(data: &[u8]) {
    let Some((head, sent)) = data.split_first_chunk::<21>() else {
        return;
    };
    let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| head[at + i]));
    let (timestamp, now) = (long(0), long(12) % (1 << 50));
    let ttl = u32::from_le_bytes(std::array::from_fn(|i| head[8 + i]));
    let compression = i32::from(head[20] as i8);
    let plain = match compression {
        1 => snap::raw::decompress_len(sent)
            .ok()
            .filter(|len| *len <= MAX && !sent.is_empty())
            .and_then(|_| snap::raw::Decoder::new().decompress_vec(sent).ok()),
        0 => Some(sent.to_vec()).filter(|sent| sent.len() <= MAX),
        _ => None,
    };
    // What cannot be unpacked is asked for by any address.
    let wanted = address::address(plain.as_deref().unwrap_or(sent), Codec::Raw);
    let hash = wanted.hash().to_bytes();
    let said = Signer::new(keypair().clone())
        .sign(&hash, timestamp, ttl)
        .expect("ed25519 always signs");
    let block = Block {
        hash,
        data: sent.to_vec(),
        timestamp,
        ttl,
        version: said.version,
        signature: said.signature.to_vec(),
        key: said.key.to_vec(),
        compression,
    };
    let accepted = fuzzing::block::accept(block.encode_to_vec().into(), &wanted, MAX, at(now))
        .expect("it is a block");
    let ends = u128::from(timestamp) + u128::from(ttl) * 1000;
    let timely =
        u128::from(timestamp) <= u128::from(now) + MAX_SKEW.as_millis() && ends > u128::from(now);
    match (accepted, plain) {
        (Ok((bytes, said)), Some(plain)) if timely => {
            assert_eq!(bytes, plain);
            is_right(&bytes, &said, &wanted, now);
        }
        (Err(refusal), plain) => {
            is_known(&refusal);
            assert!(plain.is_none() || !timely, "{refusal}");
            let of_time = ["expired", "future"].contains(&refusal.reason());
            assert_eq!(of_time, !timely, "{refusal}");
        }
        (Ok(_), plain) => panic!("accepted: timely {timely}, unpacked {}", plain.is_some()),
    }
}

/// A node of a tree.
pub fn dag(data: &[u8]) {
    let block = Bytes::copy_from_slice(data);
    let node = match dag::decode_file(&block) {
        Ok(node) => node,
        Err(error) => return super::one_line(&error),
    };
    assert!(node.children.len() <= MAX_LINKS);
    let sum: u128 = node.children.iter().map(|c| u128::from(c.size)).sum();
    assert_eq!(u128::from(node.size), sum + node.data.len() as u128);
    for child in &node.children {
        assert_ne!(child.size, 0);
        assert_eq!(address::canonical(&child.cid), Ok(child.cid));
    }
    if node.data.is_empty() {
        let again = Bytes::from(dag::encode_file(&node.children));
        assert_eq!(dag::decode_file(&again), Ok(node));
    }
}

/// A CID as text, and as bytes.
pub fn cid(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match address::parse(&text) {
        Ok(cid) => {
            assert_eq!(address::parse(&cid.to_string()), Ok(cid));
            assert_eq!(address::canonical(&cid), Ok(cid));
            assert!(address::codec(&cid).is_ok());
            assert_eq!(Cid::try_from(cid.to_bytes()).ok(), Some(cid));
        }
        Err(error) => super::one_line(&error),
    }
    if let Ok(cid) = fuzzing::text::cid(&text) {
        assert_eq!(fuzzing::text::cid(&cid.to_string()), Ok(cid));
    }
    if let Ok(cid) = Cid::try_from(data) {
        assert_eq!(Cid::try_from(cid.to_bytes()).ok(), Some(cid));
        if let Ok(canonical) = address::canonical(&cid) {
            assert_eq!(canonical.hash(), cid.hash());
            assert_eq!(address::parse(&cid.to_string()), Ok(canonical));
        }
        let content = stream::hash(data).to_le_bytes();
        let _ = address::verify(&cid, &content);
    }
}
