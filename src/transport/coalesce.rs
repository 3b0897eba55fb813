//! The layer between yamux and the cipher, which encrypts many frames at once.
//!
//! For each frame, yamux writes a header of 12 bytes, then a body, then flushes. Every
//! flush would be a TLS record or Noise message and a system call of its own.
//! [`Coalesce`] collects frames, and delays a flush that yamux asks for until yamux has
//! no more to write.
//!
//! # Why no byte is stranded
//!
//! `yamux::Connection::poll_next_inbound` returns `Pending` only in two states:
//! it polled a read, which was pending; or it did not poll a read because an
//! answer that it has to send (pong, go away) could not be written, which means that
//! a write was pending. In the first state, this layer flushes before it reports
//! `Pending`. In the second, the buffer is full and the waker is registered with
//! the cipher below, so that yamux is polled again when there is room, and reaches
//! the first state. When yamux returns a new stream instead, its caller polls again
//! (see [`crate::transport::yamux`]). Closing flushes at once.
//!
//! While a remote sends without a pause, no read is ever pending. Therefore this layer
//! also flushes after [`PATIENCE`] bytes were read, and after [`TURN`] bytes the task
//! lets other tasks run.
//!
//! Only the multiplexer may use this layer: other protocols rely on a flush that
//! happens when it is asked for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};

use super::buffer::Fifo;

/// Bytes that may arrive before a flush that was asked for happens. A quarter of the
/// default window: the delay is small beside a round trip at any speed where it matters.
const PATIENCE: usize = 64 * 1024;

/// Bytes read before other tasks on this thread may run, about a millisecond of work.
const TURN: usize = 1024 * 1024;

/// Collects what the multiplexer writes to a cipher. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Coalesce<C> {
    inner: C,
    output: Fifo,
    /// Whether the cipher got bytes since its last complete flush.
    unflushed: bool,
    /// Whether the multiplexer asked for a flush that has not happened yet.
    wanted: bool,
    /// Bytes read since the flush was asked for.
    waited: usize,
    /// Bytes read since this task last let others run.
    turn: usize,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Coalesce<C> {
    pub(crate) fn new(inner: C) -> Self {
        // The negotiation above the cipher may have left its last message in it.
        Coalesce {
            inner,
            output: Fifo::new(),
            unflushed: true,
            wanted: true,
            waited: 0,
            turn: 0,
        }
    }

    /// Passes the buffered bytes to the cipher.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let n = ready!(Pin::new(&mut self.inner).poll_write(cx, self.output.filled()))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.output.consume(n);
        }
        Poll::Ready(Ok(()))
    }

    /// Flushes everything, the cipher included.
    fn poll_flush_now(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        if self.unflushed {
            ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
            self.unflushed = false;
        }
        self.wanted = false;
        self.waited = 0;
        Poll::Ready(Ok(()))
    }

    /// Flushes as far as possible now, if a flush was asked for. When the kernel takes
    /// no more, the waker is registered and the rest follows later.
    fn fulfil(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.wanted
            && let Poll::Ready(result) = self.poll_flush_now(cx)
        {
            result?;
        }
        Ok(())
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncRead for Coalesce<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.turn >= TURN {
            this.turn = 0;
            this.fulfil(cx)?;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.waited >= PATIENCE {
            this.waited = 0;
            this.fulfil(cx)?;
        }
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(n)) => {
                this.turn += n;
                if this.wanted {
                    this.waited += n;
                }
                Poll::Ready(Ok(n))
            }
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => {
                this.turn = 0;
                this.fulfil(cx)?;
                Poll::Pending
            }
        }
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Coalesce<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.output.is_full() {
            ready!(self.poll_drain(cx))?;
        }
        Poll::Ready(Ok(self.output.push(buf)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed || !self.output.is_empty() {
            self.wanted = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush_now(cx))?;
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests;
