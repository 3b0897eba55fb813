//! The gate as the swarm asks it.

use std::collections::HashMap;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::stream::AbortHandle;
use libp2p::core::ConnectedPoint;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, DialFailure, FromSwarm, ListenFailure,
    NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::gate::Gate;
use super::pending::Pending;
use super::subnet::{ip_of, ip_of_inbound};

/// The gate as a libp2p behaviour: asked before anybody else about each
/// connection, both before and after its handshake.
#[derive(Debug)]
pub struct Behaviour {
    gate: Gate,
    pending: Pending,
    /// Ends the handshake of an inbound connection: one for each that is under way.
    handshakes: HashMap<ConnectionId, AbortHandle>,
}

impl Behaviour {
    /// A gate for the swarm. `pending` is shared with the transport.
    pub fn new(gate: Gate, pending: Pending) -> Self {
        Behaviour {
            gate,
            pending,
            handshakes: HashMap::new(),
        }
    }

    /// Refuses every new connection from now on. Those that are established stay.
    pub fn close(&mut self) {
        self.gate.close();
    }

    /// The decisions themselves.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// To change what they follow.
    pub fn gate_mut(&mut self) -> &mut Gate {
        &mut self.gate
    }

    fn failed(&mut self, id: ConnectionId) {
        self.handshakes.remove(&id);
        self.gate.failed(id);
    }
}

fn ip_of_endpoint(endpoint: &ConnectedPoint) -> Option<std::net::IpAddr> {
    match endpoint {
        ConnectedPoint::Dialer { address, .. } => ip_of(address),
        ConnectedPoint::Listener {
            local_addr,
            send_back_addr,
        } => ip_of_inbound(local_addr, send_back_addr),
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
            .gate
            .arrives(id, ip, Instant::now(), rand::random)
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
        self.gate
            .may_stand_inbound(id, &peer, ip_of_inbound(local, remote))
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
        // Of several addresses some may be good: the transport passes over those
        // that are not. A dial of one address is refused here, with its reason.
        let only = match addresses {
            [one] => ip_of(one),
            _ => None,
        };
        self.gate
            .dials(id, peer.as_ref(), only.into_iter())
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
        self.gate
            .may_stand_outbound(&peer, ip_of(remote))
            .map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(new) => {
                self.handshakes.remove(&new.connection_id);
                let (ip, outbound) = (ip_of_endpoint(new.endpoint), new.endpoint.is_dialer());
                self.gate
                    .opened(new.connection_id, new.peer_id, ip, outbound);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id, endpoint, ..
            }) => {
                let (ip, outbound) = (ip_of_endpoint(endpoint), endpoint.is_dialer());
                self.gate.ended(&peer_id, ip, outbound);
            }
            FromSwarm::DialFailure(DialFailure { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.failed(connection_id);
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
