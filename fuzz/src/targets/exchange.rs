//! Both directions of the block exchange.
//!
//! - Frames do not depend on how the stream cuts them, none is above the limit,
//!   and what was decoded is the same after it was encoded and decoded again.
//! - A session accepts only answers to its own wants, each once; everything else
//!   is a violation of the protocol.
//! - A server answers every want exactly once and nothing else, with the bytes
//!   of the CID.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use cid::Cid;
use futures::executor::block_on;
use futures::io::AsyncRead;
use libp2p::PeerId;
use p2p_node::block::Metrics;
use p2p_node::content::address::{self, Codec};
use p2p_node::block::exchange::frame::{FrameError, FrameReader};
use p2p_node::block::exchange::serve::{Source, Stored};
use p2p_node::block::exchange::{FRAME_OVERHEAD, Limits, MAX_REQUEST_FRAME, Server};
use p2p_node::fuzzing;
use p2p_node::message::signer::Signer;
use p2p_node::telemetry::Register as _;
use prost::Message;

use super::message::keypair;
use crate::stream::Pieces;
use crate::wire::{Request, Response};

const MAX_BLOCK: usize = 32 << 10;

/// Messages of a stream, encoded again, and how it ended.
type Read = (Vec<Vec<u8>>, Result<(), String>);

fn how<T: Message>(
    message: Result<Option<T>, FrameError>,
    read: &mut Vec<Vec<u8>>,
) -> Option<Result<(), String>> {
    match message {
        Ok(Some(message)) => read.push(message.encode_to_vec()),
        Ok(None) => return Some(Ok(())),
        Err(error) => {
            super::one_line(&error);
            return Some(Err(error.to_string()));
        }
    }
    None
}

fn read_requests(io: impl AsyncRead + Unpin) -> Read {
    let mut reader = FrameReader::new(io, MAX_REQUEST_FRAME);
    let mut read = Vec::new();
    loop {
        if let Some(end) = how(block_on(reader.request()), &mut read) {
            return (read, end);
        }
    }
}

fn read_responses(io: impl AsyncRead + Unpin) -> Read {
    let mut reader = FrameReader::new(io, MAX_BLOCK + FRAME_OVERHEAD);
    let mut read = Vec::new();
    loop {
        if let Some(end) = how(block_on(reader.response()), &mut read) {
            return (read, end);
        }
    }
}

/// Frames without their contents.
fn raw_frames(io: impl AsyncRead + Unpin, max: usize) -> Vec<Bytes> {
    let mut reader = FrameReader::new(io, max);
    let mut frames = Vec::new();
    while let Ok(Some(frame)) = block_on(reader.next()) {
        assert!(frame.len() <= max);
        frames.push(frame);
    }
    frames
}

fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut wire = Vec::new();
    for message in messages {
        prost::encode_length_delimiter(message.len(), &mut wire).expect("a Vec has room");
        wire.extend(message);
    }
    wire
}

/// Frames together are what was read, byte for byte: lengths have one form.
fn is_prefix(frames: &[Bytes], data: &[u8]) {
    let frames: Vec<Vec<u8>> = frames.iter().map(|f| f.to_vec()).collect();
    assert!(data.starts_with(&framed(&frames)));
}

/// What a server reads.
pub fn requests(data: &[u8]) {
    let whole = read_requests(Pieces::whole(data));
    assert_eq!(whole, read_requests(Pieces::cut(data)));
    let (read, _) = whole;
    is_prefix(&raw_frames(Pieces::cut(data), MAX_REQUEST_FRAME), data);
    assert_eq!(read_requests(Pieces::whole(&framed(&read))).0, read);
    for message in &read {
        let ours = Request::decode(&message[..]).expect("field numbers have not moved");
        assert_eq!(ours.encode_to_vec(), *message);
    }
}

/// Ids that the session of [`responses`] has open.
pub const OPEN: std::ops::Range<u64> = 0..16;

/// What a session reads that has some wants open.
pub fn responses(data: &[u8]) {
    let whole = read_responses(Pieces::whole(data));
    assert_eq!(whole, read_responses(Pieces::cut(data)));
    let (read, end) = whole;
    let max = MAX_BLOCK + FRAME_OVERHEAD;
    is_prefix(&raw_frames(Pieces::cut(data), max), data);

    let cid = address::address(b"", Codec::Raw);
    let have_only = |id: u64| id % 2 == 1;
    let wants: Vec<(u64, Cid, bool)> = OPEN.map(|id| (id, cid, have_only(id))).collect();
    let mut stream = Pieces::cut(data);
    let (replies, breach) = block_on(fuzzing::block::session(&mut stream, MAX_BLOCK, &wants));
    // It asked for what it was told to.
    let (asked, _) = read_requests(Pieces::whole(&stream.written));
    let asked: Vec<u64> = asked
        .iter()
        .flat_map(|m| Request::decode(&m[..]).expect("written by us").wants)
        .map(|want| want.id)
        .collect();
    assert_eq!(asked, OPEN.collect::<Vec<_>>());
    // And took what a simple reading of the rules allows.
    let mut open: HashSet<u64> = OPEN.collect();
    let mut expected = Vec::new();
    let mut allowed = true;
    for message in &read {
        let response = Response::decode(&message[..]).expect("field numbers have not moved");
        let known = match response.status {
            0..=3 => true,
            4 => have_only(response.id),
            _ => false,
        };
        allowed = open.remove(&response.id) && known;
        if !allowed {
            break;
        }
        let block = (response.status == 0).then(|| response.block.unwrap_or_default());
        expected.push((response.id, cid, block.map(|b| b.encode_to_vec())));
    }
    assert_eq!(replies, expected);
    let lost = end.is_ok() || end.is_err_and(|why| why.starts_with("the stream broke"));
    assert_eq!(breach, !(allowed && lost));
}

/// Blocks that the server of [`serve`] has: small ones and one of some size.
pub fn held() -> &'static HashMap<Cid, Stored> {
    static HELD: LazyLock<HashMap<Cid, Stored>> = LazyLock::new(|| {
        let publisher = Signer::new(keypair().clone());
        [&b"one"[..], b"two", &[3; 3000]]
            .into_iter()
            .map(|data| {
                let cid = address::address(data, Codec::Raw);
                let hash = cid.hash().to_bytes();
                let stored = Stored {
                    data: Bytes::from_static(data),
                    provenance: publisher
                        .sign(&hash, super::block::PUT, 60)
                        .expect("ed25519 always signs"),
                };
                (cid, stored)
            })
            .collect()
    });
    &HELD
}

#[derive(Clone, Debug)]
struct Held;

impl Source for Held {
    fn block(&self, cid: &Cid) -> Result<Option<Stored>, String> {
        Ok(held().get(cid).cloned())
    }

    fn has(&self, cid: &Cid) -> Result<bool, String> {
        Ok(held().contains_key(cid))
    }
}

/// A server at work.
pub fn serve(data: &[u8]) {
    static METRICS: LazyLock<Arc<Metrics>> =
        LazyLock::new(|| Metrics::new().expect("names are right"));
    let server = Server::new(Held, Limits::default(), Arc::clone(&METRICS));
    let mut stream = Pieces::cut(data);
    let served = async_std::task::block_on(server.serve(
        PeerId::from_multihash(peer()).expect("it is one"),
        &mut stream,
    ));
    let (requests, _) = read_requests(Pieces::whole(data));
    let mut open: HashMap<u64, Vec<Vec<u8>>> = HashMap::new();
    let mut wants = 0;
    for message in &requests {
        for want in Request::decode(&message[..]).expect("it was read").wants {
            open.entry(want.id).or_default().push(want.cid);
            wants += 1;
        }
    }
    let (answers, _) = read_responses(Pieces::whole(&stream.written));
    let mut refused: HashMap<u64, usize> = HashMap::new();
    for message in &answers {
        let answer = Response::decode(&message[..]).expect("written by us");
        let asked = open.get_mut(&answer.id).expect("nobody asked for this");
        let Some(block) = answer.block else {
            assert_ne!(answer.status, 0);
            *refused.entry(answer.id).or_default() += 1;
            continue;
        };
        let of = asked
            .iter()
            .position(|cid| {
                Cid::try_from(&cid[..]).is_ok_and(|c| c.hash().to_bytes() == block.hash)
            })
            .expect("a block that was not asked for, or twice");
        let cid = Cid::try_from(&asked.swap_remove(of)[..]).expect("just read");
        let plain = match block.compression {
            0 => block.data,
            _ => snap::raw::Decoder::new()
                .decompress_vec(&block.data)
                .expect("written by us"),
        };
        assert_eq!(address::verify(&cid, &plain), Ok(()));
    }
    // Of several wants under one id any may be the one that was refused.
    for (id, count) in refused {
        assert!(count <= open[&id].len(), "answered twice");
    }
    match served {
        Ok(served) => {
            assert_eq!(answers.len(), wants, "a want without an answer");
            assert_eq!(
                served.blocks + served.refused + served.confirmed,
                wants as u64
            );
        }
        Err(error) => super::one_line(&error),
    }
}

fn peer() -> multihash::Multihash<64> {
    *keypair().public().to_peer_id().as_ref()
}
