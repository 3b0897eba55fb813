//! Says goodbye when a connection is given up.
//!
//! libp2p closes a connection properly when it is told to. When one has been idle
//! for too long it merely drops it: yamux sends no go-away, TLS no close_notify,
//! and the other side sees a break where there was none. So the muxer closes
//! itself in a task of its own when it is dropped before it has ended.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::poll_fn;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};

/// How long a goodbye may take. It is a few dozen bytes, which leave at once unless
/// the remote has read nothing for long. As long as it takes the connection is in
/// no count, so this is also how many more descriptors there can be than counted:
/// at the default rate 64 at once.
const GOODBYE: Duration = Duration::from_secs(1);

/// See the module's documentation.
pub(super) struct Parting {
    /// `None` when it has been closed or is broken.
    inner: Option<StreamMuxerBox>,
}

impl Parting {
    pub(super) fn new(inner: StreamMuxerBox) -> Self {
        Parting { inner: Some(inner) }
    }

    fn ask<T>(
        &mut self,
        question: impl FnOnce(Pin<&mut StreamMuxerBox>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let answer = question(Pin::new(inner));
        if matches!(answer, Poll::Ready(Err(_))) {
            self.inner = None;
        }
        answer
    }
}

impl StreamMuxer for Parting {
    type Substream = SubstreamBox;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<SubstreamBox>> {
        self.ask(|inner| inner.poll_inbound(cx))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<SubstreamBox>> {
        self.ask(|inner| inner.poll_outbound(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let answer = self.ask(|inner| inner.poll_close(cx));
        if answer.is_ready() {
            self.inner = None;
        }
        answer
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        self.ask(|inner| inner.poll(cx))
    }
}

impl Drop for Parting {
    fn drop(&mut self) {
        let Some(mut inner) = self.inner.take() else {
            return;
        };
        async_std::task::spawn(async move {
            let goodbye = poll_fn(|cx| Pin::new(&mut inner).poll_close(cx));
            // Whether it arrives is of no account: the connection is given up.
            let _ = async_std::future::timeout(GOODBYE, goodbye).await;
        });
    }
}
