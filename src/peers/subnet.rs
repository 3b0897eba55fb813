//! Which addresses belong together, and the address that a connection counts for.

use std::net::IpAddr;

use ipnet::IpNet;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// The prefix lengths that make two addresses one subnet (`P2P_SUBNET_PREFIXES`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefixes {
    /// For IPv4, 1 to 32.
    pub ipv4: u8,
    /// For IPv6, 1 to 128.
    pub ipv6: u8,
}

impl Default for Prefixes {
    /// Returns one address for IPv4, and for IPv6 the /56 that one home or office gets.
    fn default() -> Self {
        Prefixes { ipv4: 32, ipv6: 56 }
    }
}

impl Prefixes {
    /// Returns these prefixes, but none wider than the default: a limit for a wide subnet
    /// slows its honest hosts, and a ban would cut them off.
    pub fn for_bans(self) -> Prefixes {
        let widest = Prefixes::default();
        Prefixes {
            ipv4: self.ipv4.max(widest.ipv4),
            ipv6: self.ipv6.max(widest.ipv6),
        }
    }

    /// Returns the subnet of an address, or `None` for loopback, which is this host
    /// itself.
    pub fn subnet(&self, ip: IpAddr) -> Option<IpNet> {
        let ip = ip.to_canonical();
        if ip.is_loopback() {
            return None;
        }
        let prefix = match ip {
            IpAddr::V4(_) => self.ipv4,
            IpAddr::V6(_) => self.ipv6,
        };
        IpNet::new(ip, prefix).ok().map(|net| net.trunc())
    }
}

/// Returns the IP address that an address begins with; as IPv4 if it is mapped to IPv6.
pub fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    let ip: IpAddr = match address.iter().next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    Some(ip.to_canonical())
}

/// Returns the IP address of a direct connection's remote. A circuit through a relay has
/// none: the address that it begins with is the relay's.
pub fn direct_ip(address: &Multiaddr) -> Option<IpAddr> {
    let relayed = address.iter().any(|part| part == Protocol::P2pCircuit);
    ip_of(address).filter(|_| !relayed)
}

/// Returns the address that an inbound connection counts for. If it comes through a
/// relay, only the relay's address is known, so it counts for that.
pub fn ip_of_inbound(local: &Multiaddr, remote: &Multiaddr) -> Option<IpAddr> {
    ip_of(remote).or_else(|| {
        let relayed = local.iter().any(|p| p == Protocol::P2pCircuit);
        relayed.then(|| ip_of(local)).flatten()
    })
}

/// Returns whether a name is `localhost` or a name below it. These always mean this host
/// (RFC 6761).
pub fn names_this_host(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
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
        let relay = libp2p::PeerId::random();
        let relayed = format!("/ip4/192.0.2.1/tcp/1/p2p/{relay}/p2p-circuit");
        assert_eq!(ip(&relayed), None);
        assert_eq!(ip("/dns/example.org/tcp/1"), None);
    }

    #[test]
    fn a_circuit_counts_for_its_relay() {
        let relay: Multiaddr = "/ip4/192.0.2.9/tcp/1/p2p/12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo/p2p-circuit"
            .parse()
            .unwrap();
        let peer = Multiaddr::empty().with(Protocol::P2p(libp2p::PeerId::random()));
        let relays: IpAddr = "192.0.2.9".parse().unwrap();
        assert_eq!(ip_of_inbound(&relay, &peer), Some(relays));
        let local: Multiaddr = "/ip4/192.0.2.9/tcp/1".parse().unwrap();
        assert_eq!(ip_of_inbound(&local, &peer), None);
    }
}
