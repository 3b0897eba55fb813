//! Tells [`Policy`] who is connected from where: whose reputation must not be
//! forgotten, which address a verdict is about, and which subnets are banned with
//! their peers or spared for a trusted one.

use std::net::IpAddr;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::Policy;

/// The IP address of a direct connection's remote. A circuit through a relay has
/// none: what it begins with is the relay's.
pub fn direct_ip(address: &Multiaddr) -> Option<IpAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::from(ip),
        Protocol::Ip6(ip) => IpAddr::from(ip),
        _ => return None,
    };
    (!parts.any(|part| part == Protocol::P2pCircuit)).then(|| ip.to_canonical())
}

/// Listens to the swarm; refuses nobody.
#[derive(Debug)]
pub struct Behaviour {
    policy: Policy,
}

impl Behaviour {
    /// Tells `policy`.
    pub fn new(policy: Policy) -> Self {
        Behaviour { policy }
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
        match event {
            FromSwarm::ConnectionEstablished(new) => {
                let ip = direct_ip(new.endpoint.get_remote_address());
                self.policy.connected(new.peer_id, new.connection_id, ip);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id,
                remaining_established,
                ..
            }) => {
                self.policy
                    .disconnected(&peer_id, connection_id, remaining_established);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circuit_has_no_address_of_its_own() {
        let ip = |text: &str| direct_ip(&text.parse().unwrap()).map(|ip| ip.to_string());
        assert_eq!(ip("/ip4/192.0.2.1/tcp/1").as_deref(), Some("192.0.2.1"));
        assert_eq!(
            ip("/ip6/::ffff:192.0.2.1/udp/1/quic-v1").as_deref(),
            Some("192.0.2.1")
        );
        let relayed = format!("/ip4/192.0.2.1/tcp/1/p2p/{}/p2p-circuit", PeerId::random());
        assert_eq!(ip(&relayed), None);
        assert_eq!(ip("/dns/example.org/tcp/1"), None);
    }
}
