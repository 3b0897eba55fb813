//! Against the implementation that rust-libp2p uses, in both roles.

use std::future::poll_fn;
use std::task::Poll;

use async_std::task;
use futures::channel::mpsc;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerExt};

use super::super::{Config, Role};
use crate::transport::tests::{pipe, run};

/// Writes back what comes, and ends when the other side ends.
async fn echo<S: AsyncRead + AsyncWrite + Unpin>(stream: S) {
    let (mut read, mut write) = stream.split();
    futures::io::copy(&mut read, &mut write).await.unwrap();
    write.close().await.unwrap();
}

/// Held by everybody who still needs the connections.
type Need = mpsc::UnboundedSender<()>;

/// Sends, ends its direction, and then reads the answer to its end.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, size: usize, _need: Need) {
    let data: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
    let (mut read, mut write) = (&mut stream).split();
    let mut back = Vec::new();
    let send = async {
        write.write_all(&data).await?;
        write.close().await
    };
    let (sent, read) = futures::join!(send, read.read_to_end(&mut back));
    sent.unwrap();
    assert_eq!(read.unwrap(), size);
    assert!(back == data);
}

/// Drives one of ours, which asks on one stream for each size, and echoes what arrives. It
/// closes when nobody needs it any more.
async fn drive_ours<M>(
    mut muxer: M,
    sizes: Vec<usize>,
    need: Need,
    mut needed: mpsc::UnboundedReceiver<()>,
) where
    M: StreamMuxer + Unpin,
    M::Substream: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    M::Error: std::fmt::Debug,
{
    let mut need = Some(need);
    let mut sizes = sizes.into_iter().peekable();
    poll_fn(|cx| {
        loop {
            match (sizes.peek(), &need) {
                (Some(size), Some(sender)) => {
                    if let Poll::Ready(stream) = muxer.poll_outbound_unpin(cx) {
                        task::spawn(ask(stream.unwrap(), *size, sender.clone()));
                        sizes.next();
                        continue;
                    }
                }
                _ => need = None,
            }
            match muxer.poll_inbound_unpin(cx) {
                Poll::Ready(stream) => {
                    task::spawn(echo(stream.unwrap()));
                }
                Poll::Pending => match needed.poll_next_unpin(cx) {
                    Poll::Ready(None) => return muxer.poll_close_unpin(cx).map(|r| r.unwrap()),
                    Poll::Ready(Some(())) | Poll::Pending => return Poll::Pending,
                },
            }
        }
    })
    .await;
}

/// The same for one of theirs, until the other side closes.
async fn drive_theirs<C>(mut connection: yamux::Connection<C>, sizes: Vec<usize>, need: Need)
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let mut need = Some(need);
    let mut sizes = sizes.into_iter().peekable();
    poll_fn(|cx| {
        loop {
            match (sizes.peek(), &need) {
                (Some(size), Some(sender)) => {
                    if let Poll::Ready(stream) = connection.poll_new_outbound(cx) {
                        task::spawn(ask(stream.unwrap(), *size, sender.clone()));
                        sizes.next();
                        continue;
                    }
                }
                _ => need = None,
            }
            match connection.poll_next_inbound(cx) {
                Poll::Ready(Some(stream)) => {
                    task::spawn(echo(stream.unwrap()));
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

#[test]
fn both_roles_move_data_both_ways_on_many_streams() {
    let sizes = [1, 5, 1000, 70_000, 1_000_000, 3_000_000].repeat(3);
    for (role, mode) in [
        (Role::Client, yamux::Mode::Server),
        (Role::Server, yamux::Mode::Client),
    ] {
        for capacity in [3000, 1 << 20] {
            run(async {
                let (x, y) = pipe(capacity);
                let ours = Config::new(1000, 1000).muxer(x, role);
                let theirs = yamux::Connection::new(y, yamux::Config::default(), mode);
                let (need, needed) = mpsc::unbounded();
                let theirs = task::spawn(drive_theirs(theirs, sizes.clone(), need.clone()));
                drive_ours(ours, sizes.clone(), need, needed).await;
                theirs.await;
            });
        }
    }
}
