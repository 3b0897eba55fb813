//! A swarm, ours on async-std or a foreign one on tokio, behind one handle.
//!
//! It speaks one protocol of raw streams. libp2p-stream is not used for that:
//! it drops inbound streams while its queue of one is full.

use std::collections::HashMap;
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use async_std::sync::Mutex;
use futures::channel::{mpsc, oneshot};
use futures::{FutureExt, StreamExt, select};
use libp2p::core::transport::{ListenerId, PortUse};
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::identity::Keypair;
use libp2p::pnet::PreSharedKey;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    self, ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, Stream, StreamProtocol, SubstreamProtocol, Swarm, SwarmEvent, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{PeerId, relay};
use p2p_node::transport;

use crate::link::{HANDSHAKE_TIMEOUT, Link};

/// Whose transports a node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Foreign,
}

impl Side {
    pub(crate) fn other(self) -> Side {
        match self {
            Side::Ours => Side::Foreign,
            Side::Foreign => Side::Ours,
        }
    }
}

/// A running swarm; it ends when this is dropped.
pub(crate) struct Node {
    pub(crate) peer: PeerId,
    commands: mpsc::UnboundedSender<Command>,
    streams: Mutex<mpsc::UnboundedReceiver<Stream>>,
    refused: Mutex<mpsc::UnboundedReceiver<String>>,
}

enum Command {
    Listen(Multiaddr, oneshot::Sender<Result<Multiaddr, String>>),
    StopListening(oneshot::Sender<()>),
    Dial(DialOpts, oneshot::Sender<Result<PeerId, String>>),
    Connected(PeerId, oneshot::Sender<()>),
    Connections(oneshot::Sender<usize>),
    Open(PeerId, oneshot::Sender<Result<Stream, String>>),
}

impl Node {
    pub(crate) fn new(side: Side, link: Link) -> Node {
        Node::with_key(side, link, None)
    }

    /// A node of a private network, when a key is given.
    pub(crate) fn with_key(side: Side, link: Link, network_key: Option<PreSharedKey>) -> Node {
        let identity = Keypair::generate_ed25519();
        let peer = identity.public().to_peer_id();
        let (commands, receiver) = mpsc::unbounded();
        let (arrived, streams) = mpsc::unbounded();
        let (refusals, refused) = mpsc::unbounded();
        match side {
            Side::Ours => {
                let options = transport::Options {
                    security: link.security(),
                    network_key,
                    handshake_timeout: HANDSHAKE_TIMEOUT,
                    dns: transport::dns::Options {
                        hosts: Some(concat!(env!("CARGO_MANIFEST_DIR"), "/hosts").into()),
                        ..Default::default()
                    },
                    ..transport::Options::default()
                };
                let (stack, relay) = transport::build(&identity, &options).unwrap();
                let config = swarm::Config::with_executor(|task| {
                    async_std::task::spawn(task);
                });
                let behaviour = Behaviour::new(arrived, Some(relay));
                let swarm = Swarm::new(stack, behaviour, peer, patient(config));
                async_std::task::spawn(drive(swarm, receiver, refusals));
            }
            Side::Foreign => {
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_multi_thread()
                        .worker_threads(1)
                        .enable_all()
                        .build()
                        .unwrap();
                    runtime.block_on(async move {
                        let stack = link.foreign(&identity, network_key);
                        let config = swarm::Config::with_tokio_executor();
                        let behaviour = Behaviour::new(arrived, None);
                        let swarm = Swarm::new(stack, behaviour, peer, patient(config));
                        drive(swarm, receiver, refusals).await;
                    });
                });
            }
        }
        Node {
            peer,
            commands,
            streams: Mutex::new(streams),
            refused: Mutex::new(refused),
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> T {
        let (reply, answer) = oneshot::channel();
        self.commands.unbounded_send(command(reply)).unwrap();
        answer.await.expect("the swarm is gone")
    }

    /// Listens, and says on which address.
    pub(crate) async fn listen(&self, address: Multiaddr) -> Multiaddr {
        self.try_listen(address).await.unwrap()
    }

    pub(crate) async fn try_listen(&self, address: Multiaddr) -> Result<Multiaddr, String> {
        self.ask(|reply| Command::Listen(address, reply)).await
    }

    /// Removes every listener.
    pub(crate) async fn stop_listening(&self) {
        self.ask(Command::StopListening).await;
    }

    /// Makes one more connection to `address`, to `peer` or to whoever is there.
    pub(crate) async fn dial(
        &self,
        address: &Multiaddr,
        peer: Option<PeerId>,
    ) -> Result<PeerId, String> {
        let opts = match peer {
            Some(peer) => DialOpts::peer_id(peer)
                .addresses(vec![address.clone()])
                .condition(PeerCondition::Always)
                .build(),
            None => DialOpts::unknown_peer_id().address(address.clone()).build(),
        };
        self.ask(|reply| Command::Dial(opts, reply)).await
    }

    /// Waits for a connection with `peer`.
    pub(crate) async fn connected(&self, peer: PeerId) {
        self.ask(|reply| Command::Connected(peer, reply)).await;
    }

    /// Connections that are established now.
    pub(crate) async fn connections(&self) -> usize {
        self.ask(Command::Connections).await
    }

    /// Opens a stream on a connection with `peer`.
    pub(crate) async fn open(&self, peer: PeerId) -> Stream {
        self.ask(|reply| Command::Open(peer, reply)).await.unwrap()
    }

    /// The next stream that another node opened.
    pub(crate) async fn accept(&self) -> Stream {
        self.streams
            .lock()
            .await
            .next()
            .await
            .expect("the swarm is gone")
    }

    /// Why the next incoming connection failed.
    pub(crate) async fn refusal(&self) -> String {
        self.refused
            .lock()
            .await
            .next()
            .await
            .expect("the swarm is gone")
    }
}

/// No idle timeout: connections end when a test ends them.
fn patient(config: swarm::Config) -> swarm::Config {
    config.with_idle_connection_timeout(Duration::from_secs(3600))
}

async fn drive(
    mut swarm: Swarm<Behaviour>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    refusals: mpsc::UnboundedSender<String>,
) {
    let mut listeners: HashMap<ListenerId, Option<oneshot::Sender<_>>> = HashMap::new();
    let mut dials: HashMap<ConnectionId, oneshot::Sender<_>> = HashMap::new();
    let mut waiting: Vec<(PeerId, oneshot::Sender<()>)> = Vec::new();
    loop {
        select! {
            command = commands.next().fuse() => match command {
                None => return,
                Some(Command::Listen(address, reply)) => match swarm.listen_on(address) {
                    Ok(id) => { listeners.insert(id, Some(reply)); }
                    Err(e) => { let _ = reply.send(Err(e.to_string())); }
                },
                Some(Command::StopListening(reply)) => {
                    for (id, _) in listeners.drain() {
                        assert!(swarm.remove_listener(id));
                    }
                    let _ = reply.send(());
                }
                Some(Command::Dial(opts, reply)) => {
                    let id = opts.connection_id();
                    match swarm.dial(opts) {
                        Ok(()) => { dials.insert(id, reply); }
                        Err(e) => { let _ = reply.send(Err(words(&e))); }
                    }
                }
                Some(Command::Connected(peer, reply)) => {
                    if swarm.is_connected(&peer) {
                        let _ = reply.send(());
                    } else {
                        waiting.push((peer, reply));
                    }
                }
                Some(Command::Connections(reply)) => {
                    let _ = reply.send(swarm.network_info().connection_counters()
                        .num_established() as usize);
                }
                Some(Command::Open(peer, reply)) => swarm.behaviour_mut().streams.open(peer, reply),
            },
            event = swarm.select_next_some() => match event {
                SwarmEvent::NewListenAddr { listener_id, address } => {
                    if let Some(reply) = listeners.get_mut(&listener_id).and_then(Option::take) {
                        let _ = reply.send(Ok(address));
                    }
                }
                SwarmEvent::ConnectionEstablished { connection_id, peer_id, .. } => {
                    if let Some(reply) = dials.remove(&connection_id) {
                        let _ = reply.send(Ok(peer_id));
                    }
                    for (_, reply) in waiting.extract_if(.., |(peer, _)| *peer == peer_id) {
                        let _ = reply.send(());
                    }
                }
                SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                    if let Some(reply) = dials.remove(&connection_id) {
                        let _ = reply.send(Err(words(&error)));
                    }
                }
                SwarmEvent::IncomingConnectionError { error, .. } => {
                    let _ = refusals.unbounded_send(words(&error));
                }
                _ => {}
            },
        }
    }
}

/// An error with its causes.
fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words += &format!(": {error}");
        cause = error.source();
    }
    words
}

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
struct Behaviour {
    streams: Streams,
    // Belongs to our stack, whose relay part stops without it.
    relay: Toggle<relay::client::Behaviour>,
}

impl Behaviour {
    fn new(
        arrived: mpsc::UnboundedSender<Stream>,
        relay: Option<relay::client::Behaviour>,
    ) -> Self {
        Behaviour {
            streams: Streams {
                arrived,
                connections: HashMap::new(),
            },
            relay: relay.into(),
        }
    }
}

const PROTOCOL: StreamProtocol = StreamProtocol::new("/conformance/1");

type Ask = oneshot::Sender<Result<Stream, String>>;

/// Streams without any protocol on them, as many as are asked for.
struct Streams {
    arrived: mpsc::UnboundedSender<Stream>,
    connections: HashMap<PeerId, Vec<(ConnectionId, mpsc::UnboundedSender<Ask>)>>,
}

impl Streams {
    fn open(&mut self, peer: PeerId, ask: Ask) {
        match self.connections.get(&peer).and_then(|all| all.first()) {
            // A connection that is just ending drops the question: the answer is an error too.
            Some((_, connection)) => drop(connection.unbounded_send(ask)),
            None => drop(ask.send(Err(format!("not connected with {peer}")))),
        }
    }

    fn handler(&mut self, id: ConnectionId, peer: PeerId) -> Handler {
        let (sender, asked) = mpsc::unbounded();
        self.connections.entry(peer).or_default().push((id, sender));
        Handler {
            asked,
            arrived: self.arrived.clone(),
        }
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(id, peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(id, peer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionClosed(closed) = event
            && let Some(all) = self.connections.get_mut(&closed.peer_id)
        {
            all.retain(|(id, _)| *id != closed.connection_id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

struct Handler {
    asked: mpsc::UnboundedReceiver<Ask>,
    arrived: mpsc::UnboundedSender<Stream>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Ask;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ())
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Ask, Infallible>> {
        match self.asked.poll_next_unpin(cx) {
            Poll::Ready(Some(ask)) => {
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                    protocol: SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ask),
                })
            }
            _ => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Ask>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol, ..
            }) => {
                let _ = self.arrived.unbounded_send(protocol);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol,
                info,
            }) => {
                let _ = info.send(Ok(protocol));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let _ = info.send(Err(words(&error)));
            }
            _ => {}
        }
    }
}
