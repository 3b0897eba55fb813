//! The part in the swarm, which receives requests for streams, dials, and chooses the
//! connection on which a stream is opened.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_std::channel::{Receiver, bounded};
use futures::Stream;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, DialError, DialFailure, FromSwarm, NetworkBehaviour,
    NotifyHandler, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use prometheus::IntCounter;

use super::Ask;
use super::acceptors::Acceptors;
use super::control::{Control, OpenError};
use super::handler::{Handler, Order};
use super::slots::Slots;
use super::stream::Terms;
use crate::node::obstacle::unreachable;

/// The maximum number of requests between the controls and the swarm. It is small: the
/// swarm takes them at once, and callers that are faster wait.
const ASKS: usize = 64;

/// The maximum number of unanswered requests for one peer, which is the default of
/// P2P_MAX_OUTBOUND_STREAMS. More could not all be open on one connection.
pub(super) const MAX_PENDING: usize = 256;

/// One stream in this many is reserved for the node's own protocols, since programs that
/// open as many as they can must not starve them.
const OWN_SHARE: usize = 8;

/// At least this many are reserved: four that stay open (gossip, ping, the exchange of
/// blocks and the agreement to keep the connection), and two for short ones
/// (DHT, identify, relay).
const OWN_STREAMS: usize = 6;

type Event = ToSwarm<Infallible, Order>;

/// See the module's documentation.
pub(in crate::node) struct Behaviour {
    acceptors: Arc<Acceptors>,
    terms: Terms,
    control: Control,
    asks: Receiver<Ask>,
    /// Peers with connections, and those being dialed for a request. Bounded by the
    /// limits on established and pending connections.
    peers: HashMap<PeerId, Peer>,
    /// Inbound streams of connections that are still being established, whose handlers
    /// exist before the swarm reports the connection.
    making: HashMap<ConnectionId, Slots>,
    /// Events for the swarm, which takes one at each poll. No new request is received
    /// before these are gone, so there are at most as many as requests wait for one
    /// connection.
    events: VecDeque<Event>,
    /// The version of the protocols that connections were told about, and the connections
    /// that were not told yet.
    announced: u64,
    untold: Vec<(PeerId, ConnectionId)>,
    /// `P2P_MAX_OUTBOUND_STREAMS`, and how many of them requests may use.
    configured: usize,
    max_streams: usize,
}

#[derive(Debug, Default)]
struct Peer {
    connections: Vec<Connection>,
    /// Requests that wait for the end of a dial, while there is no connection.
    waiting: Vec<Ask>,
    /// The dial that was made for them, or `None` while another dial is under way.
    dial: Option<ConnectionId>,
    pending: Slots,
}

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    relayed: bool,
    streams: Slots,
    inbound: Slots,
}

impl Behaviour {
    /// `max_outbound` is the number of streams that this node may open on one connection
    /// (`P2P_MAX_OUTBOUND_STREAMS`). `refused` counts inbound streams that were
    /// reset because nobody took them in time. `terms` apply to all streams.
    pub(in crate::node) fn new(max_outbound: usize, refused: IntCounter, terms: Terms) -> Self {
        let acceptors = Arc::new(Acceptors::new(refused));
        let (sender, asks) = bounded(ASKS);
        Behaviour {
            control: Control::new(sender, acceptors.clone()),
            acceptors,
            terms,
            asks,
            peers: HashMap::new(),
            making: HashMap::new(),
            events: VecDeque::new(),
            announced: 0,
            untold: Vec::new(),
            configured: max_outbound,
            max_streams: max_outbound
                .saturating_sub(max_outbound.div_ceil(OWN_SHARE).max(OWN_STREAMS))
                .max(1),
        }
    }

    /// A handle for the rest of the program.
    pub(in crate::node) fn control(&self) -> Control {
        self.control.clone()
    }

    /// Creates the handler of a new connection. The address is ours if the peer dialed, or
    /// else the peer's, and tells whether the connection goes through a relay.
    fn handler(&mut self, id: ConnectionId, peer: PeerId, address: &Multiaddr) -> Handler {
        let relayed = address.iter().any(|part| part == Protocol::P2pCircuit);
        let inbound = Slots::default();
        self.making.insert(id, inbound.clone());
        let (terms, acceptors) = (self.terms.clone(), self.acceptors.clone());
        Handler::new(peer, relayed, terms, acceptors, inbound)
    }

    /// Whether content or a program of this host has asked for a stream on a connection
    /// with `peer`. What the peer opens does not count: it could use that to be kept.
    pub(in crate::node) fn is_asked(&self, peer: &PeerId, id: ConnectionId) -> bool {
        let connections = self.peers.get(peer).map(|p| p.connections.iter());
        let mut all = connections.into_iter().flatten();
        all.any(|c| c.id == id && c.streams.used() > 0)
    }

    /// Whether content or a program has a stream on a connection with `peer`, or
    /// has requested one.
    pub(in crate::node) fn is_used(&self, peer: &PeerId, id: ConnectionId) -> bool {
        let connections = self.peers.get(peer).map(|p| p.connections.iter());
        let connection = connections.into_iter().flatten().find(|c| c.id == id);
        connection.is_some_and(|c| c.streams.used() > 0 || c.inbound.used() > 0)
    }

    /// Assigns a new request to a connection, or dials the peer.
    fn take(&mut self, mut ask: Ask) {
        if ask.reply.is_canceled() {
            return;
        }
        let id = ask.peer;
        let peer = self.peers.entry(id).or_default();
        if peer.pending.used() >= MAX_PENDING {
            peer.waiting.retain(|ask| !ask.reply.is_canceled());
        }
        ask.pending = peer.pending.take(MAX_PENDING);
        if ask.pending.is_none() {
            return ask.fail(OpenError::TooManyPending(MAX_PENDING));
        }
        if !peer.connections.is_empty() {
            return self.hand_over(ask);
        }
        if peer.waiting.is_empty() {
            let opts = DialOpts::peer_id(id)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .build();
            peer.dial = Some(opts.connection_id());
            self.events.push_back(ToSwarm::Dial { opts });
        }
        peer.waiting.push(ask);
    }

    /// Assigns a request to the best connection: one with room, preferably direct and not
    /// over a relay (which limits time and bytes), and preferably less used.
    fn hand_over(&mut self, mut ask: Ask) {
        let max = self.max_streams;
        let best = self.peers.get(&ask.peer).and_then(|peer| {
            peer.connections.iter().min_by_key(|c| {
                let used = c.streams.used();
                (used >= max, c.relayed, used)
            })
        });
        let Some(best) = best else {
            return ask.fail(OpenError::Closed);
        };
        ask.stream = best.streams.take(max);
        if ask.stream.is_none() {
            return ask.fail(OpenError::TooManyStreams {
                used: max,
                configured: self.configured,
            });
        }
        self.events.push_back(ToSwarm::NotifyHandler {
            peer_id: ask.peer,
            handler: NotifyHandler::One(best.id),
            event: Order::Open(ask),
        });
    }

    fn established(&mut self, id: PeerId, connection: ConnectionId, relayed: bool) {
        let inbound = self.making.remove(&connection).unwrap_or_default();
        let peer = self.peers.entry(id).or_default();
        peer.connections.push(Connection {
            id: connection,
            relayed,
            streams: Slots::default(),
            inbound,
        });
        peer.dial = None;
        for ask in std::mem::take(&mut peer.waiting) {
            if !ask.reply.is_canceled() {
                self.hand_over(ask);
            }
        }
    }

    fn closed(&mut self, id: PeerId, connection: ConnectionId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.connections.retain(|c| c.id != connection);
            if peer.connections.is_empty() && peer.waiting.is_empty() {
                self.peers.remove(&id);
            }
        }
        self.untold.retain(|(_, c)| *c != connection);
    }

    fn dial_failed(&mut self, id: PeerId, connection: ConnectionId, error: &DialError) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let ours = peer.dial == Some(connection);
        if let DialError::DialPeerConditionFalse(_) = error {
            if ours {
                // Another part is dialing the peer, and the end of that dial is the answer.
                peer.dial = None;
            }
            return;
        }
        if peer.dial.is_some() && !ours {
            return;
        }
        peer.dial = None;
        let waiting = std::mem::take(&mut peer.waiting);
        if peer.connections.is_empty() {
            self.peers.remove(&id);
        }
        if waiting.is_empty() {
            return;
        }
        let reason = unreachable(error);
        for ask in waiting {
            ask.fail(OpenError::Dial(reason.clone()));
        }
    }
}

impl Behaviour {
    /// Accepts no more inbound streams. Those that were accepted continue.
    pub(in crate::node) fn close(&self) {
        self.acceptors.stop();
    }
}

impl Drop for Behaviour {
    fn drop(&mut self) {
        // Requests in the queue would otherwise stay there as long as any control exists.
        self.asks.close();
        while self.asks.try_recv().is_ok() {}
        self.acceptors.stop();
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(id, peer, local))
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(id, peer, remote))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => self.established(peer_id, connection_id, endpoint.is_relayed()),
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id,
                ..
            }) => self.closed(peer_id, connection_id),
            FromSwarm::DialFailure(DialFailure {
                peer_id,
                connection_id,
                error,
            }) => {
                self.making.remove(&connection_id);
                if let Some(peer_id) = peer_id {
                    self.dial_failed(peer_id, connection_id, error);
                }
            }
            FromSwarm::ListenFailure(failure) => {
                self.making.remove(&failure.connection_id);
            }
            _ => {}
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

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            self.acceptors.register(cx.waker());
            let version = self.acceptors.version();
            if version != self.announced {
                self.announced = version;
                self.untold.clear();
                for (id, peer) in &self.peers {
                    self.untold
                        .extend(peer.connections.iter().map(|c| (*id, c.id)));
                }
            }
            if let Some((peer_id, connection)) = self.untold.pop() {
                return Poll::Ready(ToSwarm::NotifyHandler {
                    peer_id,
                    handler: NotifyHandler::One(connection),
                    event: Order::Protocols,
                });
            }
            match Pin::new(&mut self.asks).poll_next(cx) {
                Poll::Ready(Some(ask)) => self.take(ask),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}
