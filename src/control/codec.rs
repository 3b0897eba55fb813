//! The framing of the control protocol, which both ends share. Every message and every
//! data frame is a length, as an unsigned varint, followed by that many bytes.
//!
//! A length is checked against its bound before anything is allocated for it. Memory is
//! allocated at most one step ahead of the bytes that have really arrived, so that a peer
//! that announces much and sends little costs little memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use prost::Message;

use crate::message::varint;
use crate::system::pool::Pool;
use crate::telemetry::coop;

/// The largest request that the server reads, 4 MiB. It is the limit of go-libp2p's
/// daemon (its `MessageSizeMax`), and leaves room for the largest gossip message and DHT
/// record.
pub const MAX_REQUEST: usize = 4 << 20;

/// The largest answer that the client reads, 16 MiB. The lists of 1,024 peers or of
/// topics fit with room to spare; a larger answer is not from this daemon.
pub const MAX_RESPONSE: usize = 16 << 20;

/// The largest data frame, 1 MiB. It holds one block of content, and is large enough that
/// system calls do not limit the speed of a copy.
pub const MAX_FRAME: usize = 1 << 20;

/// The maximum number of bytes of a length. Ten bytes hold 64 bits in groups of seven,
/// and there is no length above 2^63.
const MAX_VARINT: usize = 10;

/// The number of bytes to read when only a header is needed. Small requests arrive with
/// it as a whole.
const FIRST_READ: usize = 16 * 1024;

/// The amount of memory allocated ahead of the bytes that have arrived.
const STEP: usize = MAX_FRAME + 64;

/// Frames of at least this size are read into buffers of their own, which are used again.
/// These frames are the data of downloads. Shorter frames share the buffer of what was
/// read ahead.
const OWN: usize = 256 << 10;

/// The number of unused buffers of such frames that a channel keeps. It is what a reader
/// that writes to a disk gives back at once.
const SPARE: usize = 8;

/// Why a message could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The announced length is larger than what this side reads.
    #[error("a message of {length} bytes was announced, at most {limit} are read")]
    TooLarge {
        /// The length that was announced.
        length: u64,
        /// The largest length that is read.
        limit: usize,
    },
    /// The length is no varint, or longer than it needs to be.
    #[error("the length in front of a message is no valid varint")]
    Length,
    /// The bytes are not a message of the protocol.
    #[error("a message could not be decoded: {0}")]
    Decode(#[from] prost::DecodeError),
    /// The other side closed the connection in the middle of a message.
    #[error("the other side hung up in the middle of a message")]
    Truncated,
}

/// One end of a control connection: the socket, and the bytes that were read ahead from
/// it.
#[derive(Debug)]
pub struct Channel<S> {
    io: S,
    /// `buf[..end]` holds bytes from the socket; the rest is scratch space.
    buf: BytesMut,
    end: usize,
    eof: bool,
    pool: Pool,
}

impl<S> Channel<S> {
    /// Wraps a connected socket.
    pub fn new(io: S) -> Self {
        Channel {
            io,
            buf: BytesMut::new(),
            end: 0,
            eof: false,
            pool: Pool::new(SPARE),
        }
    }

    /// Returns the socket.
    pub fn io(&self) -> &S {
        &self.io
    }

    /// Returns the socket, and the bytes that were read from it but not yet consumed.
    pub fn into_parts(mut self) -> (S, Bytes) {
        self.buf.truncate(self.end);
        (self.io, self.buf.freeze())
    }

    /// Returns the number of bytes that were read ahead.
    pub(crate) fn buffered(&self) -> usize {
        self.end
    }

    /// Returns the bytes that were read ahead.
    pub(crate) fn ahead(&self) -> &[u8] {
        &self.buf[..self.end]
    }

    /// Drops the first `n` of the bytes that were read ahead.
    pub(crate) fn skip(&mut self, n: usize) {
        let _ = self.take(n);
    }

    /// Drops the bytes that were read ahead.
    pub(crate) fn forget(&mut self) {
        self.end = 0;
    }

    /// Returns whether the other side has ended its direction.
    pub(crate) fn ended(&self) -> bool {
        self.eof
    }

    fn take(&mut self, n: usize) -> Bytes {
        self.end -= n;
        self.buf.split_to(n).freeze()
    }
}

impl<S: AsyncRead + Unpin> Channel<S> {
    /// Reads into `out`: the bytes that were read ahead, or, if there are none, directly
    /// from the socket.
    pub(crate) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.end == 0 {
            return Pin::new(&mut self.io).poll_read(cx, out);
        }
        let n = self.end.min(out.len());
        out[..n].copy_from_slice(&self.buf[..n]);
        self.skip(n);
        Poll::Ready(Ok(n))
    }

    /// Reads once, appending to the bytes that were read ahead. Returns zero at the end
    /// of the stream.
    pub(crate) fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let target = self.end + FIRST_READ;
        if self.buf.len() < target {
            self.buf.resize(target, 0);
        }
        let n = ready!(Pin::new(&mut self.io).poll_read(cx, &mut self.buf[self.end..target]))?;
        self.end += n;
        self.eof |= n == 0;
        Poll::Ready(Ok(n))
    }

    /// Reads once, up to `want` bytes beyond those that are already here. Nothing is lost
    /// when the future is dropped.
    pub(crate) async fn fill(&mut self, want: usize) -> io::Result<usize> {
        // A client that writes without a pause would keep the thread.
        coop::pause_if_over().await;
        let target = self.end + want.max(1);
        if self.buf.len() < target {
            self.buf.resize(target, 0);
        }
        let n = self.io.read(&mut self.buf[self.end..target]).await?;
        self.end += n;
        if n == 0 {
            self.eof = true;
        }
        Ok(n)
    }

    /// Reads the length in front of the next frame; `None` when the stream ends before a
    /// frame.
    ///
    /// # Errors
    /// See [`Error`]; the channel cannot be used after an error.
    pub(crate) async fn length(&mut self, limit: usize) -> Result<Option<usize>, Error> {
        loop {
            let head = &self.buf[..self.end.min(MAX_VARINT)];
            match varint::decode(head) {
                Ok((length, rest)) => {
                    let used = head.len() - rest.len();
                    if length > limit as u64 {
                        return Err(Error::TooLarge { length, limit });
                    }
                    let _ = self.take(used);
                    return Ok(Some(length as usize));
                }
                Err(unsigned_varint::decode::Error::Insufficient) if self.end < MAX_VARINT => {
                    if self.fill(FIRST_READ).await? == 0 {
                        return if self.end == 0 {
                            Ok(None)
                        } else {
                            Err(Error::Truncated)
                        };
                    }
                }
                Err(_) => return Err(Error::Length),
            }
        }
    }

    /// Reads one frame of at most `limit` bytes. It is `None` when the other side has
    /// ended between two frames. An empty frame is `Some` without any bytes.
    ///
    /// # Errors
    /// See [`Error`]; the channel cannot be used after an error.
    pub async fn read_frame(&mut self, limit: usize) -> Result<Option<Bytes>, Error> {
        let Some(length) = self.length(limit).await? else {
            return Ok(None);
        };
        if (OWN..=STEP).contains(&length) && self.end < length {
            return self.read_own(length).await.map(Some);
        }
        self.body(length, |_| {}).await.map(Some)
    }

    /// Reads the rest of a frame whose length has been read. `progress` is told how many
    /// bytes have come, whenever some have.
    ///
    /// # Errors
    /// See [`Error`]; the channel cannot be used after an error.
    pub(crate) async fn body(
        &mut self,
        length: usize,
        progress: impl Fn(usize),
    ) -> Result<Bytes, Error> {
        while self.end < length {
            let want = (length - self.end).min(STEP);
            match self.fill(want).await? {
                0 => return Err(Error::Truncated),
                n => progress(n),
            }
        }
        Ok(self.take(length))
    }

    /// Reads the rest of a frame of `length` bytes into a buffer of its own, while fewer
    /// than all of its bytes are here.
    async fn read_own(&mut self, length: usize) -> Result<Bytes, Error> {
        let mut buffer = self.pool.take(length);
        let bytes = buffer.bytes_mut();
        let mut filled = self.end;
        bytes[..filled].copy_from_slice(&self.buf[..filled]);
        // The scratch space is kept for the next header.
        self.end = 0;
        while filled < length {
            let n = self.io.read(&mut bytes[filled..]).await?;
            if n == 0 {
                self.eof = true;
                return Err(Error::Truncated);
            }
            filled += n;
        }
        Ok(buffer.freeze())
    }

    /// Reads one message of at most `limit` bytes. It is `None` when the other side has
    /// ended between two messages. Its `bytes` fields share the frame's buffer.
    ///
    /// # Errors
    /// See [`Error`]; the channel cannot be used after an error.
    pub async fn read<M: Message + Default>(&mut self, limit: usize) -> Result<Option<M>, Error> {
        match self.read_frame(limit).await? {
            Some(frame) => Ok(Some(M::decode(frame)?)),
            None => Ok(None),
        }
    }
}

impl<S: AsyncWrite + Unpin> Channel<S> {
    /// Writes one message.
    ///
    /// # Errors
    /// Returns an error when the socket fails.
    pub async fn write<M: Message>(&mut self, message: &M) -> io::Result<()> {
        self.io
            .write_all(&message.encode_length_delimited_to_vec())
            .await
    }

    /// Writes one frame without copying `data`.
    ///
    /// # Errors
    /// Returns an error when the socket fails.
    pub async fn write_frame(&mut self, data: &[u8]) -> io::Result<()> {
        let mut length = unsigned_varint::encode::u64_buffer();
        self.write_pair(
            unsigned_varint::encode::u64(data.len() as u64, &mut length),
            data,
        )
        .await
    }

    /// Writes `head` and `tail` together, in as few system calls as the socket allows.
    pub(crate) async fn write_pair(&mut self, head: &[u8], tail: &[u8]) -> io::Result<()> {
        let slices = [io::IoSlice::new(head), io::IoSlice::new(tail)];
        let n = self.io.write_vectored(&slices).await?;
        if n < head.len() {
            self.io.write_all(&head[n..]).await?;
            return self.io.write_all(tail).await;
        }
        self.io.write_all(&tail[n - head.len()..]).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::pb;
    use async_std::task::block_on;
    use futures::io::Cursor;

    fn channel(bytes: &[u8]) -> Channel<Cursor<Vec<u8>>> {
        Channel::new(Cursor::new(bytes.to_vec()))
    }

    /// A reader that yields one byte at a time, as a slow peer would.
    struct Drip(Vec<u8>, usize);

    impl AsyncRead for Drip {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buf: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            let at = self.1;
            if at == self.0.len() || buf.is_empty() {
                return std::task::Poll::Ready(Ok(0));
            }
            buf[0] = self.0[at];
            self.1 += 1;
            std::task::Poll::Ready(Ok(1))
        }
    }

    #[test]
    fn messages_come_back_whole_and_in_order_however_they_are_cut() {
        let first = pb::Request {
            r#type: 0,
            ..Default::default()
        };
        let second = pb::Request {
            r#type: pb::request::Type::Pubsub as i32,
            pubsub: Some(pb::PsRequest {
                r#type: 2,
                topic: Some("t".into()),
                data: Some(Bytes::from(vec![7; 300_000])),
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut wire = first.encode_length_delimited_to_vec();
        wire.extend(second.encode_length_delimited_to_vec());
        block_on(async {
            let mut whole = channel(&wire);
            let mut drip = Channel::new(Drip(wire.clone(), 0));
            for expected in [first, second] {
                assert_eq!(
                    whole.read(MAX_REQUEST).await.unwrap(),
                    Some(expected.clone())
                );
                assert_eq!(drip.read(MAX_REQUEST).await.unwrap(), Some(expected));
            }
            assert!(
                whole
                    .read::<pb::Request>(MAX_REQUEST)
                    .await
                    .unwrap()
                    .is_none()
            );
            assert!(
                drip.read::<pb::Request>(MAX_REQUEST)
                    .await
                    .unwrap()
                    .is_none()
            );
        });
    }

    #[test]
    fn frames_of_every_size_round_trip() {
        block_on(async {
            let mut out = Channel::new(Cursor::new(Vec::new()));
            let sizes = [0, 1, 127, 128, 16_383, 16_384, FIRST_READ + 1, MAX_FRAME];
            for size in sizes {
                out.write_frame(&vec![size as u8; size]).await.unwrap();
            }
            let mut back = channel(&out.io.into_inner());
            for size in sizes {
                let frame = back.read_frame(MAX_FRAME).await.unwrap().unwrap();
                assert_eq!(frame.len(), size);
                assert!(frame.iter().all(|&b| b == size as u8));
            }
            assert!(back.read_frame(MAX_FRAME).await.unwrap().is_none());
        });
    }

    #[test]
    fn an_announced_length_over_the_limit_is_refused_before_memory_is_taken() {
        block_on(async {
            for wire in [
                &[0x81, 0x80, 0x80, 0x02][..],
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..],
            ] {
                let mut c = channel(wire);
                let e = c.read_frame(MAX_REQUEST).await.unwrap_err();
                assert!(
                    matches!(
                        e,
                        Error::TooLarge {
                            limit: MAX_REQUEST,
                            ..
                        }
                    ),
                    "{e:?}"
                );
                assert!(c.buf.capacity() <= 2 * FIRST_READ, "{}", c.buf.capacity());
            }
        });
    }

    #[test]
    fn memory_follows_the_bytes_and_not_the_announced_length() {
        block_on(async {
            let mut c = channel(&[0x80, 0x80, 0x80, 0x02, 1, 2, 3]);
            let e = c.read_frame(MAX_REQUEST).await.unwrap_err();
            assert!(matches!(e, Error::Truncated), "{e:?}");
            assert!(c.buf.capacity() < 2 * STEP, "{}", c.buf.capacity());
        });
    }

    #[test]
    fn what_is_no_varint_or_no_message_is_an_error() {
        block_on(async {
            for wire in [
                // Eleven continuation bytes; more than 64 bits; a zero with padding.
                &[0x80; 11][..],
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..],
                &[0x80, 0x00][..],
            ] {
                let e = channel(wire).read_frame(MAX_FRAME).await.unwrap_err();
                assert!(matches!(e, Error::Length | Error::TooLarge { .. }), "{e:?}");
            }
            let e = channel(&[0x80]).read_frame(MAX_FRAME).await.unwrap_err();
            assert!(matches!(e, Error::Truncated), "{e:?}");
            let e = channel(&[2, 0xff, 0xff])
                .read::<pb::Request>(MAX_REQUEST)
                .await
                .unwrap_err();
            assert!(matches!(e, Error::Decode(_)), "{e:?}");
        });
    }

    #[test]
    fn random_bytes_never_panic() {
        // The random numbers have fixed seeds, so that a failure can be repeated.
        for seed in 1..2_000u64 {
            let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let wire: Vec<u8> = (0..64)
                .map(|_| {
                    x ^= x << 13;
                    x ^= x >> 7;
                    x ^= x << 17;
                    x as u8
                })
                .collect();
            block_on(async {
                let mut c = channel(&wire);
                while let Ok(Some(_)) = c.read::<pb::Request>(MAX_REQUEST).await {}
            });
        }
    }

    #[test]
    fn what_was_read_ahead_is_handed_over() {
        block_on(async {
            let mut wire = pb::Request {
                r#type: 2,
                ..Default::default()
            }
            .encode_length_delimited_to_vec();
            wire.extend_from_slice(b"hello");
            let mut c = channel(&wire);
            c.read::<pb::Request>(MAX_REQUEST).await.unwrap().unwrap();
            assert_eq!(&c.into_parts().1[..], b"hello");
        });
    }
}
