//! The multiplexer: yamux with this node's own windows, frames and stream counts.
//!
//! `libp2p-yamux` hides the settings that matter for throughput and for memory, so this
//! is another adapter over the same `yamux` crate.
//! Specification: <https://github.com/libp2p/specs/blob/master/yamux/README.md>.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::iter;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use futures::future::{self, Ready};
use futures::task::AtomicWaker;
use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use prometheus::IntCounter;

use super::coalesce::Coalesce;
use crate::rate::Pace;
use crate::telemetry::throttle;

/// Payload bytes of the largest frame sent. Four times the crate's default:
/// fewer frames and wake-ups for bulk data. go-libp2p sends the same size, so
/// every implementation takes it, and it delays other streams by well under a
/// millisecond at 1 Gbit/s.
const FRAME: usize = 64 * 1024;

/// Receive window that every stream has from its start, by the specification.
const DEFAULT_WINDOW: usize = 256 * 1024;

/// Bytes by which the windows of all streams of a connection together may grow
/// beyond the default, as their traffic is measured. 16 MiB carry 1 Gbit/s over
/// 128 ms, and are the most that a remote can make this node hold beyond what
/// the specification grants it; the crate's default is 1 GiB.
const WINDOW_GROWTH: usize = 16 * 1024 * 1024;

/// Streams that yamux may know beyond the configured ones: refused or dropped
/// here, not yet removed there. Only when a remote exceeds this does yamux end
/// the connection.
const SLACK: usize = 64;

/// Inbound streams that wait for the swarm to take them; more are reset. Peers
/// that respect the protocol's acknowledgement backlog never have more under way.
const MAX_WAITING: usize = 256;

/// Inbound streams beyond the limit that a peer may open a second, for long, and
/// at once. Each is reset, which costs this node 5 µs and the peer nothing. A peer that
/// sees the resets and continues is disconnected, whether it resets its own streams or
/// not (the "rapid reset" of HTTP/2, CVE-2023-44487). Streams that this node takes at its
/// own pace (`node/accounting`, 500 a second) are not beyond the limit, so this concerns a peer
/// that opens three times as many as it is given, for long; one that opens somewhat more
/// is only slowed. A peer that respects the acknowledgement backlog has 256 streams under
/// way at most.
const SURPLUS: u32 = 1000;
/// See [`SURPLUS`].
const SURPLUS_AT_ONCE: u32 = 1024;

/// The yamux upgrade, for both directions.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    max_inbound: usize,
    max_outbound: usize,
    refused: Option<IntCounter>,
}

impl Config {
    /// Concurrent streams of one connection: those that the remote opened, and
    /// those that this node opened.
    pub(crate) fn new(max_inbound: usize, max_outbound: usize) -> Self {
        Config {
            max_inbound,
            max_outbound,
            refused: None,
        }
    }

    /// Counts the inbound streams that are over the limit.
    pub(crate) fn counting(mut self, refused: Option<IntCounter>) -> Self {
        self.refused = refused;
        self
    }

    fn yamux(&self) -> yamux::Config {
        let streams = self
            .max_inbound
            .saturating_add(self.max_outbound)
            .saturating_add(SLACK);
        let windows = streams
            .saturating_mul(DEFAULT_WINDOW)
            .saturating_add(WINDOW_GROWTH);
        let mut config = yamux::Config::default();
        // In this order: each setter asserts that the two fit together.
        config.set_max_connection_receive_window(None);
        config.set_max_num_streams(streams);
        config.set_max_connection_receive_window(Some(windows));
        config.set_split_send_size(FRAME);
        config
    }

    fn muxer<C>(&self, socket: C, mode: yamux::Mode) -> Muxer<C>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        Muxer {
            connection: yamux::Connection::new(Coalesce::new(socket), self.yamux(), mode),
            inbound: Arc::new(Count::new(self.max_inbound)),
            outbound: Arc::new(Count::new(self.max_outbound)),
            waiting: VecDeque::new(),
            inbound_waker: None,
            surplus: None,
            refused: self.refused.clone(),
        }
    }
}

impl UpgradeInfo for Config {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<Result<Muxer<C>, io::Error>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        future::ok(self.muxer(socket, yamux::Mode::Server))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<Result<Muxer<C>, io::Error>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        future::ok(self.muxer(socket, yamux::Mode::Client))
    }
}

/// How many streams of one direction are open now.
#[derive(Debug)]
struct Count {
    open: AtomicUsize,
    max: usize,
    /// The task that waits for a stream of this direction to end.
    waker: AtomicWaker,
}

impl Count {
    fn new(max: usize) -> Self {
        Count {
            open: AtomicUsize::new(0),
            max,
            waker: AtomicWaker::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.open.load(Ordering::Acquire) >= self.max
    }

    fn enter(self: &Arc<Self>) -> Counted {
        self.open.fetch_add(1, Ordering::AcqRel);
        Counted(self.clone())
    }
}

/// Counts one open stream in a [`Count`] until it is dropped.
#[derive(Debug)]
struct Counted(Arc<Count>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.waker.wake();
    }
}

/// A multiplexed connection.
#[derive(Debug)]
pub(crate) struct Muxer<C> {
    connection: yamux::Connection<Coalesce<C>>,
    inbound: Arc<Count>,
    outbound: Arc<Count>,
    /// Streams that arrived while the swarm polled for something else. Yamux
    /// makes progress only by looking for inbound streams, so they come
    /// unasked; at most [`MAX_WAITING`].
    waiting: VecDeque<Stream>,
    inbound_waker: Option<Waker>,
    /// Counts inbound streams that are refused.
    refused: Option<IntCounter>,
    /// The pace of inbound streams that are refused, once there was one.
    surplus: Option<Box<Pace>>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    /// Drives the connection until a stream arrives. Streams over the limit are
    /// reset on the way.
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, Error>> {
        loop {
            let stream = match ready!(self.connection.poll_next_inbound(cx)) {
                Some(Ok(stream)) => stream,
                Some(Err(e)) => return Poll::Ready(Err(e.into())),
                None => return Poll::Ready(Err(yamux::ConnectionError::Closed.into())),
            };
            if !self.inbound.is_full() && self.waiting.len() < MAX_WAITING {
                let counted = self.inbound.enter();
                return Poll::Ready(Ok(Stream {
                    stream,
                    _counted: counted,
                }));
            }
            if let Some(refused) = &self.refused {
                refused.inc();
            }
            // Logged once for each connection, and at most once a minute in all: a
            // remote must not fill the log, neither with streams nor with connections.
            if self.surplus.is_none()
                && let Some(suppressed) = throttle::allow("surplus inbound streams")
            {
                log::warn!(limit = self.inbound.max, suppressed;
                    "a peer opened more streams at once than P2P_MAX_INBOUND_STREAMS allows; the surplus is reset");
            }
            drop(stream);
            let now = Instant::now();
            let surplus = self
                .surplus
                .get_or_insert_with(|| Box::new(Pace::new(SURPLUS, SURPLUS_AT_ONCE, now)));
            if surplus.take(now).is_err() {
                return Poll::Ready(Err(Error::Flood));
            }
        }
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, Error>> {
        if let Some(stream) = self.waiting.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        if let Poll::Ready(result) = self.poll_connection(cx) {
            return Poll::Ready(result);
        }
        self.inbound_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, Error>> {
        if self.outbound.is_full() {
            // Register first, then look again: a stream may end in between.
            self.outbound.waker.register(cx.waker());
            if self.outbound.is_full() {
                return Poll::Pending;
            }
        }
        let stream = ready!(self.connection.poll_new_outbound(cx)).map_err(Error::from)?;
        let counted = self.outbound.enter();
        Poll::Ready(Ok(Stream {
            stream,
            _counted: counted,
        }))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.connection.poll_close(cx).map_err(Error::from)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Error>> {
        let stream = ready!(self.poll_connection(cx))?;
        self.waiting.push_back(stream);
        if let Some(waker) = self.inbound_waker.take() {
            waker.wake();
        }
        // The connection has to be driven on; other tasks first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A stream of a multiplexed connection. Dropping it before it is closed resets it.
#[derive(Debug)]
pub(crate) struct Stream {
    stream: yamux::Stream,
    _counted: Counted,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read_vectored(cx, bufs)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// Why a multiplexed connection failed or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It broke, or the peer closed it.
    #[error("multiplexed connection: {0}")]
    Connection(#[from] yamux::ConnectionError),
    /// The peer continues to open streams although they are refused.
    #[error(
        "the peer opened {SURPLUS_AT_ONCE} streams beyond this node's limit, which were reset, and went on; it may have more at once with a higher P2P_MAX_INBOUND_STREAMS"
    )]
    Flood,
}

#[cfg(test)]
mod tests;
