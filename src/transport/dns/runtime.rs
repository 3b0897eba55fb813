//! What hickory's resolver needs of a runtime, on async-io and async-std:
//! sockets, timers, tasks.

use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::{Async, Timer};
use futures::future::{Either, select};
use futures::io::{AsyncRead, AsyncWrite};
use hickory_resolver::net::runtime::{DnsTcpStream, DnsUdpSocket, RuntimeProvider, Spawn, Time};

/// How long a TCP connection to a name server may take when hickory does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// This runtime, as hickory uses it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AsyncStd;

impl RuntimeProvider for AsyncStd {
    type Handle = AsyncStd;
    type Timer = AsyncStd;
    type Udp = Udp;
    type Tcp = Tcp;

    fn create_handle(&self) -> AsyncStd {
        AsyncStd
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Tcp>>>> {
        Box::pin(async move {
            if local.is_some() {
                // Only asked for when a server's configuration has a `bind_addr`;
                // this node sets none.
                return Err(io::ErrorKind::Unsupported.into());
            }
            let connect = async move {
                let stream = Async::<TcpStream>::connect(server).await?;
                stream.get_ref().set_nodelay(true)?;
                Ok(Tcp(stream))
            };
            AsyncStd::timeout(timeout.unwrap_or(CONNECT_TIMEOUT), connect).await?
        })
    }

    fn bind_udp(
        &self,
        local: SocketAddr,
        _server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Udp>>>> {
        Box::pin(async move { Ok(Udp(Async::<UdpSocket>::bind(local)?)) })
    }
}

impl Spawn for AsyncStd {
    fn spawn_bg(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        // Detached: it ends by itself when the resolver drops its side.
        drop(async_std::task::spawn(future));
    }
}

// The signatures are what `async_trait` makes of hickory's: written out, they
// need no further direct dependency.
impl Time for AsyncStd {
    fn delay_for<'a>(duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            Timer::after(duration).await;
        })
    }

    fn timeout<'a, F>(
        duration: Duration,
        future: F,
    ) -> Pin<Box<dyn Future<Output = io::Result<F::Output>> + Send + 'a>>
    where
        F: 'static + Future + Send + 'a,
    {
        Box::pin(async move {
            match select(Box::pin(future), Timer::after(duration)).await {
                Either::Left((output, _)) => Ok(output),
                Either::Right(_) => Err(io::ErrorKind::TimedOut.into()),
            }
        })
    }
}

/// A UDP socket to ask from.
pub(crate) struct Udp(Async<UdpSocket>);

impl DnsUdpSocket for Udp {
    type Time = AsyncStd;

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        loop {
            match self.0.get_ref().recv_from(buf) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            ready!(self.0.poll_readable(cx))?;
        }
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.0.get_ref().send_to(buf, target) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            ready!(self.0.poll_writable(cx))?;
        }
    }
}

/// A TCP connection to a name server.
pub(crate) struct Tcp(Async<TcpStream>);

impl DnsTcpStream for Tcp {
    type Time = AsyncStd;
}

impl AsyncRead for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read_vectored(cx, bufs)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
