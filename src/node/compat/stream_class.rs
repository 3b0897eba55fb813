//! Tells the stream below libp2p what the stream above it is for.
//!
//! # What libp2p lacks
//!
//! The muxer that the swarm gets makes each stream, and `accounting` wraps it there, where
//! every byte passes. Which protocol a stream carries is known only later and further
//! up, to the connection handler that negotiated it. Between the two lies
//! [`libp2p::Stream`], which owns a boxed `SubstreamBox`: neither gives access to the
//! stream inside, has an identity, or carries data of the user's.
//!
//! # What is done instead
//!
//! The one thing that passes through libp2p's stream unchanged is a call of
//! [`AsyncWrite::poll_write`]. So the upper side writes an empty slice that nobody else
//! can have: one that points into the middle of a private static. The lower side
//! compares the address of each empty slice that it is given, keeps what the stream is
//! for in a field of its own, and passes nothing on.
//!
//! - The word goes down through the stream itself, so it reaches the stream below and no
//!   other. Nothing is left behind that another stream or another task could read.
//! - It is said once for a stream, right after negotiation and before the protocol's
//!   first byte. What was negotiated counts as the node's own, as it should.
//! - An empty slice from elsewhere never has the same address: it either dangles at a
//!   small constant, or points to the begin, the inside or the end of another
//!   allocation, none of which lies inside this one.
//! - Under [`upgrade::Version::V1Lazy`], libp2p's stream could hold the call back until
//!   negotiation has ended. The swarm uses `V1` for streams unless it is told otherwise,
//!   and this node does not tell it. If libp2p came to keep empty writes to itself, no
//!   bytes would count as bulk any more, which the tests of `streams` notice.
//!
//! # What would make this superfluous
//!
//! A way through [`libp2p::Stream`] and `SubstreamBox` to the stream inside, such as
//! `get_ref` with a downcast; or the negotiated protocol told to the muxer, which the
//! count of bytes by protocol that libp2p wants needs too
//! (<https://github.com/libp2p/rust-libp2p/issues/3262>).
//!
//! [`upgrade::Version::V1Lazy`]: libp2p::core::upgrade::Version::V1Lazy

use std::pin::Pin;
use std::task::{Context, Waker};

use futures::AsyncWrite;

/// Its second byte has an address that no other object in the program touches.
static WORD: [u8; 2] = [0; 2];

/// Tells the stream below `stream` that it carries content, or is a program's.
pub(in crate::node) fn mark_as_bulk(stream: &mut (impl AsyncWrite + Unpin)) {
    // The stream below answers at once, so nobody has to be woken.
    let mut cx = Context::from_waker(Waker::noop());
    let _ = Pin::new(stream).poll_write(&mut cx, &WORD[1..1]);
}

/// Whether what is being written is the word of [`mark_as_bulk`]. It has no bytes, and
/// is not to be passed on.
#[inline]
pub(in crate::node) fn is_mark(written: &[u8]) -> bool {
    written.is_empty() && std::ptr::eq(written.as_ptr(), &WORD[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_empty_slice_is_the_mark() {
        assert!(is_mark(&WORD[1..1]));
        let heap = Box::new([0; 2]);
        for other in [
            &[][..],
            &[0][1..],
            &heap[..0],
            &heap[2..],
            &WORD[..0],
            &WORD[2..],
        ] {
            assert!(other.is_empty() && !is_mark(other));
        }
        assert!(!is_mark(&WORD[1..]), "bytes are to be passed on");
    }
}
