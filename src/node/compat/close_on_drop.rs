//! Closes a connection in order when libp2p merely drops it.
//!
//! # What libp2p lacks
//!
//! The swarm closes a connection properly when it is told to. A connection that has been
//! idle for too long, however, it drops: yamux sends no go-away, TLS no close_notify, and
//! the other side sees a broken connection.
//!
//! # What is done instead
//!
//! The muxer closes itself in a task of its own when it is dropped before it has ended.
//!
//! # What would make this superfluous
//!
//! A swarm that calls `poll_close` of the muxer when a connection's keep-alive ends.
//! <https://github.com/libp2p/rust-libp2p/issues/2722>, which changed the
//! interface of muxers, has comments about what happens to the muxer of a connection that
//! ends in this way; no issue asks for the change alone.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::poll_fn;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};

use crate::telemetry::coop;

/// How long the closing may take. It sends a few dozen bytes, which leave at once unless
/// the remote has read nothing for a long time. Meanwhile no count includes the
/// connection, so this also bounds how many more descriptors there can be than are
/// counted: 64 at once at the default rate.
const PATIENCE: Duration = Duration::from_secs(1);

/// A muxer that is closed when it is dropped.
pub(in crate::node) struct CloseOnDrop {
    /// `None` when it has been closed or is broken.
    inner: Option<StreamMuxerBox>,
}

impl CloseOnDrop {
    pub(in crate::node) fn new(inner: StreamMuxerBox) -> Self {
        CloseOnDrop { inner: Some(inner) }
    }

    fn poll_inner<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut StreamMuxerBox>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let answer = poll(Pin::new(inner));
        if matches!(answer, Poll::Ready(Err(_))) {
            self.inner = None;
        }
        answer
    }
}

impl StreamMuxer for CloseOnDrop {
    type Substream = SubstreamBox;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<SubstreamBox>> {
        self.poll_inner(|inner| inner.poll_inbound(cx))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<SubstreamBox>> {
        self.poll_inner(|inner| inner.poll_outbound(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let answer = self.poll_inner(|inner| inner.poll_close(cx));
        if answer.is_ready() {
            self.inner = None;
        }
        answer
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        self.poll_inner(|inner| inner.poll(cx))
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let Some(mut inner) = self.inner.take() else {
            return;
        };
        async_std::task::spawn(coop::watch("closing connection", async move {
            let closing = poll_fn(|cx| Pin::new(&mut inner).poll_close(cx));
            // Whether the remote hears of it does not matter any more.
            let _ = async_std::future::timeout(PATIENCE, closing).await;
        }));
    }
}
