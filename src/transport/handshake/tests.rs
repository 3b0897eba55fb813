use std::future::poll_fn;
use std::io::{Read, Write};
use std::pin::pin;

use futures::AsyncReadExt;
use futures::future::BoxFuture;
use libp2p::core::Transport as _;
use libp2p::core::transport::Boxed;
use prometheus::Opts;

use super::*;
use crate::transport::tcp;
use crate::transport::tests::run;

type Accepted = Boxed<tcp::Stream>;

/// Listens with a handshake of the test's own.
async fn listen<F>(
    allowed: Duration,
    counter: &IntCounterVec,
    handshake: impl Fn(tcp::Stream) -> F + Clone + Send + Unpin + 'static,
) -> (Accepted, std::net::TcpStream)
where
    F: Future<Output = io::Result<tcp::Stream>> + Send + Unpin + 'static,
{
    let inner = tcp::Transport::new()
        .map_err(io::Error::other)
        .and_then(move |stream, _| handshake(stream))
        .boxed();
    let mut transport = Transport::new(inner, allowed, Some(counter.clone())).boxed();
    let any = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
    transport.listen_on(ListenerId::next(), any).unwrap();
    let event = poll_fn(|cx| Pin::new(&mut transport).poll(cx)).await;
    let address = event.into_new_address().expect("an address");
    let address = tcp::address::to_socket_addr(&address).unwrap();
    (transport, std::net::TcpStream::connect(address).unwrap())
}

fn counter() -> IntCounterVec {
    IntCounterVec::new(Opts::new("cut_off", "By reason."), &["reason"]).unwrap()
}

/// What becomes of the next connection.
async fn next(transport: &mut Accepted) -> io::Result<tcp::Stream> {
    let event = poll_fn(|cx| Pin::new(&mut *transport).poll(cx)).await;
    let (upgrade, _) = event.into_incoming().expect("a connection");
    upgrade.await
}

/// Reads `size` bytes at a time, for ever.
fn endless(size: usize) -> impl Fn(tcp::Stream) -> BoxFuture<'static, io::Result<tcp::Stream>> {
    move |mut stream| {
        async move {
            let mut bytes = vec![0; size];
            loop {
                stream.read_exact(&mut bytes).await?;
            }
        }
        .boxed()
    }
}

/// The remote sends for as long as it can, and says how much that was.
fn send_for_ever(mut remote: std::net::TcpStream) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let bytes = [7; 4096];
        while remote.write_all(&bytes).is_ok() {}
        // It is closed, and not only ignored.
        while matches!(remote.read(&mut [0; 64]), Ok(n) if n > 0) {}
    })
}

#[test]
fn a_handshake_without_an_end_is_cut_off_by_its_reads_or_bytes() {
    for (size, reason) in [(1, "reads"), (4096, "bytes")] {
        run(async {
            let counter = counter();
            let long = Duration::from_secs(3600);
            let handshake = Arc::new(endless(size));
            let handshake = move |stream| handshake(stream);
            let (mut transport, remote) = listen(long, &counter, handshake).await;
            let sender = send_for_ever(remote);
            let error = next(&mut transport).await.unwrap_err().to_string();
            assert!(error.contains("cut off"), "{error}");
            sender.join().unwrap();
            assert_eq!(counter.with_label_values(&[reason]).get(), 1, "{reason}");
        });
    }
}

#[test]
fn a_handshake_that_never_lets_go_of_its_thread_ends_at_its_deadline() {
    run(async {
        let counter = counter();
        let obstinate = |mut stream: tcp::Stream| {
            poll_fn(move |cx| {
                loop {
                    let mut byte = [0];
                    let read = pin!(stream.read(&mut byte)).poll(cx);
                    if let Poll::Ready(Err(e)) = read {
                        return Poll::Ready(Err(e));
                    }
                }
            })
            .boxed()
        };
        let (mut transport, mut remote) = listen(Duration::ZERO, &counter, obstinate).await;
        let error = next(&mut transport).await.unwrap_err().to_string();
        assert!(error.contains("time was over"), "{error}");
        // The socket is shut down although nobody has dropped it yet. The timer's thread does
        // that last, so what it counts is there then.
        assert_eq!(remote.read(&mut [0]).unwrap_or(0), 0);
        assert_eq!(counter.with_label_values(&["deadline"]).get(), 1);
    });
}

#[test]
fn a_complete_handshake_leaves_no_bounds_behind() {
    run(async {
        let counter = counter();
        let short = |mut stream: tcp::Stream| {
            async move {
                stream.read_exact(&mut [0; 4]).await?;
                Ok(stream)
            }
            .boxed()
        };
        let long = Duration::from_secs(3600);
        let (mut transport, mut remote) = listen(long, &counter, short).await;
        let sender = std::thread::spawn(move || remote.write_all(&vec![7; 4 * BYTES]).unwrap());
        let mut stream = next(&mut transport).await.unwrap();
        let mut byte = [0];
        for _ in 0..4 * BYTES - 4 {
            stream.read_exact(&mut byte).await.unwrap();
        }
        sender.join().unwrap();
        for reason in REASONS {
            assert_eq!(counter.with_label_values(&[reason]).get(), 0);
        }
    });
}

#[test]
fn a_stream_that_is_no_socket_has_the_same_bounds() {
    run(async {
        let handshake = Handshake::new(Multiaddr::empty(), None);
        let mut bounded = Bounded::new(futures::io::repeat(7));
        let mut bytes = vec![0; 4096];
        let read = async {
            loop {
                bounded.read_exact(&mut bytes).await?;
            }
        };
        let bound = Bound {
            inner: Box::pin(read),
            handshake,
            allowed: Duration::from_secs(3600),
            deadline: None,
        };
        let ended: io::Result<()> = bound.await;
        assert!(ended.unwrap_err().to_string().contains("cut off"));
    });
}
