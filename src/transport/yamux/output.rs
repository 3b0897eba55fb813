//! The frames that wait to be written to the connection below.
//!
//! All frames lie one behind the other in one buffer, header and bytes, so a frame costs
//! no allocation, and the cipher below gets many at once. The buffer is handed out as a
//! whole when the last one has been written. That is a round.
//!
//! What streams write stops at [`CAP`]. Frames that say something about a stream or answer
//! a ping are always taken, in their place behind the bytes of their stream; the
//! connection is ended when a peer provokes too many of them (see [`ANSWERS`]).
//!
//! A stream that finds no room waits for the next round. While streams wait, each may
//! write one frame in a round, of its share of the buffer. So none is starved by others
//! that always have more.

use super::frame::{HEADER, Header};

/// Payload bytes of the largest frame sent. Four times what libp2p's yamux sends: fewer
/// frames and wake-ups for bulk data. go-libp2p sends the same size, so every
/// implementation takes it, and it delays other streams by well under a millisecond at
/// 1 Gbit/s.
pub(super) const FRAME: usize = 64 * 1024;

/// Bytes that the streams may write in a round: two full frames, eight TLS records.
pub(super) const CAP: usize = 2 * (FRAME + HEADER);

/// The smallest share of a round for one stream. Smaller frames would be mostly header and
/// wake-ups.
const LEAST: usize = 1024;

/// Bytes from which a frame is bulk, whose buffer will be filled: it is allocated whole.
const BULK: usize = 8 * 1024;

/// Frames that answer the remote, in one round. They pile up only while the remote does
/// not read. An honest peer provokes some hundred at once at most, when it opens and gives
/// up streams.
pub(super) const ANSWERS: usize = 4096;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// Memory of the buffer that was handed out and is being written.
    lent: usize,
    /// Frames without payload among `bytes`.
    answers: usize,
    /// Streams that wait for the next round.
    waiting: Vec<u32>,
    /// The number of this round.
    round: u32,
    /// The most that one stream may write in this round, if streams waited for it.
    share: Option<usize>,
}

impl Output {
    pub(super) fn new() -> Self {
        Output {
            bytes: Vec::new(),
            lent: 0,
            answers: 0,
            waiting: Vec::new(),
            round: 1,
            share: None,
        }
    }

    /// Adds a frame that has no payload.
    pub(super) fn push(&mut self, header: Header) {
        self.answers += 1;
        self.bytes.extend_from_slice(&header.encode());
    }

    /// Adds a frame with as much of `payload` as may be sent now, and returns how much
    /// that is. `last` is the round in which this stream wrote last. It is none when the
    /// stream has to wait for the next round.
    pub(super) fn write(
        &mut self,
        stream: u32,
        flags: u16,
        payload: &[u8],
        last: &mut u32,
    ) -> Option<usize> {
        let most = match self.share {
            // There are bytes of this stream already, so there will be a next round.
            Some(_) if *last == self.round => 0,
            Some(share) => share,
            None => FRAME,
        };
        let room = (CAP - HEADER).saturating_sub(self.bytes.len()).min(most);
        // A frame that is cut to a small rest is not worth its header.
        if room < payload.len().min(LEAST) {
            if !self.waiting.contains(&stream) {
                self.waiting.push(stream);
            }
            return None;
        }
        let n = room.min(payload.len());
        if n >= BULK && self.bytes.capacity() < CAP {
            self.bytes.reserve_exact(CAP - self.bytes.len());
        }
        let header = Header::data(stream, u32::try_from(n).unwrap_or(0), flags);
        self.bytes.extend_from_slice(&header.encode());
        self.bytes.extend_from_slice(&payload[..n]);
        *last = self.round;
        Some(n)
    }

    /// Hands out what there is, in exchange for the last buffer, and begins a new round.
    /// Returns the streams that waited for it.
    pub(super) fn take(&mut self, mut written: Vec<u8>) -> (Vec<u8>, Vec<u32>) {
        written.clear();
        let bytes = std::mem::replace(&mut self.bytes, written);
        self.lent = bytes.capacity();
        self.answers = 0;
        self.round = self.round.wrapping_add(1);
        let waiting = std::mem::take(&mut self.waiting);
        self.share = (!waiting.is_empty()).then(|| {
            (CAP / waiting.len())
                .saturating_sub(HEADER)
                .clamp(LEAST, FRAME)
        });
        (bytes, waiting)
    }

    /// Takes back the last buffer, while there is nothing to hand out, and frees all
    /// memory.
    pub(super) fn rest(&mut self) {
        self.lent = 0;
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the remote has provoked more answers than it may leave unread.
    pub(super) fn is_clogged(&self) -> bool {
        self.answers > ANSWERS
    }

    /// The memory that waiting frames take, those being written included.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity() + self.lent
    }

    /// Drops all frames.
    pub(super) fn clear(&mut self) {
        self.bytes = Vec::new();
        self.answers = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_that_wait_share_the_next_round() {
        let mut output = Output::new();
        let mut last = [0; 3];
        let data = vec![1; 1 << 20];
        // The first one takes everything while it is alone.
        assert_eq!(output.write(0, 0, &data, &mut last[0]), Some(FRAME));
        assert_eq!(output.write(0, 0, &data, &mut last[0]), Some(FRAME));
        for (stream, last) in last.iter_mut().enumerate() {
            assert_eq!(output.write(stream as u32, 0, &data, last), None);
            assert_eq!(output.write(stream as u32, 0, b"x", last), None);
        }
        let (bytes, waiting) = output.take(Vec::new());
        assert_eq!(bytes.len(), CAP);
        assert_eq!(waiting, [0, 1, 2]);
        for (stream, last) in last.iter_mut().enumerate() {
            let stream = stream as u32;
            assert_eq!(output.write(stream, 0, &data, last), Some(CAP / 3 - HEADER));
            assert_eq!(output.write(stream, 0, &data, last), None, "once");
        }
    }

    #[test]
    fn nothing_is_held_at_rest() {
        let mut output = Output::new();
        output.push(Header::ping(1, 0));
        assert!(!output.is_empty() && output.held() > 0);
        let (bytes, _) = output.take(Vec::new());
        assert_eq!(bytes, Header::ping(1, 0).encode());
        assert_eq!(output.held(), bytes.capacity());
        drop(bytes);
        output.rest();
        assert_eq!(output.held(), 0);
    }

    #[test]
    fn a_remote_that_provokes_answers_and_reads_none_is_noticed() {
        let mut output = Output::new();
        for _ in 0..ANSWERS {
            output.push(Header::ping(1, 0));
        }
        assert!(!output.is_clogged());
        output.push(Header::ping(1, 0));
        assert!(output.is_clogged());
    }
}
