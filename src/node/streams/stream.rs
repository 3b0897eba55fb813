//! A stream of content or of a program, with the limits of the node.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};
use libp2p::PeerId;

use super::idle::{Half, Idle, Over, Watch};
use super::slots::Slot;
use crate::node::bandwidth::{Bandwidth, Class, Turn};
use crate::node::compat::stream_class;
use crate::telemetry::Direction;

/// The limits that apply to every stream.
#[derive(Clone, Debug)]
pub(in crate::node) struct Terms {
    /// The bandwidth limits of the whole node.
    pub(in crate::node) bandwidth: Bandwidth,
    /// Ends streams on which no data moves.
    pub(in crate::node) idle: Idle,
}

/// A stream to a peer. It waits for its turn if the node has a bandwidth limit
/// (P2P_MAX_UPLOAD_RATE, P2P_MAX_DOWNLOAD_RATE), and fails if no data has moved on it
/// for P2P_STREAM_IDLE_TIMEOUT. It counts among the streams of its connection (those
/// that this node opened are bounded by P2P_MAX_OUTBOUND_STREAMS), and keeps the
/// connection alive until it is dropped. Dropping it resets what was not closed.
#[derive(Debug)]
pub struct PeerStream {
    inner: libp2p::Stream,
    peer: PeerId,
    /// Its connection runs inside a stream of another connection, which is charged.
    relayed: bool,
    bandwidth: Bandwidth,
    watch: Watch,
    /// Its turn under a bandwidth limit, once it has moved bytes.
    read: Option<Box<Turn>>,
    write: Option<Box<Turn>>,
    /// Its place among the streams of its connection.
    _slot: Option<Slot>,
}

impl PeerStream {
    pub(super) fn new(
        mut inner: libp2p::Stream,
        peer: PeerId,
        relayed: bool,
        terms: &Terms,
        slot: Option<Slot>,
    ) -> Self {
        stream_class::mark_as_bulk(&mut inner);
        PeerStream {
            inner,
            peer,
            relayed,
            bandwidth: terms.bandwidth.clone(),
            watch: terms.idle.watch(),
            read: None,
            write: None,
            _slot: slot,
        }
    }

    /// Resolves when no data has moved on the stream for P2P_STREAM_IDLE_TIMEOUT,
    /// even while nobody uses it. Only one caller may wait for a stream at a time.
    pub fn over(&self) -> Over {
        self.watch.over()
    }

    /// How many of `want` bytes may be moved now, or `None` without a limit.
    fn poll_turn(
        &mut self,
        half: Half,
        want: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<usize>>> {
        self.watch.check()?;
        let (turn, direction) = match half {
            Half::Read => (&mut self.read, Direction::In),
            Half::Write => (&mut self.write, Direction::Out),
        };
        let shaper = self.bandwidth.shaper(direction);
        if !shaper.limited() {
            // It may have been waiting when the limit was removed.
            if turn.take().is_some_and(|turn| turn.waiting()) {
                self.watch.queued(half, false);
            }
            return Poll::Ready(Ok(None));
        }
        let peer = self.peer;
        let turn = turn.get_or_insert_with(|| Box::new(Turn::new(shaper, Class::Bulk, peer)));
        let waited = turn.waiting();
        match turn.poll(cx, want) {
            Poll::Ready(granted) => {
                if waited {
                    self.watch.queued(half, false);
                }
                Poll::Ready(Ok(Some(granted)))
            }
            Poll::Pending => {
                self.watch.queued(half, true);
                Poll::Pending
            }
        }
    }

    /// Ends an operation that was granted some bytes.
    fn moved(
        &mut self,
        half: Half,
        granted: Option<usize>,
        result: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let bytes = match &result {
            Poll::Ready(Ok(bytes)) => *bytes,
            _ => 0,
        };
        if bytes > 0 {
            self.watch.moved();
        }
        let turn = match half {
            Half::Read => &self.read,
            Half::Write => &self.write,
        };
        if let (Some(granted), Some(turn)) = (granted, turn) {
            let charged_below = if self.relayed { 0 } else { bytes };
            turn.give_back(granted.saturating_sub(charged_below));
        }
        if result.is_pending() {
            return self.watch.pending(half, cx);
        }
        result
    }

    fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
        work: impl FnOnce(Pin<&mut libp2p::Stream>, &mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        self.watch.check()?;
        let inner = Pin::new(&mut self.inner);
        match work(inner, cx) {
            Poll::Pending => self.watch.pending(Half::Write, cx),
            done => done,
        }
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let granted = ready!(self.poll_turn(Half::Read, buf.len(), cx))?;
        let most = granted.unwrap_or(buf.len());
        let inner = Pin::new(&mut self.inner);
        let result = inner.poll_read(cx, &mut buf[..most]);
        self.moved(Half::Read, granted, result, cx)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.bandwidth.shaper(Direction::In).limited() {
            let first = bufs.iter_mut().find(|buf| !buf.is_empty());
            return self.poll_read(cx, first.map_or(&mut [], |buf| buf));
        }
        ready!(self.poll_turn(Half::Read, 0, cx))?;
        let inner = Pin::new(&mut self.inner);
        let result = inner.poll_read_vectored(cx, bufs);
        self.moved(Half::Read, None, result, cx)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let granted = ready!(self.poll_turn(Half::Write, buf.len(), cx))?;
        let most = granted.unwrap_or(buf.len());
        let inner = Pin::new(&mut self.inner);
        let result = inner.poll_write(cx, &buf[..most]);
        self.moved(Half::Write, granted, result, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.bandwidth.shaper(Direction::Out).limited() {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.poll_write(cx, first.map_or(&[], |buf| buf));
        }
        ready!(self.poll_turn(Half::Write, 0, cx))?;
        let inner = Pin::new(&mut self.inner);
        let result = inner.poll_write_vectored(cx, bufs);
        self.moved(Half::Write, None, result, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_end(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_end(cx, |stream, cx| stream.poll_close(cx))
    }
}
