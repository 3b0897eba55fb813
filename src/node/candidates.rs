//! The autonat client, which tests addresses that this node may be reachable at, behind
//! the bound of [`crate::neighbours::reported`].

use std::task::{Context, Poll};
use std::time::Instant;

use libp2p::PeerId;
use libp2p::autonat::v2::client;
use libp2p::swarm::{
    ConnectionId, FromSwarm, NetworkBehaviour, THandlerInEvent, THandlerOutEvent, ToSwarm,
};

use crate::node::compat::forward::forward_connections;

use crate::neighbours::reported::Reported;

/// The autonat client behind that bound.
pub(super) struct Behaviour {
    inner: client::Behaviour,
    reported: Reported,
}

impl Behaviour {
    pub(super) fn new(inner: client::Behaviour) -> Self {
        Behaviour {
            inner,
            reported: Reported::default(),
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = <client::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = <client::Behaviour as NetworkBehaviour>::ToSwarm;

    forward_connections!(inner);

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::NewExternalAddrCandidate(candidate) = &event
            && !self.reported.takes(candidate.addr, Instant::now())
        {
            return;
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx)
    }
}
