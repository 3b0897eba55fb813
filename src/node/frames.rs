//! Framed streams that allocate no buffers before the first byte.
//!
//! By default a framed stream allocates 8 KiB for each direction. Gossipsub keeps two
//! such streams with every peer, one for each direction, so that half of their 32 KiB is
//! never used, and the other half holds little more than subscriptions when nobody
//! publishes. Buffers that begin empty grow to the size of what is sent.

use std::convert::Infallible;

use asynchronous_codec::{Decoder, Encoder, Framed};
use bytes::BytesMut;
use futures::future::Either;
use futures::{AsyncRead, AsyncWrite};

/// The output of an upgrade that has not moved any bytes yet.
pub(super) trait Fresh {
    /// Returns the same output with empty buffers.
    fn without_buffers(self) -> Self;
}

impl<T, C, K> Fresh for (Framed<T, C>, K)
where
    T: AsyncRead + AsyncWrite,
    C: Decoder + Encoder,
{
    fn without_buffers(self) -> Self {
        let mut parts = self.0.into_parts();
        // Keep what it has read ahead.
        for buffer in [&mut parts.read_buffer, &mut parts.write_buffer] {
            if buffer.is_empty() {
                *buffer = BytesMut::new();
            }
        }
        (Framed::from_parts(parts), self.1)
    }
}

impl<F: Fresh> Fresh for Either<F, Infallible> {
    fn without_buffers(self) -> Self {
        match self {
            Either::Left(fresh) => Either::Left(fresh.without_buffers()),
            Either::Right(never) => match never {},
        }
    }
}

#[cfg(test)]
mod tests {
    use async_std::task::block_on;
    use asynchronous_codec::LengthCodec;
    use bytes::Bytes;
    use futures::io::Cursor;
    use futures::{SinkExt, StreamExt};

    use super::*;

    #[test]
    fn an_idle_stream_owns_no_buffers_and_frames_pass_as_before() {
        let framed = Framed::new(Cursor::new(Vec::new()), LengthCodec);
        assert!(framed.read_buffer().capacity() > 0);
        let (mut framed, ()) = (framed, ()).without_buffers();
        assert_eq!(framed.read_buffer().capacity(), 0);
        let large = Bytes::from(vec![7; 100_000]);
        block_on(async {
            for frame in [Bytes::from_static(b"one"), large.clone()] {
                framed.send(frame).await.unwrap();
            }
            framed.set_position(0);
            assert_eq!(framed.next().await.unwrap().unwrap(), &b"one"[..]);
            assert_eq!(framed.next().await.unwrap().unwrap(), large);
        });
    }

    #[test]
    fn what_was_read_ahead_is_not_lost() {
        let bytes = Cursor::new(b"\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\x01b".to_vec());
        let mut framed = Framed::new(bytes, LengthCodec);
        block_on(async {
            assert_eq!(framed.next().await.unwrap().unwrap(), &b"a"[..]);
            let (mut framed, ()) = (framed, ()).without_buffers();
            assert_eq!(framed.next().await.unwrap().unwrap(), &b"b"[..]);
        });
    }
}
