//! Streams that this side only writes to.
//!
//! Nobody reads what a remote sends on such a stream, so it would lie in its window until
//! the end of the connection. A stream that was told to be one way takes nothing: over
//! yamux, the first byte that arrives resets it; over QUIC, the remote is asked to stop,
//! and what it sends all the same is dropped by quinn.
//!
//! The word is said through the stream itself, as an empty write that nobody else can
//! make: one whose slice points into the middle of a private static. So it passes through
//! all layers between the protocol and the multiplexer, none of which knows of it (see
//! `node::compat::stream_class`, which explains why it has to be like that).

use std::pin::Pin;
use std::task::{Context, Waker};

use futures::AsyncWrite;

/// Its second byte has an address that no other object in the program touches.
static WORD: [u8; 2] = [1; 2];

/// Tells the multiplexer below `stream` that nobody will read from it.
pub(crate) fn declare(stream: &mut (impl AsyncWrite + Unpin)) {
    // The stream below answers at once, so nobody has to be woken.
    let mut cx = Context::from_waker(Waker::noop());
    let _ = Pin::new(stream).poll_write(&mut cx, &WORD[1..1]);
}

/// Whether what is being written is the word of [`declare`], which has no bytes.
#[inline]
pub(crate) fn is_declared(written: &[u8]) -> bool {
    written.is_empty() && std::ptr::eq(written.as_ptr(), &WORD[1])
}
