//! A hand-made libp2p peer: TCP from a chosen address, Noise, yamux, and
//! streams that do only what they are told. Nothing here respects a limit, answers
//! in time or reads unless the attack does so.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_io::Async;
use async_std::channel::{Receiver, Sender, unbounded};
use futures::channel::oneshot;
use futures::future::{BoxFuture, Shared};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, StreamExt};
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p::core::upgrade::OutboundConnectionUpgrade;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, noise};
use prost::Message;

use crate::wire::{Identify, frame, framed};

/// What one step of an attacker may take: a victim that refuses by silence must
/// not hold the attack up for long.
const STEP: Duration = Duration::from_secs(12);

/// What an encrypted connection without a multiplexer is.
pub(crate) type Channel = noise::Output<Async<TcpStream>>;

pub(crate) async fn within<T>(
    what: &str,
    step: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    async_std::future::timeout(STEP, step)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, what.to_owned())))
}

/// IP address and TCP port of a multiaddr.
pub(crate) fn socket_addr(address: &Multiaddr) -> SocketAddr {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        other => panic!("not an IP address: {other:?}"),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) => SocketAddr::new(ip, port),
        other => panic!("not a TCP port: {other:?}"),
    }
}

/// A TCP connection, from `source` when there is one.
pub(crate) async fn tcp(
    target: SocketAddr,
    source: Option<IpAddr>,
) -> io::Result<Async<TcpStream>> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(e) if e.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => {}
        Err(e) => return Err(e),
    }
    let stream = Async::new(TcpStream::from(socket))?;
    within("TCP", async {
        stream.writable().await?;
        match stream.get_ref().take_error()? {
            Some(e) => Err(e),
            None => Ok(()),
        }
    })
    .await?;
    Ok(stream)
}

/// One line of multistream-select.
pub(crate) fn line(text: &str) -> Vec<u8> {
    framed(format!("{text}\n").as_bytes())
}

/// Reads one length-prefixed frame.
pub(crate) async fn read_frame<S: AsyncRead + Unpin>(io: &mut S) -> io::Result<Vec<u8>> {
    let (mut len, mut shift) = (0usize, 0);
    loop {
        let mut byte = [0];
        io.read_exact(&mut byte).await?;
        len |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] < 0x80 {
            break;
        }
        if shift > 28 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let mut bytes = vec![0; len];
    io.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn read_line<S: AsyncRead + Unpin>(io: &mut S) -> io::Result<String> {
    let bytes = read_frame(io).await?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

const MULTISTREAM: &str = "/multistream/1.0.0";

/// Proposes one protocol and waits for the agreement.
pub(crate) async fn propose<S>(io: &mut S, protocol: &str) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut hello = line(MULTISTREAM);
    hello.extend(line(protocol));
    io.write_all(&hello).await?;
    io.flush().await?;
    read_line(io).await?;
    let answer = read_line(io).await?;
    if answer == protocol {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{protocol} was answered {answer}"
    )))
}

/// Answers proposals until one is in `known`; that one.
async fn agree<S>(io: &mut S, known: &(dyn Fn(&str) -> bool + Sync)) -> io::Result<String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let hello = read_line(io).await?;
    io.write_all(&line(&hello)).await?;
    io.flush().await?;
    loop {
        let protocol = read_line(io).await?;
        let answer = if known(&protocol) {
            protocol.as_str()
        } else {
            "na"
        };
        io.write_all(&line(answer)).await?;
        io.flush().await?;
        if answer != "na" {
            return Ok(protocol);
        }
    }
}

/// Dials and proves an identity; no multiplexer yet.
pub(crate) async fn secure(
    target: &Multiaddr,
    source: Option<IpAddr>,
    key: &Keypair,
) -> io::Result<Channel> {
    let mut io = tcp(socket_addr(target), source).await?;
    within("the handshake", async {
        propose(&mut io, "/noise").await?;
        let config = noise::Config::new(key).map_err(io::Error::other)?;
        let (_, channel) = config
            .upgrade_outbound(io, "/noise")
            .await
            .map_err(io::Error::other)?;
        Ok(channel)
    })
    .await
}

/// The same and agreed on yamux, whose frames the caller writes.
pub(crate) async fn raw_yamux(
    target: &Multiaddr,
    source: Option<IpAddr>,
    key: &Keypair,
) -> io::Result<Channel> {
    let mut channel = secure(target, source, key).await?;
    within("yamux", propose(&mut channel, "/yamux/1.0.0")).await?;
    Ok(channel)
}

/// How a peer treats the streams that the victim opens to it.
pub(crate) trait Manners: Send + Sync + 'static {
    /// Whether it speaks a protocol.
    fn speaks(&self, protocol: &str) -> bool;
    /// What it does with such a stream.
    fn serve(&self, protocol: String, stream: SubstreamBox) -> BoxFuture<'static, ()>;
}

/// As an honest peer: identify, ping, and gossip that is read and dropped.
pub(crate) struct Polite {
    pub(crate) identify: Identify,
}

impl Polite {
    pub(crate) fn new(key: &Keypair) -> Self {
        Polite {
            identify: Identify {
                public_key: Some(key.public().encode_protobuf()),
                protocols: ["/ipfs/id/1.0.0", "/ipfs/ping/1.0.0", GOSSIP]
                    .map(Into::into)
                    .to_vec(),
                protocol_version: Some("p2p-node/1.0.0".into()),
                agent_version: Some("hostile/1".into()),
                ..Identify::default()
            },
        }
    }
}

pub(crate) const GOSSIP: &str = "/meshsub/1.1.0";

impl Manners for Polite {
    fn speaks(&self, protocol: &str) -> bool {
        [GOSSIP, "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"].contains(&protocol)
    }

    fn serve(&self, protocol: String, mut stream: SubstreamBox) -> BoxFuture<'static, ()> {
        let identify = frame(&self.identify);
        Box::pin(async move {
            match protocol.as_str() {
                "/ipfs/id/1.0.0" => {
                    let _ = stream.write_all(&identify).await;
                    let _ = stream.close().await;
                }
                "/ipfs/ping/1.0.0" => {
                    let mut bytes = [0; 32];
                    while stream.read_exact(&mut bytes).await.is_ok() {
                        if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err()
                        {
                            return;
                        }
                    }
                }
                _ => drain(&mut stream).await,
            }
        })
    }
}

/// Reads and drops everything.
pub(crate) async fn drain<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut bytes = vec![0; 16 << 10];
    while matches!(stream.read(&mut bytes).await, Ok(n) if n > 0) {}
}

type OpenReply = oneshot::Sender<io::Result<SubstreamBox>>;

/// A connection to the victim. Dropping it closes it.
pub(crate) struct Peer {
    asks: Sender<OpenReply>,
    gone: Arc<AtomicBool>,
    /// Cancelled when it is.
    end: Shared<oneshot::Receiver<()>>,
}

impl Peer {
    /// Connects as `key` with `manners`.
    pub(crate) async fn connect(
        target: &Multiaddr,
        source: Option<IpAddr>,
        key: &Keypair,
        manners: Arc<dyn Manners>,
    ) -> io::Result<Peer> {
        let channel = raw_yamux(target, source, key).await?;
        let muxer = libp2p_yamux::Config::default()
            .upgrade_outbound(channel, "/yamux/1.0.0")
            .await?;
        let (asks, receiver) = unbounded();
        let gone = Arc::new(AtomicBool::new(false));
        let (ended, end) = oneshot::channel();
        let drive = drive(StreamMuxerBox::new(muxer), receiver, manners, gone.clone());
        async_std::task::spawn(async move {
            drive.await;
            drop(ended);
        });
        let end = end.shared();
        Ok(Peer { asks, gone, end })
    }

    /// Connects as `key` and behaves, as far as the victim's own streams go.
    pub(crate) async fn polite(
        target: &Multiaddr,
        source: Option<IpAddr>,
        key: &Keypair,
    ) -> io::Result<Peer> {
        Peer::connect(target, source, key, Arc::new(Polite::new(key))).await
    }

    /// Whether the connection has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Done when it has ended.
    pub(crate) async fn ends(&self) {
        let _ = self.end.clone().await;
    }

    /// A new stream with nothing said on it.
    pub(crate) async fn stream(&self) -> io::Result<SubstreamBox> {
        let (reply, answer) = oneshot::channel();
        self.asks
            .send(reply)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::ConnectionAborted))?;
        within("a stream", async {
            answer
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::ConnectionAborted.into()))
        })
        .await
    }

    /// A new stream of `protocol`.
    pub(crate) async fn open(&self, protocol: &str) -> io::Result<SubstreamBox> {
        let mut stream = self.stream().await?;
        within(protocol, propose(&mut stream, protocol)).await?;
        Ok(stream)
    }

    /// A new stream of `protocol` whose agreement nobody reads.
    pub(crate) async fn open_unread(
        &self,
        protocol: &str,
        first: &[u8],
    ) -> io::Result<SubstreamBox> {
        let mut stream = self.stream().await?;
        let mut hello = line(MULTISTREAM);
        hello.extend(line(protocol));
        hello.extend_from_slice(first);
        within(protocol, async {
            stream.write_all(&hello).await?;
            stream.flush().await
        })
        .await?;
        Ok(stream)
    }
}

async fn drive(
    mut muxer: StreamMuxerBox,
    mut asks: Receiver<OpenReply>,
    manners: Arc<dyn Manners>,
    gone: Arc<AtomicBool>,
) {
    let mut waiting: VecDeque<OpenReply> = VecDeque::new();
    futures::future::poll_fn(|cx| {
        loop {
            match asks.poll_next_unpin(cx) {
                Poll::Ready(Some(ask)) => waiting.push_back(ask),
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        while !waiting.is_empty() {
            match muxer.poll_outbound_unpin(cx) {
                Poll::Ready(opened) => {
                    let failed = opened.is_err();
                    if let Some(ask) = waiting.pop_front() {
                        let _ = ask.send(opened);
                    }
                    if failed {
                        return Poll::Ready(());
                    }
                }
                Poll::Pending => break,
            }
        }
        loop {
            match muxer.poll_inbound_unpin(cx) {
                Poll::Ready(Ok(mut stream)) => {
                    let manners = manners.clone();
                    async_std::task::spawn(async move {
                        let agreed = agree(&mut stream, &|p| manners.speaks(p)).await;
                        if let Ok(protocol) = agreed {
                            manners.serve(protocol, stream).await;
                        }
                    });
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        match muxer.poll_unpin(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
    gone.store(true, Ordering::Relaxed);
}

/// A message as bytes of protobuf.
pub(crate) fn bytes(message: &impl Message) -> Vec<u8> {
    message.encode_to_vec()
}
