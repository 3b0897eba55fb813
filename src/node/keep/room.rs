//! How many connections this node keeps because others asked for it.
//!
//! # The number of connections
//!
//! A connection that is kept ends only when the other side ends it, so these
//! connections must leave room for newcomers. Otherwise a bootstrap node would fill up
//! with quiet peers and be of no use to nodes that want to join the network. Of
//! `P2P_MAX_CONNECTIONS`, strangers get three quarters (see
//! [`crate::peers::limits`]). Half of that is for peers that only want to be
//! part of the network, and half of the rest is added for those that need this
//! particular peer, such as members of a topic: 150 and 225 of 400. The last 75 are
//! always available to newcomers.
//!
//! Ten thousand quiet nodes do not fill a node: 150 of them are kept, and the
//! others keep one another.
//!
//! # The share of one network
//!
//! An attacker with many addresses could take all of this room, and the node would
//! then be part of a network that consists of the attacker. So the peers of one network
//! get an eighth of it: 19 of 150, and 29 of 225. A network is a /24 of IPv4 or a /48 of
//! IPv6, the smallest that is routed on the Internet. This makes it harder, but not
//! impossible: the next /24 costs money, but a provider's /32 of IPv6 has 65,536 /48s.
//! All peers behind relays together count as one network, since it is not known where
//! they are, and so do all peers that this node dialed by name, since the connection does
//! not tell which address the name stood for. Peers on this host and in private networks
//! are not counted: the network of a house or a company is often one /24, and whoever is
//! in it was let in by somebody.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use libp2p::Multiaddr;
use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;

use super::holds::Class;
use crate::peers::limits::kept;
use crate::peers::subnet::{Prefixes, ip_of, names_this_host};

/// The prefixes within which addresses belong to one network.
const NETWORK: Prefixes = Prefixes { ipv4: 24, ipv6: 48 };

/// The fraction of the room that one network may take is one divided by this.
const NETWORKS: usize = 8;

/// Where a peer is, according to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// In this network.
    Network(IpNet),
    /// Somewhere behind a relay.
    Relayed,
    /// At an unknown address, since this node dialed it by name.
    Named,
    /// On this host, in a private network, or over a transport without addresses.
    Near,
}

impl Origin {
    /// The origin of the other end of a connection.
    pub(super) fn of(endpoint: &ConnectedPoint) -> Origin {
        if endpoint.is_relayed() {
            return Origin::Relayed;
        }
        let address = endpoint.get_remote_address();
        if is_name(address) {
            return Origin::Named;
        }
        match ip_of(address) {
            Some(ip) if !is_private(ip) => NETWORK.subnet(ip).map_or(Origin::Near, Origin::Network),
            _ => Origin::Near,
        }
    }
}

/// Whether an address begins with a name other than one of this host.
fn is_name(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(
            Protocol::Dns(name)
            | Protocol::Dns4(name)
            | Protocol::Dns6(name)
            | Protocol::Dnsaddr(name),
        ) => !names_this_host(&name),
        _ => false,
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Peers that take up room.
#[derive(Debug, Default)]
pub(super) struct Taken {
    all: usize,
    /// The number of peers in each network; bounded by `all`.
    origins: HashMap<Origin, usize>,
}

impl Taken {
    #[cfg(test)]
    pub(super) fn all(&self) -> usize {
        self.all
    }

    fn of(&self, origin: Origin) -> usize {
        self.origins.get(&origin).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, origin: Origin) {
        self.all += 1;
        if origin != Origin::Near {
            *self.origins.entry(origin).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, origin: Origin) {
        self.all -= 1;
        if let Some(count) = self.origins.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                self.origins.remove(&origin);
            }
        }
    }
}

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    presence: usize,
    all: usize,
}

impl Room {
    /// The room under a limit on connections.
    pub(super) fn under(connections: u32) -> Room {
        let strangers = (connections - kept(connections)) as usize;
        // So that two nodes with a tiny limit can still keep each other.
        let presence = strangers.div_ceil(2);
        Room {
            presence,
            all: presence + (strangers - presence).div_ceil(2),
        }
    }

    /// Whether there is room for another peer of `class` from `origin`, besides those of
    /// all classes that already have it.
    pub(super) fn has(self, class: Class, origin: Origin, taken: &Taken) -> bool {
        let room = match class {
            Class::Presence => self.presence,
            Class::Use => self.all,
        };
        taken.all < room && taken.of(origin) < room.div_ceil(NETWORKS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_connections_is_never_kept() {
        for (cap, presence, all) in [
            (400, 150, 225),
            (1, 1, 1),
            (4, 2, 3),
            (1_000_000, 375_000, 562_500),
        ] {
            let room = Room::under(cap);
            assert_eq!(room, Room { presence, all }, "{cap}");
            let has = |class, all| {
                let taken = Taken {
                    all,
                    ..Taken::default()
                };
                room.has(class, Origin::Near, &taken)
            };
            assert!(has(Class::Presence, presence - 1));
            assert!(!has(Class::Presence, presence));
            assert!(has(Class::Use, all - 1));
            assert!(!has(Class::Use, all));
        }
    }

    fn at(remote: &str) -> Origin {
        Origin::of(&ConnectedPoint::Listener {
            local_addr: "/ip4/192.0.2.9/tcp/4001".parse().unwrap(),
            send_back_addr: remote.parse().unwrap(),
        })
    }

    #[test]
    fn one_network_takes_an_eighth_of_the_room_and_private_ones_take_any() {
        let room = Room::under(400);
        for (class, of_one, of_all) in [(Class::Presence, 19, 150), (Class::Use, 29, 225)] {
            let mut taken = Taken::default();
            let mut take = |remote: &str| {
                let has = room.has(class, at(remote), &taken);
                if has {
                    taken.add(at(remote));
                }
                has
            };
            let mut filled = 0;
            for host in 0..=255 {
                filled += usize::from(take(&format!("/ip4/198.51.100.{host}/tcp/1")));
            }
            assert_eq!(filled, of_one, "{class:?}");
            for home in 0..=255 {
                let address = format!("/ip6/2001:db8:7:{home:x}::1/udp/1/quic-v1");
                filled += usize::from(take(&address));
            }
            assert_eq!(filled, 2 * of_one, "{class:?}");
            assert!(take("/ip4/198.51.101.1/tcp/1"), "another network");
            assert!(take("/ip6/2001:db8:8::1/tcp/1"), "another network");
            while take("/ip4/192.168.1.7/tcp/1") {}
            assert_eq!(taken.all(), of_all, "{class:?}");
        }
    }

    #[test]
    fn all_behind_relays_are_one_network_and_what_is_near_is_none() {
        let circuit = |relay: &str| {
            let relay = format!("{relay}/p2p/{}/p2p-circuit", libp2p::PeerId::random());
            Origin::of(&ConnectedPoint::Listener {
                local_addr: relay.parse().unwrap(),
                send_back_addr: libp2p::Multiaddr::empty(),
            })
        };
        assert_eq!(circuit("/ip4/192.0.2.1/tcp/1"), Origin::Relayed);
        assert_eq!(circuit("/ip4/127.0.0.1/tcp/1"), Origin::Relayed);
        for near in [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/10.1.2.3/tcp/1",
            "/ip4/169.254.0.1/tcp/1",
            "/ip6/::1/tcp/1",
            "/ip6/fd00::1/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip6/::ffff:10.0.0.1/tcp/1",
            "/memory/7",
        ] {
            assert_eq!(at(near), Origin::Near, "{near}");
        }
        // A shared address of a provider (RFC 6598) may be any stranger's.
        for far in ["/ip4/100.64.0.1/tcp/1", "/ip6/::ffff:192.0.2.1/tcp/1"] {
            assert!(matches!(at(far), Origin::Network(_)), "{far}");
        }
    }

    #[test]
    fn all_that_were_dialed_by_a_name_are_one_network() {
        let dialed = |address: &str| {
            Origin::of(&ConnectedPoint::Dialer {
                address: address.parse().unwrap(),
                role_override: libp2p::core::Endpoint::Dialer,
                port_use: libp2p::core::transport::PortUse::Reuse,
            })
        };
        let (room, mut taken) = (Room::under(400), Taken::default());
        let mut filled = 0;
        for host in 0..=255 {
            for way in ["dns", "dns4", "dns6", "dnsaddr"] {
                let origin = dialed(&format!("/{way}/host{host}.example/tcp/1"));
                if room.has(Class::Presence, origin, &taken) {
                    taken.add(origin);
                    filled += 1;
                }
            }
        }
        assert_eq!(filled, 19);
        for near in ["/dns4/localhost/tcp/1", "/dns/a.localhost./tcp/1"] {
            assert_eq!(dialed(near), Origin::Near, "{near}");
        }
    }

    #[test]
    fn what_is_given_back_is_counted_no_more() {
        let (mut taken, origin) = (Taken::default(), at("/ip4/192.0.2.1/tcp/1"));
        taken.add(origin);
        taken.add(Origin::Near);
        assert_eq!((taken.all(), taken.of(origin)), (2, 1));
        taken.remove(origin);
        taken.remove(Origin::Near);
        assert_eq!((taken.all(), taken.origins.len()), (0, 0));
    }
}
