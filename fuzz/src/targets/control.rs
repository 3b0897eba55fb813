//! Both ends of the control socket.
//!
//! - Frames do not depend on how the socket cuts them, none is above the limit,
//!   and together they are what was sent, byte for byte.
//! - A request is the same after it was encoded and decoded, and so is an answer that
//!   went through the client's own types.
//! - An upload ends at its end mark and leaves what follows to the next request.

use bytes::Bytes;
use futures::executor::block_on;
use futures::io::AsyncRead;
use p2p_node::control::codec::{Channel, Error, MAX_FRAME, MAX_REQUEST};
use p2p_node::fuzzing;
use p2p_node::fuzzing::control::Part;

use crate::stream::Pieces;

fn frames(io: impl AsyncRead + Unpin, limit: usize) -> (Vec<Bytes>, Result<(), String>) {
    let mut channel = Channel::new(io);
    let mut frames = Vec::new();
    loop {
        match block_on(channel.read_frame(limit)) {
            Ok(Some(frame)) => {
                assert!(frame.len() <= limit);
                frames.push(frame);
            }
            Ok(None) => return (frames, Ok(())),
            Err(error) => {
                super::one_line(&error);
                assert!(!matches!(error, Error::Io(_)), "the stream does not fail");
                return (frames, Err(error.to_string()));
            }
        }
    }
}

/// What the daemon reads.
pub fn requests(data: &[u8]) {
    for limit in [300, MAX_REQUEST] {
        let whole = frames(Pieces::whole(data), limit);
        assert_eq!(whole, frames(Pieces::cut(data), limit));
        let mut wire = Vec::new();
        for frame in &whole.0 {
            prost::encode_length_delimiter(frame.len(), &mut wire).expect("a Vec has room");
            wire.extend_from_slice(frame);
        }
        assert!(data.starts_with(&wire), "lengths have one form");
        if whole.1.is_ok() {
            assert_eq!(wire, data);
        }
        for frame in &whole.0 {
            if let Some((fields, encoded)) = fuzzing::control::request(frame) {
                let again = fuzzing::control::request(&encoded);
                assert_eq!(again, Some((fields, encoded)));
            }
        }
    }
}

/// An upload's frames.
pub fn upload(data: &[u8]) {
    let (got, rest) = block_on(fuzzing::control::upload(Pieces::whole(data)));
    // The rest is what was read ahead; the same upload in pieces leaves more of
    // it in the socket.
    let mut cut = Pieces::cut(data);
    let (again, ahead) = block_on(fuzzing::control::upload(&mut cut));
    assert_eq!(got.as_ref().ok(), again.as_ref().ok());
    let model = model(data);
    assert_eq!(got.as_ref().ok(), model.as_ref().map(|(data, _)| data));
    if let Some((_, left)) = model {
        assert!(left.starts_with(&rest) && left.starts_with(&ahead));
        assert_eq!(ahead.len() + cut.left(), left.len());
    }
    for error in [got.err(), again.err()].into_iter().flatten() {
        super::one_line(&error);
    }
}

/// The bytes of an upload up to its mark, and what follows.
fn model(mut data: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut out = Vec::new();
    loop {
        let (length, rest) = unsigned_varint::decode::u64(data).ok()?;
        // The library cuts off what is over 64 bits.
        let used = data.len() - rest.len();
        if length > MAX_FRAME as u64 || used == 10 && data[9] > 1 {
            return None;
        }
        let length = length as usize;
        let (frame, rest) = rest.split_at_checked(length)?;
        if length == 0 {
            return Some((out, rest));
        }
        out.extend_from_slice(frame);
        data = rest;
    }
}

/// What the client reads.
pub fn answers(data: &[u8]) {
    let Some(parts) = fuzzing::control::answer(data) else {
        return;
    };
    let mut good: Vec<Part> = Vec::new();
    for part in parts {
        match part {
            Ok(part) => good.push(part),
            Err(error) => super::one_line(&error),
        }
    }
    let encoded = fuzzing::control::encode(&good);
    let again: Option<Vec<Part>> = fuzzing::control::answer(&encoded)
        .expect("written by us")
        .into_iter()
        .map(Result::ok)
        .collect();
    assert_eq!(again, Some(good));
}

/// What a subscriber reads.
pub fn gossip(data: &[u8]) {
    match fuzzing::control::gossip(data) {
        Some(Ok(message)) => assert!(message.data.len() <= data.len()),
        Some(Err(error)) => super::one_line(&error),
        None => {}
    }
}
