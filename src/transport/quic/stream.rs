//! A stream of a QUIC connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite};

use super::credit::OpenStream;
use super::window::Window;
use crate::transport::one_way;

/// A bidirectional stream.
///
/// - Closing ends the sending half; what was written is still delivered, and
///   reading goes on. It does not wait for the remote's acknowledgement.
/// - Dropping a stream that was not closed delivers what was written and ends
///   the sending half too, because libp2p protocols drop a stream right after
///   their last message. When a write was waiting for room, the message was cut
///   short, and the remote sees a reset instead of an end.
/// - Dropping a stream that was not read to its end tells the remote to stop.
#[derive(Debug)]
pub struct Stream {
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    /// The sending half was closed.
    closed: bool,
    /// A write waits for room.
    writing: bool,
    window: Arc<Window>,
    /// Of a stream that the remote opened.
    _counted: Option<OpenStream>,
}

impl Stream {
    pub(super) fn new(
        send: quinn::SendStream,
        recv: quinn::RecvStream,
        counted: Option<OpenStream>,
        window: Arc<Window>,
    ) -> Self {
        Self {
            send,
            recv,
            window,
            _counted: counted,
            closed: false,
            writing: false,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let result = self.recv.poll_read(cx, buf);
        if let Poll::Ready(Ok(n)) = &result {
            self.window.read(*n);
        }
        result.map_err(Into::into)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if one_way::is_declared(buf) {
            // An error says that the remote has ended its half already.
            let _ = self.recv.stop(quinn::VarInt::from_u32(0));
            return Poll::Ready(Ok(0));
        }
        let result = Pin::new(&mut self.send).poll_write(cx, buf);
        self.writing = result.is_pending();
        result.map_err(Into::into)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // quinn sends as soon as the path allows, so there is nothing to flush.
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed {
            self.send.finish()?;
            self.closed = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.writing && !self.closed {
            // An error says that the stream has ended already.
            let _ = self.send.reset(quinn::VarInt::from_u32(0));
        }
        // quinn ends the sending half and stops the receiving one.
    }
}
