//! Lets streams of frames begin without buffers.
//!
//! # What libp2p lacks
//!
//! A stream that is cut into frames is made with a buffer of 8 KiB for each direction.
//! Gossipsub keeps two such streams with every peer, one for each direction, so half of
//! their 32 KiB is never used, and the other half holds little more than subscriptions
//! where nobody publishes. Gossipsub makes the streams itself and has no option for the
//! size of their buffers.
//!
//! # What is done instead
//!
//! [`no_keep_alive`](super::no_keep_alive), which wraps the upgrades of gossipsub's
//! streams anyway, replaces the empty buffers by ones without capacity. Those grow to the
//! size of what is sent.
//!
//! # What would make this superfluous
//!
//! An option of gossipsub for the buffers, or a `Framed` of `asynchronous-codec` that
//! allocates when it first needs to.
//! <https://github.com/libp2p/rust-asynchronous-codec/pull/12>, which is open, lets the
//! user of a `FramedRead` choose the capacity of its buffer.

use std::convert::Infallible;

use asynchronous_codec::{Decoder, Encoder, Framed};
use bytes::BytesMut;
use futures::future::Either;
use futures::{AsyncRead, AsyncWrite};

/// The outcome of an upgrade, before it has moved any bytes.
pub(super) trait WithoutBuffers {
    /// The same stream, with buffers that have no capacity where they are empty.
    fn without_buffers(self) -> Self;
}

impl<T, C, K> WithoutBuffers for (Framed<T, C>, K)
where
    T: AsyncRead + AsyncWrite,
    C: Decoder + Encoder,
{
    fn without_buffers(self) -> Self {
        let mut parts = self.0.into_parts();
        // A buffer that holds bytes which were read ahead stays.
        for buffer in [&mut parts.read_buffer, &mut parts.write_buffer] {
            if buffer.is_empty() {
                *buffer = BytesMut::new();
            }
        }
        (Framed::from_parts(parts), self.1)
    }
}

impl<F: WithoutBuffers> WithoutBuffers for Either<F, Infallible> {
    fn without_buffers(self) -> Self {
        match self {
            Either::Left(stream) => Either::Left(stream.without_buffers()),
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
