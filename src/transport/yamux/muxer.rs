//! The connection as the swarm sees it: reads and writes the bytes below, in turns.
//!
//! # Why no byte is stranded
//!
//! The task that drives the connection waits only in two states. Either reading below is
//! pending: then everything that was to be sent has been written and flushed below, or
//! writing is pending too. Or reading is put off, because the remote sends too many
//! frames: then the same holds for writing, and a timer wakes the task. Whoever adds to
//! the output later wakes the task that has last found it empty.
//!
//! While a remote sends without a pause, no read is ever pending. Therefore output is also
//! written after [`PATIENCE`] bytes were read, and after [`TURN`] bytes the task lets
//! other tasks run.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use async_io::Timer;
use futures::{AsyncRead, AsyncWrite, FutureExt};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use prometheus::IntCounter;

use super::connection::{Connection, Received};
use super::error::Error;
use super::handle::{Shared, Stream};
use crate::telemetry::throttle;
use crate::transport::buffer::Fifo;

/// Bytes that may arrive before what is to be sent is written. A quarter of the default
/// window: the delay is small beside a round trip at any speed where it matters.
const PATIENCE: usize = 64 * 1024;

/// Bytes read or written before other tasks on this thread may run, about a millisecond of
/// work.
const TURN: usize = 1024 * 1024;

/// A multiplexed connection over the bytes of `C`.
#[derive(Debug)]
pub(crate) struct Muxer<C> {
    socket: C,
    shared: Arc<Shared>,
    /// Bytes of the remote that the connection has not taken yet. There are some only
    /// while a stream that arrived is taken by the swarm.
    input: Fifo,
    /// Bytes that are being written, from `written` on.
    output: Vec<u8>,
    written: usize,
    /// Whether the layer below got bytes since its last complete flush.
    unflushed: bool,
    /// Bytes read since the output was last written.
    waited: usize,
    /// Bytes read and written since this task last let others run.
    turn: usize,
    /// Nothing is read before this time.
    pause: Option<Timer>,
    /// Whether [`StreamMuxer::poll`] has just driven the connection as far as it goes.
    driven: bool,
    inbound_waker: Option<Waker>,
    /// Inbound streams of which many may be open.
    limit: usize,
    /// Whether a refused stream was logged for this connection.
    complained: bool,
    /// Counts inbound streams that are refused.
    refused: Option<IntCounter>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    pub(super) fn new(
        socket: C,
        connection: Connection,
        limit: usize,
        refused: Option<IntCounter>,
    ) -> Self {
        Muxer {
            socket,
            shared: Shared::new(connection),
            input: Fifo::new(),
            output: Vec::new(),
            written: 0,
            // The negotiation above the cipher may have left its last message in it.
            unflushed: true,
            waited: 0,
            turn: 0,
            pause: None,
            driven: false,
            inbound_waker: None,
            limit,
            complained: false,
            refused,
        }
    }

    /// Drives the connection until a stream arrives.
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let result = ready!(self.step(cx));
        if let Err(error) = &result {
            self.fail(error, cx);
        }
        Poll::Ready(result)
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.shared.with(|connection| connection.is_doomed(cx)) {
            return Poll::Ready(Err(Error::Memory));
        }
        loop {
            if !self.input.is_empty() {
                let received = self.understand()?;
                if let Some(wait) = received.wait {
                    self.pause = Some(Timer::after(wait));
                }
                if received.arrived {
                    return Poll::Ready(Ok(()));
                }
            }
            if self.waited >= PATIENCE {
                self.send(cx)?;
            }
            if self.turn >= TURN {
                self.turn = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some(pause) = &mut self.pause {
                if pause.poll_unpin(cx).is_pending() {
                    self.send(cx)?;
                    return Poll::Pending;
                }
                self.pause = None;
            }
            match Pin::new(&mut self.socket).poll_read(cx, self.input.room()) {
                Poll::Ready(Ok(0)) => {
                    self.input.clear();
                    let whole = self.shared.with(|c| c.is_between_frames());
                    return Poll::Ready(Err(match whole {
                        true => Error::Closed,
                        false => Error::Io(io::ErrorKind::UnexpectedEof.into()),
                    }));
                }
                Poll::Ready(Ok(n)) => {
                    self.input.added(n);
                    self.turn += n;
                    self.waited += n;
                }
                Poll::Ready(Err(e)) => {
                    self.input.clear();
                    return Poll::Ready(Err(Error::Io(e)));
                }
                Poll::Pending => {
                    self.input.clear();
                    self.send(cx)?;
                    if self.turn >= TURN {
                        cx.waker().wake_by_ref();
                    }
                    self.turn = 0;
                    self.shared.with(Connection::rest);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Gives the bytes that were read to the connection.
    fn understand(&mut self) -> Result<Received, Error> {
        let now = Instant::now();
        let bytes = self.input.filled();
        let (received, refused) = self
            .shared
            .with(|c| (c.receive(bytes, now), c.take_refused()));
        if refused > 0 {
            if let Some(counter) = &self.refused {
                counter.inc_by(refused.into());
            }
            // Logged once for each connection, and at most once a minute in all: a
            // remote must not fill the log, neither with streams nor with connections.
            if !self.complained
                && let Some(suppressed) = throttle::allow("surplus inbound streams")
            {
                log::warn!(limit = self.limit, suppressed;
                    "a peer opened more streams at once than P2P_MAX_INBOUND_STREAMS allows; the surplus is reset");
            }
            self.complained = true;
        }
        let received = received?;
        self.input.consume(received.bytes);
        Ok(received)
    }

    /// Writes and flushes as far as possible now. When the layer below takes no more, the
    /// task is registered there, and the rest follows later.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        self.waited = 0;
        match self.poll_send(cx) {
            Poll::Ready(Err(e)) => Err(Error::Io(e)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while let Some(bytes) = self.output.get(self.written..).filter(|b| !b.is_empty()) {
                let n = ready!(Pin::new(&mut self.socket).poll_write(cx, bytes))?;
                if n == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.unflushed = true;
                self.written += n;
                self.turn += n;
            }
            if self.turn >= TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let written = std::mem::take(&mut self.output);
            self.written = 0;
            let now = Instant::now();
            self.output = self.shared.with(|c| c.transmit(written, now, cx));
            if self.output.is_empty() {
                break;
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Ends all streams, and tells the remote if it can be told without waiting.
    fn fail(&mut self, error: &Error, cx: &mut Context<'_>) {
        if let Error::Memory = error
            && let Some(suppressed) = throttle::allow("memory of connections")
        {
            log::warn!(suppressed;
                "what peers have sent and nobody has read took all memory that is for it (an eighth of P2P_MAX_MEMORY); the connection that held the most is closed");
        }
        self.shared.with(|connection| connection.fail(error));
        self.input.clear();
        self.turn = 0;
        if !matches!(error, Error::Io(_) | Error::Closed) {
            let _ = self.poll_send(cx);
        }
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, Error>> {
        loop {
            if let Some(id) = self.shared.with(Connection::accept) {
                return Poll::Ready(Ok(Stream::new(id, &self.shared)));
            }
            // The swarm polls the connection as such, then for a stream. The second time
            // would be a system call for nothing.
            if std::mem::take(&mut self.driven) || self.drive(cx)?.is_pending() {
                self.inbound_waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
    }

    fn poll_outbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, Error>> {
        let id = ready!(self.shared.with(|c| c.open(Instant::now(), cx)))?;
        Poll::Ready(Ok(Stream::new(id, &self.shared)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // A remote that does not read keeps this waiting, and keeps what it holds.
        if self.shared.with(|connection| connection.is_doomed(cx)) {
            self.fail(&Error::Memory, cx);
            return Poll::Ready(Err(Error::Memory));
        }
        self.shared.with(Connection::close);
        self.turn = 0;
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.socket).poll_close(cx).map_err(Error::Io)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Error>> {
        self.driven = false;
        match self.drive(cx)? {
            Poll::Ready(()) => {
                self.inbound_waker.take().into_iter().for_each(Waker::wake);
                // The connection has to be driven on; other tasks first.
                cx.waker().wake_by_ref();
            }
            Poll::Pending => self.driven = true,
        }
        Poll::Pending
    }
}

impl<C> Drop for Muxer<C> {
    fn drop(&mut self) {
        // Streams may outlive the connection.
        self.shared.with(Connection::abandon);
    }
}
