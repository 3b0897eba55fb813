//! A stream as its users see it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use futures::{AsyncRead, AsyncWrite};

use super::connection::Connection;
use crate::transport::one_way;

/// The connection that its streams and its driver share. It is locked for as long as it
/// takes to copy one frame, and never across I/O.
#[derive(Debug)]
pub(super) struct Shared(Mutex<Connection>);

impl Shared {
    pub(super) fn new(connection: Connection) -> Arc<Self> {
        Arc::new(Shared(Mutex::new(connection)))
    }

    /// Does `work` with the connection, and wakes everybody whom that concerns.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Connection) -> T) -> T {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut connection);
        let wakes = connection.settle();
        drop(connection);
        wakes.wake();
        result
    }
}

/// A stream of a multiplexed connection. Dropping it before it is closed resets it.
#[derive(Debug)]
pub(crate) struct Stream {
    id: u32,
    shared: Arc<Shared>,
}

impl Stream {
    pub(super) fn new(id: u32, shared: &Arc<Shared>) -> Self {
        Stream {
            id,
            shared: shared.clone(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let now = Instant::now();
        self.shared
            .with(|connection| connection.read(self.id, buf, now, cx))
            .map(Ok)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if one_way::is_declared(buf) {
            self.shared
                .with(|connection| connection.refuse_bytes(self.id));
            return Poll::Ready(Ok(0));
        }
        self.shared
            .with(|connection| connection.write(self.id, buf, cx))
    }

    /// What was written is sent as soon as the connection below takes it, without being
    /// asked.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shared.with(|connection| connection.finish(self.id)))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared
            .with(|connection| connection.drop_stream(self.id));
    }
}
