//! Where peers can be dialed: addresses learnt from identify, from DHT answers
//! and from the operator, offered to the swarm when it dials a peer.
//!
//! Kademlia forgets the addresses of providers when their query ends, and
//! identify keeps those of few peers; content is fetched after both. The book is
//! bounded, forgets the least recently used, and drops an address that failed while
//! other connections were established. When none is, the fault may be on this side, and
//! a node that starts before its network is up must not forget the only way into it.

use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, PeerAddresses, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::dht::addresses::usable;

/// Peers in the book. A DHT query meets some tens of peers, so this holds the
/// last dozens of queries; at some 100 bytes an address it stays under 2 MiB.
const MAX_PEERS: std::num::NonZeroUsize = std::num::NonZeroUsize::new(1024).unwrap();

/// See the module's documentation.
pub(super) struct Behaviour {
    book: PeerAddresses,
    /// How many connections are established.
    connections: usize,
}

impl Behaviour {
    pub(super) fn new() -> Self {
        Behaviour {
            book: PeerAddresses::new(MAX_PEERS),
            connections: 0,
        }
    }

    /// Enters the addresses of a peer that are [`usable`]. `heard_from_loopback` says
    /// whether they were reported by a process on this host: only then may they point
    /// at this host.
    pub(super) fn add<'a>(
        &mut self,
        peer: PeerId,
        addrs: impl IntoIterator<Item = &'a Multiaddr>,
        heard_from_loopback: bool,
    ) {
        for address in usable(addrs, heard_from_loopback) {
            self.book.add(peer, address);
        }
    }

    /// What the book knows of a peer.
    pub(super) fn get(&mut self, peer: &PeerId) -> Vec<Multiaddr> {
        self.book.get(peer).collect()
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = std::convert::Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        Ok(peer.map(|p| self.get(&p)).unwrap_or_default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::ConnectionEstablished(_) => self.connections += 1,
            FromSwarm::ConnectionClosed(_) => {
                self.connections = self.connections.saturating_sub(1);
            }
            FromSwarm::DialFailure(_) if self.connections == 0 => return,
            _ => {}
        }
        self.book.on_swarm_event(&event);
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

#[cfg(test)]
mod tests {
    use libp2p::core::ConnectedPoint;
    use libp2p::core::transport::TransportError;
    use libp2p::swarm::DialError;
    use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure};

    use super::*;
    use crate::dht::MAX_ADDRS_PER_PEER;

    fn addrs(list: &[&str]) -> Vec<Multiaddr> {
        list.iter().map(|a| a.parse().unwrap()).collect()
    }

    fn fails(book: &mut Behaviour, peer: PeerId, address: &Multiaddr) {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = (address.clone(), TransportError::Other(refused));
        book.on_swarm_event(FromSwarm::DialFailure(DialFailure {
            peer_id: Some(peer),
            error: &DialError::Transport(vec![error]),
            connection_id: ConnectionId::new_unchecked(1),
        }));
    }

    #[test]
    fn an_address_that_fails_is_forgotten_unless_nobody_is_connected() {
        let mut book = Behaviour::new();
        let (peer, address) = (PeerId::random(), addrs(&["/ip4/192.0.2.1/tcp/1"]));
        book.add(peer, &address, false);
        fails(&mut book, peer, &address[0]);
        assert_eq!(book.get(&peer).len(), 1);

        let endpoint = ConnectedPoint::Listener {
            local_addr: Multiaddr::empty(),
            send_back_addr: Multiaddr::empty(),
        };
        let other = (PeerId::random(), ConnectionId::new_unchecked(2));
        book.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id: other.0,
            connection_id: other.1,
            endpoint: &endpoint,
            failed_addresses: &[],
            other_established: 0,
        }));
        fails(&mut book, peer, &address[0]);
        assert_eq!(book.get(&peer).len(), 0);

        book.add(peer, &address, false);
        book.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: other.0,
            connection_id: other.1,
            endpoint: &endpoint,
            cause: None,
            remaining_established: 0,
        }));
        fails(&mut book, peer, &address[0]);
        assert_eq!(book.get(&peer).len(), 1);
    }

    #[test]
    fn thousands_of_addresses_become_a_handful() {
        let told: Vec<Multiaddr> = (1..5000)
            .map(|p| format!("/ip4/192.0.2.1/tcp/{p}").parse().unwrap())
            .collect();
        let mut book = Behaviour::new();
        let peer = PeerId::random();
        book.add(peer, &told, false);
        assert!(book.get(&peer).len() <= MAX_ADDRS_PER_PEER);
        assert!(!book.get(&peer).is_empty());
    }
}
