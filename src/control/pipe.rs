//! Carries bytes between a local socket and a stream of the network. Both directions run
//! at once, and each of them ends separately.

use std::io;

use bytes::Bytes;
use futures::future::{Either, select};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, pin_mut};

use super::socket::{Local, gone};

/// The number of bytes moved at a time in each direction, which is a few frames of the
/// muxers (16 KiB in yamux) for each system call on the local side.
const BUFFER: usize = 64 * 1024;

/// Runs until both directions have ended, one of them has failed, or the local side has
/// gone. `ahead` holds bytes from the local side that were read already. The stream is
/// dropped at the end, which resets it unless it was ended properly.
///
/// # Errors
/// Returns the error of the side that failed.
pub(super) async fn run<L, R>(local: L, ahead: Bytes, remote: R) -> io::Result<()>
where
    L: Local,
    R: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from, mut to) = remote.split();
    let up = async {
        if !ahead.is_empty() {
            to.write_all(&ahead).await?;
            to.flush().await?;
        }
        let mut buffer = vec![0; BUFFER];
        loop {
            let n = local.read_shared(&mut buffer).await?;
            if n == 0 {
                return to.close().await;
            }
            to.write_all(&buffer[..n]).await?;
            to.flush().await?;
        }
    };
    let down = async {
        let mut buffer = vec![0; BUFFER];
        loop {
            let n = from.read(&mut buffer).await?;
            let mut rest = &buffer[..n];
            if rest.is_empty() {
                // A failure means that the client has gone, which needs no further
                // action.
                let _ = local.shutdown_write();
                return Ok(());
            }
            while !rest.is_empty() {
                match local.write_shared(rest).await? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    n => rest = &rest[n..],
                }
            }
        }
    };
    pin_mut!(up, down);
    match select(up, down).await {
        Either::Left((ended, down)) => {
            ended?;
            // The client may have ended only its own direction, or it may have gone.
            // Without this check, a silent remote would keep the stream of a crashed
            // client open for ever.
            let gone = gone(&local);
            pin_mut!(gone);
            match select(down, gone).await {
                Either::Left((result, _)) => result,
                Either::Right(((), _)) => Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        Either::Right((ended, up)) => {
            ended?;
            up.await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_io::Async;
    use async_std::task::{block_on, spawn};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    fn pair() -> (Async<UnixStream>, Async<UnixStream>) {
        let (a, b) = UnixStream::pair().unwrap();
        (Async::new(a).unwrap(), Async::new(b).unwrap())
    }

    /// A stream that can be half-closed, as those of the muxers can. Dropping a plain
    /// `Async` closes both directions, and `close` on it closes none.
    struct Stream(Async<UnixStream>);

    impl AsyncRead for Stream {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buf: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            std::pin::Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Stream {
        fn poll_write(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buf: &[u8],
        ) -> std::task::Poll<io::Result<usize>> {
            std::pin::Pin::new(&mut self.0).poll_write(cx, buf)
        }
        fn poll_flush(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }
        fn poll_close(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(self.0.get_ref().shutdown(Shutdown::Write))
        }
    }

    #[test]
    fn each_direction_ends_on_its_own() {
        block_on(async {
            let (mut client, local) = pair();
            let (remote, mut peer) = pair();
            let pipe = spawn(run(local, Bytes::from_static(b"first "), Stream(remote)));
            client.write_all(b"second").await.unwrap();
            client.get_ref().shutdown(Shutdown::Write).unwrap();
            let mut got = Vec::new();
            peer.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, b"first second");
            // The peer answers only after the client has ended its direction.
            let send = async {
                peer.write_all(&vec![9; 1 << 20]).await.unwrap();
                peer.get_ref().shutdown(Shutdown::Write).unwrap();
            };
            let mut got = Vec::new();
            let receive = client.read_to_end(&mut got);
            futures::join!(send, async { receive.await.unwrap() });
            assert_eq!(got.len(), 1 << 20);
            pipe.await.unwrap();
        });
    }

    #[test]
    fn the_client_may_go_on_when_the_peer_has_ended() {
        block_on(async {
            let (mut client, local) = pair();
            let (remote, mut peer) = pair();
            let pipe = spawn(run(local, Bytes::new(), Stream(remote)));
            peer.get_ref().shutdown(Shutdown::Write).unwrap();
            assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
            client.write_all(b"late").await.unwrap();
            drop(client);
            let mut got = Vec::new();
            peer.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, b"late");
            pipe.await.unwrap();
        });
    }

    #[test]
    fn a_client_that_is_gone_takes_its_stream_along_though_the_peer_is_silent() {
        block_on(async {
            let (client, local) = pair();
            let (remote, mut peer) = pair();
            let pipe = spawn(run(local, Bytes::new(), Stream(remote)));
            drop(client);
            assert!(pipe.await.is_err());
            assert_eq!(peer.read(&mut [0; 1]).await.unwrap(), 0);
        });
    }

    #[test]
    fn a_peer_that_resets_takes_the_client_along() {
        block_on(async {
            let (mut client, local) = pair();
            let (remote, peer) = pair();
            let pipe = spawn(run(local, Bytes::new(), Stream(remote)));
            drop(peer);
            assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
            drop(client);
            let _ = pipe.await;
        });
    }
}
