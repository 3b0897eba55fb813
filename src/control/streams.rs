//! STREAM_OPEN and STREAM_HANDLER: streams of the network for programs on this host. A
//! stream that a program opens takes over its connection. For an inbound stream, the node
//! connects to the address at which the program listens.
//!
//! A handler stays until it is replaced or the daemon ends, as in go-libp2p's daemon. The
//! connection that registered it may close.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_io::Async;
use async_std::channel::{Receiver, Sender, bounded};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use socket2::{SockRef, TcpKeepalive};

use super::codec::Channel;
use super::pb;
use super::pipe;
use super::server::Shared;
use super::session::{End, Failure, Session, ok, within};
use super::socket::Local;
use super::wire;
use crate::api::StreamInfo;
use crate::node::streams::{Full, IncomingStreams, PeerStream, Shares};
use crate::telemetry::throttle;

/// The maximum number of protocols that programs on this host handle. All of their names
/// are in every identify message, which has to stay small.
const MAX_HANDLERS: usize = 256;

/// The maximum number of protocols in one request.
const MAX_PROTOCOLS: usize = 32;

/// The maximum length of a protocol's name in bytes, which is what fits into one
/// negotiation message of common implementations.
const MAX_PROTOCOL: usize = 140;

/// The maximum number of inbound streams that are carried to handlers at once. Each of
/// them holds two descriptors for sockets and 128 KiB of buffers.
const MAX_STREAMS: usize = 512;

/// The maximum number of these streams that one peer may have. It is a quarter, so that
/// no single peer can keep the others out, and still as many as one connection may have
/// by default (P2P_MAX_INBOUND_STREAMS).
const MAX_STREAMS_PER_PEER: usize = MAX_STREAMS / 4;

/// How long a local handler may take to accept the connection. After that it counts as
/// absent.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(10);

/// The silence after which the kernel checks whether the other end of a TCP connection to
/// a handler is still alive. A program that has crashed must not hold a stream for ever.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The routes of inbound streams.
#[derive(Debug)]
pub(super) struct Handlers {
    routes: Mutex<HashMap<StreamProtocol, Route>>,
    carried: Shares,
    stopped: Receiver<()>,
}

/// Logs that a stream was refused, at most once a minute for each limit, since a remote
/// peer can open any number of streams.
fn log_full(full: Full, peer: PeerId, protocol: &StreamProtocol) {
    let (limit, cause, why) = match full {
        Full::Peer(limit) => (limit, "streams carried for a peer", "for this peer"),
        Full::All(limit) => (limit, "streams carried", "for all peers together"),
    };
    if let Some(suppressed) = throttle::allow(cause) {
        log::warn!(
            peer:% = peer, protocol:% = protocol, limit, suppressed;
            "refused an inbound stream: too many are being carried to handlers {why}"
        );
    }
}

#[derive(Debug)]
struct Route {
    to: Target,
    /// Whether nothing listened at the address when the last stream arrived. Such a route
    /// is the first to be removed when room is needed.
    dead: bool,
    /// Closed when the route is removed, which ends the task that takes its streams.
    life: Sender<()>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl Handlers {
    pub(super) fn new(stopped: Receiver<()>) -> Self {
        Handlers {
            routes: Mutex::default(),
            carried: Shares::new(MAX_STREAMS, MAX_STREAMS_PER_PEER),
            stopped,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamProtocol, Route>> {
        // No code panics while it holds the lock.
        self.routes.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn target(&self, protocol: &StreamProtocol) -> Option<Target> {
        self.lock().get(protocol).map(|r| r.to.clone())
    }

    fn mark(&self, protocol: &StreamProtocol, target: &Target, dead: bool) {
        if let Some(route) = self.lock().get_mut(protocol)
            && route.to == *target
        {
            route.dead = dead;
        }
    }
}

impl Target {
    fn parse(addr: &Multiaddr) -> Result<Self, Failure> {
        let parts: Vec<_> = addr.iter().collect();
        match parts.as_slice() {
            // Some clients write the path with its leading slash and some without it.
            [Protocol::Unix(path)] if path.starts_with('/') => {
                Ok(Target::Unix(PathBuf::from(path.as_ref())))
            }
            [Protocol::Unix(path)] => Ok(Target::Unix(PathBuf::from(format!("/{path}")))),
            [Protocol::Ip4(ip), Protocol::Tcp(port)] => {
                Ok(Target::Tcp(SocketAddr::new(IpAddr::V4(*ip), *port)))
            }
            [Protocol::Ip6(ip), Protocol::Tcp(port)] => {
                Ok(Target::Tcp(SocketAddr::new(IpAddr::V6(*ip), *port)))
            }
            _ => Err(Failure(format!(
                "a stream handler listens at /unix/PATH, /ip4/A/tcp/P or /ip6/A/tcp/P, not at {addr}"
            ))),
        }
    }
}

fn protocols(names: Vec<String>) -> Result<Vec<StreamProtocol>, Failure> {
    if names.is_empty() {
        return Err("malformed request: proto is missing".into());
    }
    if names.len() > MAX_PROTOCOLS {
        return Err(Failure(format!(
            "{} protocols in one request are more than the limit of {MAX_PROTOCOLS}",
            names.len()
        )));
    }
    names
        .into_iter()
        .map(|name| {
            if name.len() > MAX_PROTOCOL {
                return Err(Failure(format!(
                    "a protocol name of {} bytes is longer than the limit of {MAX_PROTOCOL}",
                    name.len()
                )));
            }
            StreamProtocol::try_from_owned(name.clone())
                .map_err(|e| Failure(format!("{name:?} is no name of a protocol: {e}")))
        })
        .collect()
}

/// Returns the address of a connected peer, or an empty one when it has just gone.
async fn remote_addr(shared: &Shared, peer: PeerId) -> Multiaddr {
    let peers = shared.node.handle.peers().await.unwrap_or_default();
    peers
        .into_iter()
        .find(|p| p.id == peer)
        .and_then(|p| p.connections.into_iter().next())
        .map_or_else(Multiaddr::empty, |c| c.addr)
}

async fn open(
    shared: Arc<Shared>,
    ask: pb::StreamOpenRequest,
) -> Result<(PeerStream, StreamInfo), Failure> {
    let peer = wire::peer_id("peer", &ask.peer)?;
    let protocols = protocols(ask.proto)?;
    let handle = &shared.node.handle;
    if peer == handle.local_peer_id() {
        return Err(Failure(format!("{peer} is this node itself")));
    }
    let (stream, protocol) = within("opening the stream", ask.timeout, async {
        // The connection comes first, because a draining node refuses here.
        handle.connect(peer, Vec::new()).await?;
        Ok(handle.open_stream(peer, &protocols).await?)
    })
    .await?;
    let addr = remote_addr(&shared, peer).await;
    Ok((
        stream,
        StreamInfo {
            peer,
            addr,
            proto: protocol.to_string(),
        },
    ))
}

impl Session {
    /// Opens a stream. On success the connection becomes the stream until both of them
    /// have ended. The session is returned only if that fails.
    pub(super) async fn open_stream(
        mut self,
        ask: Option<pb::StreamOpenRequest>,
    ) -> Result<Self, End> {
        let opened = match ask {
            Some(ask) => {
                let shared = Arc::clone(&self.shared);
                self.attend(open(shared, ask)).await?
            }
            None => Err("malformed request: streamOpen is missing".into()),
        };
        let (stream, info) = match opened {
            Ok(opened) => opened,
            Err(e) => {
                self.reply(Err(e)).await?;
                return Ok(self);
            }
        };
        self.answer(&pb::Response {
            stream_info: Some(info.to_pb()),
            ..ok()
        })
        .await?;
        let (io, ahead) = self.channel.into_parts();
        if let Err(e) = pass(io, ahead, stream, &info).await {
            log::debug!(peer:% = info.peer, protocol = info.proto.as_str(), error:% = e; "a client's stream ended early");
        }
        Err(End::Over)
    }

    /// Routes inbound streams to the address at which the client says that it listens.
    pub(super) fn handle_streams(
        &self,
        ask: pb::StreamHandlerRequest,
    ) -> Result<pb::Response, Failure> {
        let to = Target::parse(&wire::multiaddr("addr", &ask.addr)?)?;
        let protocols = protocols(ask.proto)?;
        let handlers = &self.shared.handlers;
        let mut routes = handlers.lock();
        for protocol in protocols {
            if let Some(route) = routes.get_mut(&protocol) {
                route.to = to.clone();
                route.dead = false;
                continue;
            }
            if routes.len() >= MAX_HANDLERS {
                let dead = routes.iter().find(|(_, r)| r.dead).map(|(p, _)| p.clone());
                match dead {
                    Some(dead) => {
                        if let Some(route) = routes.remove(&dead) {
                            route.life.close();
                        }
                    }
                    None => {
                        return Err(Failure(format!(
                            "{MAX_HANDLERS} protocols have handlers already, which is the limit"
                        )));
                    }
                }
            }
            let incoming = self.shared.node.handle.accept(protocol.clone())?;
            let (life, ended) = bounded(1);
            routes.insert(
                protocol.clone(),
                Route {
                    to: to.clone(),
                    dead: false,
                    life,
                },
            );
            async_std::task::spawn(take(Arc::clone(&self.shared), protocol, incoming, ended));
        }
        Ok(ok())
    }
}

/// Takes the inbound streams of one protocol for as long as there is a route for it.
async fn take(
    shared: Arc<Shared>,
    protocol: StreamProtocol,
    mut incoming: IncomingStreams,
    ended: Receiver<()>,
) {
    loop {
        let next = futures::select_biased! {
            _ = shared.handlers.stopped.recv().fuse() => return,
            _ = ended.recv().fuse() => return,
            next = incoming.next().fuse() => next,
        };
        let Some((peer, stream)) = next else { return };
        let Some(target) = shared.handlers.target(&protocol) else {
            return;
        };
        // A stream that is not carried to a handler is dropped here, which resets it.
        let place = match shared.handlers.carried.enter(peer) {
            Ok(place) => place,
            Err(full) => {
                shared
                    .metrics
                    .traffic
                    .streams_refused
                    .with_label_values(&["handlers_full"])
                    .inc();
                log_full(full, peer, &protocol);
                continue;
            }
        };
        let (shared, protocol) = (Arc::clone(&shared), protocol.clone());
        async_std::task::spawn(async move {
            let stopped = shared.handlers.stopped.clone();
            futures::select_biased! {
                _ = stopped.recv().fuse() => {}
                result = carry(&shared, &protocol, &target, peer, stream).fuse() => {
                    if let Err(e) = result {
                        log::debug!(peer:% = peer, protocol:% = protocol, error:% = e; "an inbound stream ended early");
                    }
                }
            }
            drop(place);
        });
    }
}

async fn carry(
    shared: &Shared,
    protocol: &StreamProtocol,
    target: &Target,
    peer: PeerId,
    stream: PeerStream,
) -> io::Result<()> {
    let addr = remote_addr(shared, peer).await;
    let info = StreamInfo {
        peer,
        addr,
        proto: protocol.to_string(),
    };
    let dial = async {
        match target {
            Target::Unix(path) => Ok(Dialed::Unix(Async::<UnixStream>::connect(path).await?)),
            Target::Tcp(addr) => {
                let tcp = Async::<TcpStream>::connect(*addr).await?;
                tcp.get_ref().set_nodelay(true)?;
                SockRef::from(tcp.get_ref())
                    .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
                Ok(Dialed::Tcp(tcp))
            }
        }
    };
    let dialed = async_std::future::timeout(HANDLER_TIMEOUT, dial)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    shared.handlers.mark(protocol, target, dialed.is_err());
    match dialed {
        Ok(Dialed::Unix(io)) => hand_over(io, &info, stream).await,
        Ok(Dialed::Tcp(io)) => hand_over(io, &info, stream).await,
        Err(e) => {
            if let Some(suppressed) = throttle::allow("stream handler unreachable") {
                log::warn!(
                    protocol:% = protocol, handler:? = target, suppressed, error:% = e;
                    "reset an inbound stream: its handler cannot be reached"
                );
            }
            Err(e)
        }
    }
}

enum Dialed {
    Unix(Async<UnixStream>),
    Tcp(Async<TcpStream>),
}

async fn hand_over<L: Local>(io: L, info: &StreamInfo, stream: PeerStream) -> io::Result<()> {
    let mut channel = Channel::new(io);
    channel.write(&info.to_pb()).await?;
    pass(channel.into_parts().0, Bytes::new(), stream, info).await
}

/// Carries bytes until the stream ends or has been idle for too long. The idle time is
/// measured here because a program that neither reads nor writes would not notice the end
/// of the stream.
async fn pass<L: Local>(
    io: L,
    ahead: Bytes,
    stream: PeerStream,
    info: &StreamInfo,
) -> io::Result<()> {
    let mut over = stream.over().fuse();
    let timeout = futures::select_biased! {
        timeout = over => timeout,
        result = pipe::run(io, ahead, stream).fuse() => return result,
    };
    if let Some(suppressed) = throttle::allow("idle streams of programs") {
        log::info!(
            peer:% = info.peer, protocol = info.proto.as_str(), timeout:? = timeout, suppressed;
            "closed a program's stream: no byte has moved on it for P2P_STREAM_IDLE_TIMEOUT"
        );
    }
    Err(io::ErrorKind::TimedOut.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_listen_at_unix_paths_and_tcp_ports() {
        let parse = |s: &str| Target::parse(&s.parse().unwrap()).ok();
        assert_eq!(
            parse("/ip4/127.0.0.1/tcp/7"),
            Some(Target::Tcp("127.0.0.1:7".parse().unwrap()))
        );
        assert_eq!(
            parse("/ip6/::1/tcp/7"),
            Some(Target::Tcp("[::1]:7".parse().unwrap()))
        );
        for other in [
            "/ip4/127.0.0.1/udp/7",
            "/dns4/x/tcp/7",
            "/ip4/127.0.0.1/tcp/7/ws",
            "/memory/1",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
        for path in ["/tmp/h.sock", "tmp/h.sock"] {
            let addr = Multiaddr::empty().with(Protocol::Unix(path.into()));
            let target = Target::parse(&addr).ok();
            assert_eq!(target, Some(Target::Unix("/tmp/h.sock".into())), "{path}");
        }
    }

    #[test]
    fn protocol_names_are_bounded_and_begin_with_a_slash() {
        assert!(protocols(vec!["/a/1".into()]).is_ok());
        assert!(protocols(vec![]).is_err());
        assert!(protocols(vec!["a".into()]).is_err());
        assert!(protocols(vec![format!("/{}", "x".repeat(MAX_PROTOCOL))]).is_err());
        assert!(protocols(vec!["/a".into(); MAX_PROTOCOLS + 1]).is_err());
    }
}
