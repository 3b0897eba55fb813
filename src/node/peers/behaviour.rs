//! The gate, as the swarm uses it.

use std::collections::HashMap;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::stream::AbortHandle;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, DialFailure, FromSwarm, ListenFailure,
    NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::node::compat::pending_handshakes::Pending;
use crate::peers::gate::Gate;
use crate::peers::limits::Limits;
use crate::peers::record::Connection;
use crate::peers::subnet::{ip_of, ip_of_inbound};
use crate::peers::table::Closed;
use crate::peers::{Peers, Policy};
use crate::system::resources::{Resources, Sample};

/// The gate as a libp2p behaviour, which is asked before all others about each
/// connection, both before and after its handshake. Only this behaviour records
/// connections in the table of peers, before any other behaviour and the event loop are
/// told of them.
#[derive(Debug)]
pub(crate) struct Behaviour {
    policy: Policy,
    gate: Gate,
    pending: Pending,
    /// The handles that end the handshakes of inbound connections, one for each that is
    /// under way.
    handshakes: HashMap<ConnectionId, AbortHandle>,
    /// What was known of connections that have ended, until the event loop is told of
    /// their end and takes it. The swarm tells it of each one next.
    closed: HashMap<ConnectionId, Closed>,
}

impl Behaviour {
    /// Returns a gate for the swarm. `pending` is shared with the transport.
    pub(crate) fn new(
        policy: Policy,
        limits: Limits,
        resources: Resources,
        pending: Pending,
    ) -> Self {
        let gate = policy.read(|peers| Gate::new(peers, limits, resources, Instant::now()));
        Behaviour {
            policy,
            gate,
            pending,
            handshakes: HashMap::new(),
            closed: HashMap::new(),
        }
    }

    /// Refuses every new connection from now on. Established connections stay.
    pub(crate) fn close(&mut self) {
        self.gate.close();
    }

    /// Changes the limits from now on, and takes over the rules that the policy has now.
    pub(crate) fn adjust(&mut self, limits: Limits, now: Instant) {
        let gate = &mut self.gate;
        self.policy.read(|peers| gate.adjust(peers, limits, now));
    }

    /// Returns the resources as they were when they were last looked at.
    pub(crate) fn resources(&self) -> Option<Sample> {
        self.gate.resources()
    }

    /// Takes what was known of a connection whose end the event loop was just told of.
    pub(crate) fn take_closed(&mut self, id: ConnectionId) -> Option<Closed> {
        self.closed.remove(&id)
    }

    fn ask<R>(&mut self, question: impl FnOnce(&mut Gate, &Peers, Instant) -> R) -> R {
        let gate = &mut self.gate;
        let now = Instant::now();
        self.policy.read(|peers| question(gate, peers, now))
    }

    fn settled(&mut self, id: ConnectionId) {
        self.handshakes.remove(&id);
        self.gate.settled(id);
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = std::convert::Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let handle = self.pending.take(local, remote);
        let ip = ip_of_inbound(local, remote);
        let evict = self
            .ask(|gate, peers, now| gate.arrives(peers, id, ip, now, rand::random))
            .map_err(ConnectionDenied::new)?;
        if let Some(slow) = evict.and_then(|id| self.handshakes.remove(&id)) {
            slow.abort();
        }
        if let Some(handle) = handle {
            self.handshakes.insert(id, handle);
        }
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let ip = ip_of_inbound(local, remote);
        self.ask(|gate, peers, now| gate.established_inbound(peers, id, &peer, ip, now))
            .map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        // If there are several addresses, some may be good, and the transport skips the
        // others. A dial of a single address is refused here, with the reason.
        let only = match addresses {
            [one] => ip_of(one),
            _ => None,
        };
        self.ask(|gate, peers, now| gate.dials(peers, id, peer.as_ref(), only.into_iter(), now))
            .map_err(ConnectionDenied::new)?;
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let ip = ip_of(remote);
        self.ask(|gate, peers, now| gate.established_outbound(peers, &peer, ip, now))
            .map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(new) => {
                self.settled(new.connection_id);
                let connection = Connection::new(new.endpoint, Instant::now());
                self.policy
                    .write(|peers| peers.opened(new.peer_id, new.connection_id, connection));
            }
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id,
                ..
            }) => {
                let closed = self
                    .policy
                    .write(|peers| peers.closed(&peer_id, connection_id));
                if let Some(closed) = closed {
                    self.closed.insert(connection_id, closed);
                }
            }
            FromSwarm::DialFailure(DialFailure { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.settled(connection_id);
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

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}
