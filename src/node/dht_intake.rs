//! The DHT within each peer's budget: a wrapping around Kademlia's behaviour.
//!
//! Every request of a peer takes one token of its bucket (`P2P_RATE_BURST`,
//! `P2P_RATE_FILL`) before Kademlia does anything for it, be it a question or a
//! record to store. What is over budget is reset: its sender knows at once, and
//! asks somebody else. Answers to what this node asked cost nothing.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, kad};

use super::records::Records;
use crate::admission::Admission;

type Kad = kad::Behaviour<Records>;

/// What Kademlia's handler says, and is told; neither has a public name.
type FromHandler = THandlerOutEvent<Kad>;
type ToHandler = THandlerInEvent<Kad>;

/// See the module's documentation.
pub(super) struct DhtIntake {
    inner: Kad,
    admission: Admission,
    /// Resets on their way to handlers: one for each request over budget, taken
    /// out in the same turn.
    resets: VecDeque<(PeerId, ConnectionId, ToHandler)>,
}

impl DhtIntake {
    pub(super) fn new(inner: Kad, admission: Admission) -> Self {
        DhtIntake {
            inner,
            admission,
            resets: VecDeque::new(),
        }
    }
}

/// Whether this is a request, and what resets it when that can be said.
fn request(event: &FromHandler) -> Option<Option<ToHandler>> {
    match event {
        FromHandler::FindNodeReq { request_id, .. }
        | FromHandler::GetProvidersReq { request_id, .. }
        | FromHandler::GetRecord { request_id, .. }
        | FromHandler::PutRecord { request_id, .. } => Some(Some(ToHandler::Reset(*request_id))),
        // Nobody waits for an answer.
        FromHandler::AddProvider { .. } => Some(None),
        _ => None,
    }
}

impl Deref for DhtIntake {
    type Target = Kad;

    fn deref(&self) -> &Kad {
        &self.inner
    }
}

impl DerefMut for DhtIntake {
    fn deref_mut(&mut self) -> &mut Kad {
        &mut self.inner
    }
}

impl NetworkBehaviour for DhtIntake {
    type ConnectionHandler = THandler<Kad>;
    type ToSwarm = <Kad as NetworkBehaviour>::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner
            .handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner
            .handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner
            .handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner
            .handle_established_outbound_connection(id, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        if let Some(reset) = request(&event)
            && self.admission.allow(&peer, 1).is_err()
        {
            if let Some(reset) = reset {
                self.resets.push_back((peer, id, reset));
            }
            return;
        }
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer_id, id, event)) = self.resets.pop_front() {
            return Poll::Ready(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::One(id),
                event,
            });
        }
        self.inner.poll(cx)
    }
}
