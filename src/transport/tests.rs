//! The whole stack over loopback: security, multiplexing, limits, private networks.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_std::task;
use futures::channel::oneshot;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Future, StreamExt};
use libp2p::PeerId;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p::core::transport::{DialOpts, ListenerId, PortUse, TransportEvent};
use libp2p::core::{Endpoint, Transport};
use libp2p::identity::Keypair;
use libp2p::multiaddr::{Multiaddr, Protocol};
use libp2p::pnet::PreSharedKey;

use super::{Options, Security, Stack, build};

/// Generous: only a test that hangs gets there.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    task::block_on(async_std::future::timeout(DEADLINE, test)).expect("the test hangs")
}

fn stack(options: &Options) -> (PeerId, Stack) {
    let identity = Keypair::generate_ed25519();
    let (stack, _relay) = build(&identity, options).unwrap();
    (identity.public().to_peer_id(), stack)
}

async fn listen<T: Transport + Unpin>(transport: &mut T, address: &str) -> Multiaddr
where
    T::Error: std::error::Error,
{
    transport
        .listen_on(ListenerId::next(), address.parse().unwrap())
        .unwrap();
    poll_fn(|cx| match Pin::new(&mut *transport).poll(cx) {
        Poll::Ready(event) => Poll::Ready(event.into_new_address().expect("an address first")),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Accepts connections for ever and hands them out in order of arrival.
fn serve(mut stack: Stack) -> futures::channel::mpsc::UnboundedReceiver<Accepted> {
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    task::spawn(async move {
        loop {
            let event = poll_fn(|cx| Pin::new(&mut stack).poll(cx)).await;
            if let TransportEvent::Incoming { upgrade, .. } = event {
                let sender = sender.clone();
                task::spawn(async move {
                    let _ = sender.unbounded_send(upgrade.await.map_err(|e| e.to_string()));
                });
            }
        }
    });
    receiver
}

type Accepted = Result<(PeerId, StreamMuxerBox), String>;

async fn dial(stack: &mut Stack, to: Multiaddr) -> Accepted {
    let opts = DialOpts {
        role: Endpoint::Dialer,
        port_use: PortUse::New,
    };
    let dial = stack.dial(to, opts).map_err(|e| format!("{e:?}"))?;
    dial.await.map_err(|e| e.to_string())
}

/// Drives a connection in the background and hands out streams.
struct Connection {
    opens: futures::channel::mpsc::UnboundedSender<oneshot::Sender<SubstreamBox>>,
    inbound: futures::channel::mpsc::UnboundedReceiver<SubstreamBox>,
    done: oneshot::Receiver<()>,
}

impl Connection {
    fn drive(mut muxer: StreamMuxerBox) -> Self {
        let (opens, mut wanted) =
            futures::channel::mpsc::unbounded::<oneshot::Sender<SubstreamBox>>();
        let (arrived, inbound) = futures::channel::mpsc::unbounded();
        let (ended, done) = oneshot::channel();
        task::spawn(async move {
            let mut opening: Option<oneshot::Sender<SubstreamBox>> = None;
            let mut open = true;
            poll_fn(|cx| {
                loop {
                    if !open && opening.is_none() {
                        return muxer.poll_close_unpin(cx).map(|_| ());
                    }
                    if opening.is_none() && open {
                        match wanted.poll_next_unpin(cx) {
                            Poll::Ready(Some(next)) => opening = Some(next),
                            Poll::Ready(None) => {
                                open = false;
                                continue;
                            }
                            Poll::Pending => {}
                        }
                    }
                    if opening.is_some()
                        && let Poll::Ready(result) = muxer.poll_outbound_unpin(cx)
                    {
                        let Ok(stream) = result else {
                            return Poll::Ready(());
                        };
                        let _ = opening.take().unwrap().send(stream);
                        continue;
                    }
                    if let Poll::Ready(result) = muxer.poll_inbound_unpin(cx) {
                        let Ok(stream) = result else {
                            return Poll::Ready(());
                        };
                        let _ = arrived.unbounded_send(stream);
                        continue;
                    }
                    match muxer.poll_unpin(cx) {
                        Poll::Ready(Ok(_)) => continue,
                        Poll::Ready(Err(_)) => return Poll::Ready(()),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            })
            .await;
            let _ = ended.send(());
        });
        Connection {
            opens,
            inbound,
            done,
        }
    }

    fn request(&self) -> oneshot::Receiver<SubstreamBox> {
        let (sender, receiver) = oneshot::channel();
        self.opens.unbounded_send(sender).unwrap();
        receiver
    }

    async fn open(&self) -> SubstreamBox {
        self.request().await.unwrap()
    }

    async fn accept(&mut self) -> SubstreamBox {
        self.inbound.next().await.expect("an inbound stream")
    }

    /// Closes and waits until all is sent.
    async fn close(self) {
        drop(self.opens);
        let _ = self.done.await;
    }
}

async fn pair(options: &Options, address: &str) -> (Connection, Connection) {
    let (server_id, mut server) = stack(options);
    let (client_id, mut client) = stack(options);
    let address = listen(&mut server, address).await;
    let mut accepted = serve(server);
    let (peer, dialled) = dial(&mut client, address).await.unwrap();
    assert_eq!(peer, server_id);
    // The dialer's last proposal travels with its first data: it has to be driven
    // before the listener knows of the connection.
    let dialled = Connection::drive(dialled);
    let (peer, arrived) = accepted.next().await.unwrap().unwrap();
    assert_eq!(peer, client_id);
    (dialled, Connection::drive(arrived))
}

/// One end of a duplex pipe in memory that holds `capacity` bytes each way.
pub(crate) struct Pipe {
    from: Arc<Mutex<Half>>,
    to: Arc<Mutex<Half>>,
}

#[derive(Default)]
struct Half {
    bytes: VecDeque<u8>,
    capacity: usize,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

pub(crate) fn pipe(capacity: usize) -> (Pipe, Pipe) {
    let half = || {
        Arc::new(Mutex::new(Half {
            capacity,
            ..Half::default()
        }))
    };
    let (there, back) = (half(), half());
    let a = Pipe {
        from: back.clone(),
        to: there.clone(),
    };
    (
        a,
        Pipe {
            from: there,
            to: back,
        },
    )
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut half = self.from.lock().unwrap();
        if half.bytes.is_empty() && !half.closed {
            half.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = half.bytes.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(half.bytes.drain(..n)) {
            *to = from;
        }
        half.writer.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut half = self.to.lock().unwrap();
        let n = (half.capacity - half.bytes.len()).min(buf.len());
        if n == 0 {
            half.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        half.bytes.extend(&buf[..n]);
        half.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut half = self.to.lock().unwrap();
        half.closed = true;
        half.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

/// Bytes that show a shift, a loss or a repetition.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect()
}

/// Sends `data` there and back at the same time, with half-close.
async fn echo(options: &Options, address: &str, data: Vec<u8>) {
    let (client, mut server) = pair(options, address).await;
    let echo = task::spawn(async move {
        let (mut read, mut write) = server.accept().await.split();
        futures::io::copy(&mut read, &mut write).await.unwrap();
        write.close().await.unwrap();
        server
    });
    let (mut read, mut write) = client.open().await.split();
    let sent = data.clone();
    let writer = task::spawn(async move {
        write.write_all(&sent).await.unwrap();
        write.close().await.unwrap();
    });
    let mut back = Vec::new();
    read.read_to_end(&mut back).await.unwrap();
    assert!(
        back == data,
        "{} bytes came back of {}",
        back.len(),
        data.len()
    );
    writer.await;
    echo.await.close().await;
    client.close().await;
}

#[test]
fn bytes_go_both_ways_over_every_security_and_family() {
    for security in [Security::Noise, Security::Tls, Security::Both] {
        for address in [
            "/ip4/127.0.0.1/tcp/0",
            "/ip6/::1/tcp/0",
            "/ip4/127.0.0.1/tcp/0/ws",
        ] {
            let options = Options {
                security,
                ..Options::default()
            };
            run(echo(&options, address, pattern(5_000_000)));
        }
    }
}

#[test]
fn quic_is_part_of_the_stack_unless_the_network_is_private() {
    run(echo(
        &Options::default(),
        "/ip4/127.0.0.1/udp/0/quic-v1",
        pattern(1_000_000),
    ));
    let key = PreSharedKey::new([1; 32]);
    let (_, mut private) = stack(&Options {
        network_key: Some(key),
        ..Options::default()
    });
    let address = "/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap();
    assert!(private.listen_on(ListenerId::next(), address).is_err());
}

#[test]
fn names_lead_to_every_transport() {
    let hosts = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(hosts.path(), "127.0.0.1 here.test\n").unwrap();
    let mut options = Options::default();
    options.dns.hosts = Some(hosts.path().to_owned());
    for (listen_at, name) in [
        ("/ip4/127.0.0.1/tcp/0", "/dns4/here.test/tcp/PORT"),
        ("/ip4/127.0.0.1/tcp/0/ws", "/dns/here.test/tcp/PORT/ws"),
        (
            "/ip4/127.0.0.1/udp/0/quic-v1",
            "/dns4/here.test/udp/PORT/quic-v1",
        ),
    ] {
        run(async {
            let (id, mut server) = stack(&options);
            let (_, mut client) = stack(&options);
            let address = listen(&mut server, listen_at).await;
            let port = address.iter().find_map(|p| match p {
                Protocol::Tcp(port) | Protocol::Udp(port) => Some(port.to_string()),
                _ => None,
            });
            let _accepted = serve(server);
            let name = name.replace("PORT", &port.unwrap()).parse().unwrap();
            let (peer, _) = dial(&mut client, name).await.unwrap();
            assert_eq!(peer, id);
        });
    }
}

#[test]
fn tls_and_noise_meet_at_what_both_speak() {
    run(async {
        for (listener, dialer, works) in [
            (Security::Both, Security::Noise, true),
            (Security::Tls, Security::Both, true),
            (Security::Tls, Security::Noise, false),
        ] {
            let (_, mut server) = stack(&Options {
                security: listener,
                ..Options::default()
            });
            let (_, mut client) = stack(&Options {
                security: dialer,
                ..Options::default()
            });
            let address = listen(&mut server, "/ip4/127.0.0.1/tcp/0").await;
            let mut accepted = serve(server);
            let dialled = dial(&mut client, address).await;
            assert_eq!(dialled.is_ok(), works);
            let _driven = dialled.map(|(_, muxer)| Connection::drive(muxer));
            assert_eq!(accepted.next().await.unwrap().is_ok(), works);
        }
    });
}

#[test]
fn a_private_network_needs_its_key() {
    let key = |digit: &str| {
        PreSharedKey::from_str(&format!(
            "/key/swarm/psk/1.0.0/\n/base16/\n{}\n",
            digit.repeat(64)
        ))
        .unwrap()
    };
    let with = |key| Options {
        network_key: Some(key),
        handshake_timeout: Duration::from_secs(2),
        ..Options::default()
    };
    run(echo(
        &with(key("a")),
        "/ip4/127.0.0.1/tcp/0",
        pattern(1_000_000),
    ));
    run(async {
        for other in [
            with(key("b")),
            Options {
                network_key: None,
                ..with(key("a"))
            },
        ] {
            let (_, mut server) = stack(&with(key("a")));
            let (_, mut client) = stack(&other);
            let address = listen(&mut server, "/ip4/127.0.0.1/tcp/0").await;
            let mut accepted = serve(server);
            assert!(dial(&mut client, address).await.is_err());
            assert!(accepted.next().await.unwrap().is_err());
        }
    });
}
