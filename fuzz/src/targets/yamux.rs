//! The multiplexer, with a remote that sends anything and a program that does anything.
//!
//! - What was sent and not read is never more than the windows that were granted.
//! - The memory that the account shows is what the connection holds, and none is left
//!   when it is dropped.
//! - It does not matter in what pieces the bytes of the remote come.

use std::time::Instant;

use p2p_node::fuzzing::yamux::Side;

/// The first byte of the input says which side this is; then one step follows the other.
pub fn yamux(data: &[u8]) {
    let Some((first, mut rest)) = data.split_first() else {
        return;
    };
    let client = first & 1 == 1;
    let start = Instant::now();
    let mut side = Side::new(client, start);
    // The remote's bytes alone, first one by one and then as a whole.
    let mut remote = Vec::new();
    let mut streams = Vec::new();
    while let [step, a, b, more @ ..] = rest {
        rest = more;
        let stream = match streams.len() {
            0 => u32::from(*a),
            n => streams[usize::from(*a) % n],
        };
        match step % 12 {
            // A frame that is well-formed, for a small stream.
            0..=4 => {
                let [c, d, more @ ..] = rest else { break };
                rest = more;
                let (kind, flags) = (step / 12 % 4, b & 15);
                let length = u16::from_be_bytes([*c, *d]);
                let id = match kind {
                    0 | 1 => a % 16,
                    _ => 0,
                };
                let mut frame = vec![0, kind, 0, flags, 0, 0, 0, id, 0, 0, *c, *d];
                if kind == 0 {
                    frame.resize(12 + usize::from(length), 7);
                }
                remote.extend_from_slice(&frame);
                side.receive(&frame);
            }
            // Bytes as they are.
            5 => {
                let (bytes, more) = rest.split_at(rest.len().min(usize::from(*a)));
                rest = more;
                remote.extend_from_slice(bytes);
                side.receive(bytes);
            }
            6 => drop(side.transmit()),
            7 => drop(side.read(stream, usize::from(*b) * 1024)),
            8 => drop(side.write(stream, usize::from(*b) * 1024)),
            9 => streams.extend(side.open()),
            10 => streams.extend(side.accept()),
            _ => match b % 8 {
                0 => side.finish(stream),
                1 => side.refuse_bytes(stream),
                2 => side.pass(u64::from(*a)),
                3 if *a == 0 => side.end(true),
                4 if *a == 0 => side.end(false),
                _ => {
                    side.drop_stream(stream);
                    streams.retain(|id| *id != stream);
                }
            },
        }
        side.check();
        if remote.len() > 4 << 20 {
            break;
        }
    }
    side.leave();

    let [mut whole, mut pieces] = [(); 2].map(|()| Side::new(client, start));
    let error = whole.receive(&remote);
    if let Some(error) = &error {
        super::one_line(error);
    }
    let mut in_pieces = None;
    for piece in remote.chunks(5) {
        in_pieces = in_pieces.or_else(|| pieces.receive(piece));
        if in_pieces.is_some() {
            break;
        }
    }
    assert_eq!(in_pieces, error);
    assert_eq!(pieces.transmit(), whole.transmit());
    pieces.check();
    whole.check();
    pieces.leave();
    whole.leave();
}
