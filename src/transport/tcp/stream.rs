//! A TCP connection for the ciphers above it: with large reads and few writes.
//!
//! The ciphers read and write little at a time (rustls 4 KiB, Noise 8 KiB, the
//! pre-shared key cipher writes 1 KiB), and each request would be a system call. Here
//! one call fetches what the kernel has, up to [`CHUNK`], and small writes wait until
//! their writer flushes. Large requests are passed through without a copy.
//!
//! This is also where everything above is bounded: how much one poll of a task may read
//! and write ([`crate::telemetry::coop`]), and how much may be read before the remote has
//! proved who it is ([`crate::transport::handshake`]).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_io::Async;
use futures::{AsyncRead, AsyncWrite};

use crate::telemetry::Direction;
use crate::transport::buffer::{CHUNK, Fifo};
use crate::transport::handshake::Door;

/// Writes of this size and more are not copied into the buffer: copying costs
/// more than the system call that it might save. One TLS record.
const DIRECT: usize = 16 * 1024;

/// Slices handed to one `writev`; a rustls session holds 4 records at most.
const MAX_SLICES: usize = 16;

/// A connected TCP socket with TCP_NODELAY, buffered in both directions.
///
/// Buffers hold [`CHUNK`] bytes each way at most, and none while idle.
#[derive(Debug)]
pub struct Stream {
    /// Shared with the handshake, which may have to shut it down.
    socket: Arc<Async<TcpStream>>,
    pub(super) input: Fifo,
    pub(super) output: Fifo,
    door: Door,
}

impl Stream {
    /// Takes a connected, non-blocking socket.
    pub(crate) fn new(socket: Async<TcpStream>) -> Self {
        // Frames are collected above, and what is flushed should leave at once.
        if let Err(e) = socket.get_ref().set_nodelay(true) {
            log::debug!(error:% = e; "cannot set TCP_NODELAY");
        }
        Stream {
            socket: Arc::new(socket),
            input: Fifo::new(),
            output: Fifo::new(),
            door: Door::new(),
        }
    }

    /// The socket, for its addresses and options.
    pub fn socket(&self) -> &TcpStream {
        self.socket.get_ref()
    }

    /// Sends the buffered bytes to the kernel, all of them.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let n = ready!(Pin::new(&mut &*self.socket).poll_write(cx, self.output.filled()))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.consume(n);
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream {
    fn poll_fetch(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.input.is_empty() {
            if buf.len() >= CHUNK {
                return Pin::new(&mut &*self.socket).poll_read(cx, buf);
            }
            match Pin::new(&mut &*self.socket).poll_read(cx, self.input.room()) {
                Poll::Ready(Ok(n)) if n > 0 => self.input.added(n),
                other => {
                    self.input.clear();
                    return other;
                }
            }
        }
        Poll::Ready(Ok(self.input.pop(buf)))
    }

    fn poll_put(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let total: usize = bufs.iter().map(|b| b.len()).sum();
        if total == 0 {
            return Poll::Ready(Ok(0));
        }
        if total < DIRECT {
            let mut taken = 0;
            for buf in bufs {
                let n = self.output.push(buf);
                taken += n;
                if n < buf.len() {
                    break;
                }
            }
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
            ready!(self.poll_drain(cx))?;
            let first = bufs.iter().find(|b| !b.is_empty()).map_or(&[][..], |b| b);
            return Poll::Ready(Ok(self.output.push(first)));
        }
        // One call writes what waits and what is new.
        loop {
            let waiting = self.output.filled();
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let sources = std::iter::once(waiting).chain(bufs.iter().map(|b| &**b));
            let mut count = 0;
            for (slice, source) in slices.iter_mut().zip(sources.filter(|b| !b.is_empty())) {
                *slice = IoSlice::new(source);
                count += 1;
            }
            let waiting = waiting.len();
            let n = ready!(Pin::new(&mut &*self.socket).poll_write_vectored(cx, &slices[..count]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.consume(n.min(waiting));
            if n > waiting {
                return Poll::Ready(Ok(n - waiting));
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let socket = Some(&this.socket);
        ready!(this.door.poll_proceed(Direction::In, socket, cx))?;
        let most = this.door.readable(buf.len());
        let read = this.poll_fetch(cx, &mut buf[..most]);
        this.door.record_read(read)
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs.iter_mut().find(|b| !b.is_empty()) {
            Some(buf) => self.poll_read(cx, buf),
            None => Poll::Ready(Ok(0)),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let socket = Some(&this.socket);
        ready!(this.door.poll_proceed(Direction::Out, socket, cx))?;
        let written = this.poll_put(cx, bufs);
        this.door.record_written(written, |n| *n)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let socket = Some(&this.socket);
        ready!(this.door.poll_proceed(Direction::Out, socket, cx))?;
        let flushed = this.poll_drain(cx);
        this.door.record_written(flushed, |()| 0)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        match self.socket.get_ref().shutdown(std::net::Shutdown::Write) {
            // The remote closed it first.
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            other => Poll::Ready(other),
        }
    }
}
