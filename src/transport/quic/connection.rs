//! An established connection as libp2p's stream muxer.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};

use super::congestion::LastPacket;
use super::credit::Credit;
use super::options::Grants;
use super::window::Window;
use super::{Error, Stream};

type Opening =
    BoxFuture<'static, Result<(quinn::SendStream, quinn::RecvStream), quinn::ConnectionError>>;

/// An established QUIC connection. Closing or dropping it tells the remote
/// (CONNECTION_CLOSE with code 0) and ends all of its streams.
pub struct Connection {
    quinn: quinn::Connection,
    last: LastPacket,
    credit: Credit,
    window: Arc<Window>,
    accepting: Option<Opening>,
    opening: Option<Opening>,
    closing: Option<BoxFuture<'static, quinn::ConnectionError>>,
}

impl Connection {
    pub(super) fn new(quinn: quinn::Connection, last: LastPacket, grants: &Grants) -> Self {
        Self {
            window: Window::new(quinn.clone(), grants),
            quinn,
            last,
            credit: Credit::new(grants.max_inbound_streams),
            accepting: None,
            opening: None,
            closing: None,
        }
    }

    /// The remote's socket address.
    pub fn remote_address(&self) -> std::net::SocketAddr {
        self.quinn.remote_address()
    }

    /// The round trip time as measured so far.
    pub fn rtt(&self) -> std::time::Duration {
        self.quinn.rtt()
    }

    /// quinn's counters: bytes, packets, losses, the path's MTU and window.
    pub fn stats(&self) -> quinn::ConnectionStats {
        self.quinn.stats()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("remote", &self.quinn.remote_address())
            .finish_non_exhaustive()
    }
}

impl StreamMuxer for Connection {
    type Substream = Stream;
    type Error = Error;

    fn poll_inbound(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let this = self.get_mut();
        let accepting = this.accepting.get_or_insert_with(|| {
            let quinn = this.quinn.clone();
            async move { quinn.accept_bi().await }.boxed()
        });
        let result = ready!(accepting.poll_unpin(cx));
        this.accepting = None;
        let (send, recv) = result?;
        let (counted, more) = this.credit.opened(Instant::now(), this.quinn.rtt());
        if let Some(more) = more {
            this.quinn.set_max_concurrent_bi_streams(more.into());
        }
        Poll::Ready(Ok(Stream::new(
            send,
            recv,
            Some(counted),
            this.window.clone(),
        )))
    }

    fn poll_outbound(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let this = self.get_mut();
        let opening = this.opening.get_or_insert_with(|| {
            let quinn = this.quinn.clone();
            async move { quinn.open_bi().await }.boxed()
        });
        let result = ready!(opening.poll_unpin(cx));
        this.opening = None;
        let (send, recv) = result?;
        Poll::Ready(Ok(Stream::new(send, recv, None, this.window.clone())))
    }

    fn poll(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        // quinn drives the connection in a task of its own, and the address
        // never changes because migration is off.
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let this = self.get_mut();
        let closing = this.closing.get_or_insert_with(|| {
            this.last.allow();
            this.quinn.close(quinn::VarInt::from_u32(0), &[]);
            let quinn = this.quinn.clone();
            async move { quinn.closed().await }.boxed()
        });
        match ready!(closing.poll_unpin(cx)) {
            // Closed by this side, or by the remote a moment earlier: it is closed.
            quinn::ConnectionError::LocallyClosed
            | quinn::ConnectionError::ApplicationClosed(_) => Poll::Ready(Ok(())),
            error => Poll::Ready(Err(error.into())),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Streams keep quinn's connection alive. Without its muxer nothing would
        // ever close it.
        self.last.allow();
        self.quinn.close(quinn::VarInt::from_u32(0), &[]);
    }
}
