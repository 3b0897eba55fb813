//! From where peers may connect: allowed and denied networks, and a cap of
//! connections for each subnet.
//!
//! Networks are looked at before the handshake, so that a denied address costs
//! nothing but its SYN. The cap is looked at after it, since only then it is
//! known whether the peer is trusted. Loopback and trusted peers are outside the
//! cap; a circuit through a relay counts for the relay's subnet, since nothing
//! else of the way is known.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::task::{Context, Poll};

use ipnet::IpNet;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

/// The rules of the gate.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Only these networks, when there are any (`P2P_ALLOW_CIDRS`).
    pub allow: Vec<IpNet>,
    /// None of these (`P2P_DENY_CIDRS`); wins over `allow`.
    pub deny: Vec<IpNet>,
    /// Connections from one subnet (`P2P_MAX_CONNECTIONS_PER_SUBNET`).
    pub per_subnet: u32,
    /// Prefix length that makes a subnet of IPv4 (`P2P_SUBNET_PREFIXES`).
    pub ipv4_prefix: u8,
    /// Prefix length that makes a subnet of IPv6.
    pub ipv6_prefix: u8,
    /// Peers outside the cap.
    pub trusted: HashSet<PeerId>,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            allow: Vec::new(),
            deny: Vec::new(),
            per_subnet: 64,
            ipv4_prefix: 32,
            ipv6_prefix: 56,
            trusted: HashSet::new(),
        }
    }
}

/// Why the gate refused a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The address is in a denied network.
    #[error("{ip} is in {network}, which P2P_DENY_CIDRS of this node denies")]
    Denied {
        /// The remote.
        ip: IpAddr,
        /// The rule.
        network: IpNet,
    },
    /// The address is in no allowed network.
    #[error("{ip} is in none of the networks that P2P_ALLOW_CIDRS of this node allows")]
    NotAllowed {
        /// The remote.
        ip: IpAddr,
    },
    /// Its subnet has all the connections that it may.
    #[error(
        "{subnet} has {allowed} connections with this node, all that P2P_MAX_CONNECTIONS_PER_SUBNET allows"
    )]
    Subnet {
        /// The subnet.
        subnet: IpNet,
        /// The cap.
        allowed: u32,
    },
}

impl Refusal {
    /// The variable that sets the limit.
    pub fn variable(&self) -> &'static str {
        match self {
            Refusal::Denied { .. } => "P2P_DENY_CIDRS",
            Refusal::NotAllowed { .. } => "P2P_ALLOW_CIDRS",
            Refusal::Subnet { .. } => "P2P_MAX_CONNECTIONS_PER_SUBNET",
        }
    }
}

/// The decisions, apart from libp2p.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    rules: Rules,
    /// Connections counted, by subnet: at most one entry a connection.
    subnets: HashMap<IpNet, u32>,
}

impl Gate {
    /// A gate with these rules.
    pub fn new(rules: Rules) -> Self {
        Gate {
            rules,
            subnets: HashMap::new(),
        }
    }

    /// Whether an address may connect at all.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub fn address(&self, ip: IpAddr) -> Result<(), Refusal> {
        let ip = ip.to_canonical();
        if let Some(network) = self.rules.deny.iter().find(|net| net.contains(&ip)) {
            return Err(Refusal::Denied {
                ip,
                network: *network,
            });
        }
        if !self.rules.allow.is_empty() && !self.rules.allow.iter().any(|net| net.contains(&ip)) {
            return Err(Refusal::NotAllowed { ip });
        }
        Ok(())
    }

    /// Whether one more connection with `peer` from `ip` is within its subnet's cap.
    ///
    /// # Errors
    /// [`Refusal::Subnet`].
    pub fn one_more(&self, peer: &PeerId, ip: IpAddr) -> Result<(), Refusal> {
        let Some(subnet) = self.subnet(ip) else {
            return Ok(());
        };
        if self.rules.trusted.contains(peer) {
            return Ok(());
        }
        let allowed = self.rules.per_subnet;
        if self.subnets.get(&subnet).copied().unwrap_or(0) >= allowed {
            return Err(Refusal::Subnet { subnet, allowed });
        }
        Ok(())
    }

    /// A connection from `ip` stands.
    pub fn opened(&mut self, ip: IpAddr) {
        if let Some(subnet) = self.subnet(ip) {
            *self.subnets.entry(subnet).or_default() += 1;
        }
    }

    /// A connection from `ip` ended.
    pub fn closed(&mut self, ip: IpAddr) {
        let Some(subnet) = self.subnet(ip) else {
            return;
        };
        if let Some(count) = self.subnets.get_mut(&subnet) {
            *count -= 1;
            if *count == 0 {
                self.subnets.remove(&subnet);
            }
        }
    }

    /// The subnet that an address counts for; `None` for loopback, which is this
    /// host itself.
    fn subnet(&self, ip: IpAddr) -> Option<IpNet> {
        let ip = ip.to_canonical();
        if ip.is_loopback() {
            return None;
        }
        let prefix = match ip {
            IpAddr::V4(_) => self.rules.ipv4_prefix,
            IpAddr::V6(_) => self.rules.ipv6_prefix,
        };
        IpNet::new(ip, prefix).ok().map(|net| net.trunc())
    }
}

/// The IP address that an address begins with.
fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(ip.into()),
        Some(Protocol::Ip6(ip)) => Some(ip.into()),
        _ => None,
    }
}

/// The gate as the swarm asks it.
#[derive(Debug)]
pub struct Behaviour {
    gate: Gate,
}

impl Behaviour {
    /// A gate with these rules.
    pub fn new(rules: Rules) -> Self {
        Behaviour {
            gate: Gate::new(rules),
        }
    }

    fn established(
        &self,
        peer: PeerId,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if let Some(ip) = ip_of(remote) {
            self.gate.address(ip).map_err(ConnectionDenied::new)?;
            self.gate
                .one_more(&peer, ip)
                .map_err(ConnectionDenied::new)?;
        }
        Ok(dummy::ConnectionHandler)
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = std::convert::Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        match ip_of(remote) {
            Some(ip) => self.gate.address(ip).map_err(ConnectionDenied::new),
            None => Ok(()),
        }
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.established(peer, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.established(peer, remote)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                if let Some(ip) = ip_of(established.endpoint.get_remote_address()) {
                    self.gate.opened(ip);
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { endpoint, .. }) => {
                if let Some(ip) = ip_of(endpoint.get_remote_address()) {
                    self.gate.closed(ip);
                }
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

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|n| n.parse().unwrap()).collect()
    }

    #[test]
    fn a_denied_network_wins_over_an_allowed_one() {
        let gate = Gate::new(Rules {
            allow: nets(&["192.0.2.0/24", "2001:db8::/32"]),
            deny: nets(&["192.0.2.128/25"]),
            ..Rules::default()
        });
        assert_eq!(gate.address(ip("192.0.2.1")), Ok(()));
        assert_eq!(gate.address(ip("2001:db8::1")), Ok(()));
        assert!(matches!(
            gate.address(ip("192.0.2.200")),
            Err(Refusal::Denied { .. })
        ));
        assert!(matches!(
            gate.address(ip("198.51.100.1")),
            Err(Refusal::NotAllowed { .. })
        ));
        // The same IPv4 address in its IPv6 clothes.
        assert!(matches!(
            gate.address(ip("::ffff:192.0.2.200")),
            Err(Refusal::Denied { .. })
        ));
    }

    #[test]
    fn a_subnet_fills_up_and_empties_again() {
        let mut gate = Gate::new(Rules {
            per_subnet: 2,
            ..Rules::default()
        });
        let peer = PeerId::random();
        let one = ip("2001:db8:0:1::1");
        let same = ip("2001:db8:0:2::9");
        let other = ip("2001:db8:0:100::1");
        gate.opened(one);
        assert_eq!(gate.one_more(&peer, same), Ok(()));
        gate.opened(same);
        let refused = gate.one_more(&peer, one).unwrap_err();
        assert_eq!(refused.variable(), "P2P_MAX_CONNECTIONS_PER_SUBNET");
        assert!(refused.to_string().contains("2001:db8::/56"), "{refused}");
        assert_eq!(gate.one_more(&peer, other), Ok(()));
        gate.closed(same);
        assert_eq!(gate.one_more(&peer, one), Ok(()));
        gate.closed(one);
        assert!(gate.subnets.is_empty());
    }

    #[test]
    fn loopback_and_trusted_peers_are_outside_the_cap() {
        let friend = PeerId::random();
        let mut gate = Gate::new(Rules {
            per_subnet: 1,
            trusted: [friend].into(),
            ..Rules::default()
        });
        gate.opened(ip("192.0.2.1"));
        assert_eq!(gate.one_more(&friend, ip("192.0.2.1")), Ok(()));
        assert!(gate.one_more(&PeerId::random(), ip("192.0.2.1")).is_err());
        for _ in 0..10 {
            gate.opened(ip("127.0.0.1"));
        }
        assert_eq!(gate.one_more(&PeerId::random(), ip("127.0.0.1")), Ok(()));
    }

    #[test]
    fn wider_prefixes_make_wider_subnets() {
        let mut gate = Gate::new(Rules {
            per_subnet: 1,
            ipv4_prefix: 24,
            ..Rules::default()
        });
        gate.opened(ip("192.0.2.1"));
        assert!(gate.one_more(&PeerId::random(), ip("192.0.2.250")).is_err());
        assert_eq!(gate.one_more(&PeerId::random(), ip("192.0.3.1")), Ok(()));
    }
}
