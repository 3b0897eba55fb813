//! Messages on a stream: protobuf, preceded by the length as a varint.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use prost::Message;

use super::pb::exchange::{Request, Response, Status};
use super::pb::message::Block;
use crate::message::varint;
use crate::system::pool::Pool;

/// The number of bytes to read at once while the next length is unknown. It is the size
/// of one yamux frame.
const READ_AHEAD: usize = 16 << 10;

/// How many bytes of a block are written together with its header. A header alone would
/// become a separate frame in every layer below.
const LEAD: usize = 15 << 10;

/// The number of unused buffers of large frames that a reader keeps. A fetch verifies and
/// stores this many together, and so gives them back together.
const SPARE: usize = 8;

/// Why the stream cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream failed or ended inside a frame.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
    /// The length in front of a frame exceeds the limit.
    #[error("a frame of {len} bytes is over the limit of {max}")]
    TooLarge {
        /// The length that the peer stated.
        len: u64,
        /// The limit.
        max: usize,
    },
    /// The length in front of a frame is not a varint.
    #[error("a frame's length is not a varint")]
    Length,
    /// The frame is not a valid message.
    #[error("a frame does not decode: {0}")]
    Decode(#[from] prost::DecodeError),
}

impl FrameError {
    /// Returns whether the peer violated the protocol, rather than just losing the
    /// connection.
    pub fn is_violation(&self) -> bool {
        !matches!(self, FrameError::Io(_))
    }
}

/// Reads frames from a stream.
#[derive(Debug)]
pub struct FrameReader<R> {
    io: R,
    max: usize,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    received: Arc<AtomicU64>,
    pool: Pool,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Creates a reader of frames of at most `max` bytes from `io`.
    pub fn new(io: R, max: usize) -> Self {
        FrameReader {
            io,
            max,
            buffer: vec![0; READ_AHEAD].into_boxed_slice(),
            start: 0,
            end: 0,
            received: Arc::default(),
            pool: Pool::new(SPARE),
        }
    }

    /// Returns a counter of the bytes that have arrived, including those of an unfinished
    /// frame.
    pub fn received(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.received)
    }

    /// Returns the bytes of the next frame, or `None` when the peer has closed its half
    /// between two frames. If the future is dropped before it is ready, the stream cannot
    /// be used any more.
    ///
    /// # Errors
    /// See [`FrameError`]. Nothing is allocated for a length that exceeds the limit.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        let len = loop {
            let have = &self.buffer[self.start..self.end];
            match varint::decode(have) {
                Ok((len, rest)) => {
                    self.start = self.end - rest.len();
                    break len;
                }
                Err(unsigned_varint::decode::Error::Insufficient) => {}
                Err(_) => return Err(FrameError::Length),
            }
            // The rest is the beginning of a varint, which has at most nine bytes.
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            let n = self.io.read(&mut self.buffer[self.end..]).await?;
            if n == 0 {
                if self.end == 0 {
                    return Ok(None);
                }
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.received.fetch_add(n as u64, Ordering::Relaxed);
            self.end += n;
        };
        let size = usize::try_from(len)
            .ok()
            .filter(|len| *len <= self.max)
            .ok_or(FrameError::TooLarge { len, max: self.max })?;
        let mut buffer = self.pool.take(size);
        let frame = buffer.bytes_mut();
        let have = size.min(self.end - self.start);
        frame[..have].copy_from_slice(&self.buffer[self.start..self.start + have]);
        self.start += have;
        let mut filled = have;
        while filled < size {
            let n = self.io.read(&mut frame[filled..]).await?;
            if n == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.received.fetch_add(n as u64, Ordering::Relaxed);
            filled += n;
        }
        Ok(Some(buffer.freeze()))
    }

    /// Returns the next request, or `None` at the end.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub async fn request(&mut self) -> Result<Option<Request>, FrameError> {
        Ok(match self.next().await? {
            Some(frame) => Some(Request::decode(frame)?),
            None => None,
        })
    }

    /// Returns the next response, or `None` at the end. The block shares the memory of
    /// the frame.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub async fn response(&mut self) -> Result<Option<Response>, FrameError> {
        Ok(match self.next().await? {
            Some(frame) => Some(Response::decode(frame)?),
            None => None,
        })
    }
}

/// Writes a request, or a response without a block.
pub(crate) async fn write_message<W, M>(io: &mut W, message: &M) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
    M: Message,
{
    io.write_all(&message.encode_length_delimited_to_vec())
        .await
}

/// Writes a response with a block. The block is not copied, except for its first
/// kilobytes, which are written together with the header.
pub(crate) async fn write_block<W>(io: &mut W, id: u64, block: &Block) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let data = &block.data;
    let lead = data.len().min(LEAD);
    let mut head = block_head(id, block);
    head.extend_from_slice(&data[..lead]);
    io.write_all(&head).await?;
    io.write_all(&data[lead..]).await
}

/// Returns the length prefix and every field of the frame except for the block's bytes,
/// which follow it.
fn block_head(id: u64, block: &Block) -> Vec<u8> {
    fn field(out: &mut Vec<u8>, tag: u8, value: u64) {
        let mut buffer = unsigned_varint::encode::u64_buffer();
        out.push(tag);
        out.extend(unsigned_varint::encode::u64(value, &mut buffer));
    }
    // The encoder writes everything but `data`. Protobuf readers accept fields in any
    // order, and when `data` is the last one, it can be written without copying it.
    let len = block.data.len();
    let before = Block {
        data: Bytes::new(),
        ..block.clone()
    };
    let mut fields = before.encode_to_vec();
    field(&mut fields, 2 << 3 | 2, len as u64);

    let mut message = Vec::with_capacity(fields.len() + 24);
    field(&mut message, 1 << 3, id);
    field(&mut message, 2 << 3, Status::Block as u64);
    field(&mut message, 3 << 3 | 2, (fields.len() + len) as u64);
    message.extend(fields);

    let mut head = Vec::with_capacity(message.len() + 10 + LEAD.min(len));
    let mut buffer = unsigned_varint::encode::u64_buffer();
    head.extend(unsigned_varint::encode::u64(
        (message.len() + len) as u64,
        &mut buffer,
    ));
    head.extend(message);
    head
}

#[cfg(test)]
mod tests {
    use super::super::FRAME_OVERHEAD;
    use super::super::pb::exchange::Want;
    use super::*;
    use crate::message::publisher::{MAX_KEY_BYTES, MAX_SIGNATURE_BYTES};
    use async_std::task::block_on;

    #[test]
    fn a_block_written_by_hand_reads_as_the_message() {
        for len in [0, 1, LEAD - 1, LEAD, LEAD + 1, 1 << 20] {
            // Every field has its maximum size.
            let sent = Block {
                hash: vec![1; 34].into(),
                data: vec![7; len].into(),
                timestamp: u64::MAX,
                ttl: u32::MAX,
                version: u32::MAX,
                signature: vec![3; MAX_SIGNATURE_BYTES].into(),
                key: vec![2; MAX_KEY_BYTES].into(),
                compression: 1,
            };
            let mut wire = Vec::new();
            block_on(write_block(&mut wire, 300, &sent)).unwrap();
            block_on(write_block(&mut wire, u64::MAX, &sent)).unwrap();
            let mut reader = FrameReader::new(&wire[..], len + FRAME_OVERHEAD);
            for id in [300, u64::MAX] {
                let response = block_on(reader.response()).unwrap().unwrap();
                assert_eq!(response.id, id);
                assert_eq!(response.status(), Status::Block);
                assert_eq!(response.block, Some(sent.clone()));
            }
            assert!(block_on(reader.response()).unwrap().is_none());
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_its_bytes() {
        let wire = [0xff, 0xff, 0xff, 0xff, 0x7f];
        let error = block_on(FrameReader::new(&wire[..], 100).next()).unwrap_err();
        assert!(
            matches!(error, FrameError::TooLarge { max: 100, .. }),
            "{error}"
        );
        assert!(error.is_violation());
        let wire = [0xff; 11];
        assert!(matches!(
            block_on(FrameReader::new(&wire[..], 100).next()),
            Err(FrameError::Length)
        ));
    }

    #[test]
    fn every_cut_of_a_frame_is_an_error_and_the_whole_is_not() {
        let request = Request {
            wants: vec![Want {
                id: 1,
                cid: vec![1; 200].into(),
                have_only: true,
            }],
            cancel: vec![5],
        };
        let wire = request.encode_length_delimited_to_vec();
        for end in 1..wire.len() {
            let result = block_on(FrameReader::new(&wire[..end], 1000).request());
            assert!(matches!(result, Err(FrameError::Io(_))), "cut at {end}");
        }
        let mut reader = FrameReader::new(&wire[..], 1000);
        assert_eq!(block_on(reader.request()).unwrap(), Some(request));
    }
}
