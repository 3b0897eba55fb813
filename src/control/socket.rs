//! A connected local socket, and what can be found out about its other end.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use async_io::{Async, Timer};
use futures::{AsyncRead, AsyncWrite};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::codec::Channel;

/// How often the socket of a client that has ended its direction is checked for the end
/// of the other direction. The kernel does not wake a waiting task for that alone.
const HANGUP_CHECK: Duration = Duration::from_millis(200);

/// Bytes of further requests that are read while one is served, for clients that pipeline
/// small requests. A client that sends more has to wait.
const AHEAD: usize = 64 * 1024;

/// A connected local socket, to a client or to a client's stream handler.
pub(super) trait Local:
    AsyncRead + AsyncWrite + AsFd + Unpin + Send + Sync + 'static
{
    /// Closes this side's direction.
    fn shutdown_write(&self) -> io::Result<()>;

    /// Reads through a shared reference, so that both directions can run at once.
    fn read_shared(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;

    /// Writes through a shared reference.
    fn write_shared(&self, buf: &[u8]) -> impl Future<Output = io::Result<usize>> + Send;
}

macro_rules! local {
    ($socket:ty) => {
        impl Local for Async<$socket> {
            fn shutdown_write(&self) -> io::Result<()> {
                self.get_ref().shutdown(Shutdown::Write)
            }

            async fn read_shared(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.read_with(|mut s| io::Read::read(&mut s, buf)).await
            }

            async fn write_shared(&self, buf: &[u8]) -> io::Result<usize> {
                self.write_with(|mut s| io::Write::write(&mut s, buf)).await
            }
        }
    };
}

local!(UnixStream);
local!(TcpStream);

/// Waits until the other side has closed both directions. This is for a side that has
/// ended its own direction, which alone does not mean that it has gone.
pub(super) async fn gone(socket: &impl AsFd) {
    while !is_gone(socket) {
        Timer::after(HANGUP_CHECK).await;
    }
}

fn is_gone(socket: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    match poll(&mut fds, PollTimeout::ZERO) {
        Ok(_) => fds[0]
            .revents()
            .is_some_and(|r| r.intersects(PollFlags::POLLHUP | PollFlags::POLLERR)),
        Err(_) => true,
    }
}

/// Waits until the client has gone, and reads ahead what it sends in the meantime. A
/// client that has only ended its direction still waits for its answer.
pub(super) async fn client_gone<S: Local>(channel: &mut Channel<S>) {
    loop {
        if is_gone(channel.io()) {
            return;
        }
        if channel.ended() || channel.buffered() >= AHEAD {
            Timer::after(HANGUP_CHECK).await;
        } else if channel.fill(4096).await.is_err() {
            return;
        }
    }
}

/// Waits until the client ends its direction, and discards everything that it sends.
pub(super) async fn client_ends<S: Local>(channel: &mut Channel<S>) {
    while !channel.ended() {
        channel.forget();
        if channel.fill(4096).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_std::task::block_on;

    #[test]
    fn a_half_close_is_no_goodbye() {
        block_on(async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let ours = Async::new(ours).unwrap();
            theirs.shutdown(Shutdown::Write).unwrap();
            assert!(!is_gone(&ours));
            drop(theirs);
            gone(&ours).await;
        });
    }
}
