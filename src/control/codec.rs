//! Framing of the control protocol, shared by both ends: every message and
//! every data frame is an unsigned varint length and then that many bytes.
//!
//! A length is checked against its bound before anything is allocated for it,
//! and memory is taken at most one step ahead of the bytes that really came,
//! so a peer that announces much and sends little costs little.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use prost::Message;

use crate::message::varint;
use crate::system::pool::Pool;

/// Largest request that the server reads, 4 MiB: what go-libp2p's daemon reads
/// (its `MessageSizeMax`), and room for the largest gossip message and DHT record.
pub const MAX_REQUEST: usize = 4 << 20;

/// Largest answer that the client reads, 16 MiB: the lists of 1,024 peers or of
/// topics fit with room; an answer beyond it is not from this daemon.
pub const MAX_RESPONSE: usize = 16 << 20;

/// Largest data frame, 1 MiB: one block of content, and few enough system
/// calls for the copy not to be bound by them.
pub const MAX_FRAME: usize = 1 << 20;

/// A length above 2^63 does not exist; ten bytes hold 64 bits in groups of seven.
const MAX_VARINT: usize = 10;

/// Bytes asked for when only a header is wanted: small requests come whole.
const FIRST_READ: usize = 16 * 1024;

/// Memory taken ahead of the bytes that came.
const STEP: usize = MAX_FRAME + 64;

/// Frames from this size on are read into memory of their own, which is used
/// again: data of a download. Shorter ones share what was read ahead.
const OWN: usize = 256 << 10;

/// Unused buffers of such frames that a channel keeps: what a reader that
/// writes to a disk gives back at once.
const SPARE: usize = 8;

/// Why a message could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The announced length is above what this side reads.
    #[error("a message of {length} bytes was announced, at most {limit} are read")]
    TooLarge {
        /// What the length said.
        length: u64,
        /// What is read at most.
        limit: usize,
    },
    /// The length is no varint, or longer than it needs to be.
    #[error("the length in front of a message is no valid varint")]
    Length,
    /// The bytes are no message of the protocol.
    #[error("a message could not be decoded: {0}")]
    Decode(#[from] prost::DecodeError),
    /// The other side ended in the middle of a message.
    #[error("the other side hung up in the middle of a message")]
    Truncated,
}

/// One end of a control connection: the socket and what was read ahead of it.
#[derive(Debug)]
pub struct Channel<S> {
    io: S,
    /// `buf[..end]` came from the socket; what follows is scratch space.
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

    /// The socket.
    pub fn io(&self) -> &S {
        &self.io
    }

    /// The socket, and the bytes that were read from it and not yet consumed.
    pub fn into_parts(mut self) -> (S, Bytes) {
        self.buf.truncate(self.end);
        (self.io, self.buf.freeze())
    }

    /// Bytes read ahead.
    pub(crate) fn buffered(&self) -> usize {
        self.end
    }

    /// What was read ahead.
    pub(crate) fn ahead(&self) -> &[u8] {
        &self.buf[..self.end]
    }

    /// Drops the first `n` bytes of what was read ahead.
    pub(crate) fn skip(&mut self, n: usize) {
        let _ = self.take(n);
    }

    /// Drops what was read ahead.
    pub(crate) fn forget(&mut self) {
        self.end = 0;
    }

    /// True once the other side has ended its direction.
    pub(crate) fn ended(&self) -> bool {
        self.eof
    }

    fn take(&mut self, n: usize) -> Bytes {
        self.end -= n;
        self.buf.split_to(n).freeze()
    }
}

impl<S: AsyncRead + Unpin> Channel<S> {
    /// Reads what was read ahead, or else straight from the socket into `out`.
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

    /// Reads once into the room behind what was read ahead; zero at the end.
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

    /// Reads once, into room for up to `want` bytes beyond those already here.
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn fill(&mut self, want: usize) -> io::Result<usize> {
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

    /// The length in front of the next frame, `None` at a clean end.
    async fn length(&mut self, limit: usize) -> Result<Option<usize>, Error> {
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

    /// Reads one frame of at most `limit` bytes; `None` when the other side
    /// ended between two frames. An empty frame is `Some` of no bytes.
    ///
    /// # Errors
    /// See [`Error`]; the channel is of no use after one.
    pub async fn read_frame(&mut self, limit: usize) -> Result<Option<Bytes>, Error> {
        let Some(length) = self.length(limit).await? else {
            return Ok(None);
        };
        if (OWN..=STEP).contains(&length) && self.end < length {
            return self.read_own(length).await.map(Some);
        }
        while self.end < length {
            let want = (length - self.end).min(STEP);
            if self.fill(want).await? == 0 {
                return Err(Error::Truncated);
            }
        }
        Ok(Some(self.take(length)))
    }

    /// Reads the rest of a frame of `length` bytes, of which fewer are here, into
    /// a buffer of its own.
    async fn read_own(&mut self, length: usize) -> Result<Bytes, Error> {
        let mut buffer = self.pool.take(length);
        let bytes = buffer.bytes_mut();
        let mut filled = self.end;
        bytes[..filled].copy_from_slice(&self.buf[..filled]);
        // The scratch space stays for the next header.
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

    /// Reads one message of at most `limit` bytes; `None` when the other side
    /// ended between two messages. Its `bytes` fields share the frame's buffer.
    ///
    /// # Errors
    /// See [`Error`]; the channel is of no use after one.
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
    /// When the socket fails.
    pub async fn write<M: Message>(&mut self, message: &M) -> io::Result<()> {
        self.io
            .write_all(&message.encode_length_delimited_to_vec())
            .await
    }

    /// Writes one frame without copying `data`.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn write_frame(&mut self, data: &[u8]) -> io::Result<()> {
        let mut length = unsigned_varint::encode::u64_buffer();
        self.write_pair(
            unsigned_varint::encode::u64(data.len() as u64, &mut length),
            data,
        )
        .await
    }

    /// Writes `head` and `tail` as one, in as few system calls as the socket allows.
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

    /// Gives one byte at a time, as a slow peer does.
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
                // Eleven continuation bytes, more than 64 bits, a padded zero.
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
        // A small generator with fixed seeds: a failure can be repeated.
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
