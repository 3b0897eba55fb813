//! Which peers the operator trusts, and at which addresses they are.
//!
//! An address counts as a trusted peer's when the configuration says so or when the peer
//! finished a handshake there in this run. What the DHT or another peer says about a
//! trusted peer's addresses does not count: anybody could name an address of its own in
//! this way.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;

use ipnet::IpNet;
use libp2p::{Multiaddr, PeerId};

use super::subnet::{direct_ip, ip_of};

/// The number of addresses that are learned while the node runs: a few for each of the
/// few peers that an operator lists. When there are more, the one that was learned first
/// is forgotten; those at which a trusted peer was met stay as long as there are others.
const MAX_LEARNED: usize = 256;

/// The number of addresses of the configuration, which lists some tens of them.
const MAX_CONFIGURED: usize = 1_024;

/// What is known of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    /// Whether a trusted peer is certainly there.
    trusted: bool,
    /// Whether a peer that is exempt from the limits may come from there.
    expected: bool,
    /// Whether the node never bans a subnet that contains it.
    spared: bool,
}

impl Known {
    fn add(&mut self, other: Known) {
        self.trusted |= other.trusted;
        self.expected |= other.expected;
        self.spared |= other.spared;
    }
}

/// The only place that stores which peers are trusted. See the module's documentation.
#[derive(Debug, Default)]
pub struct Trust {
    /// `P2P_TRUSTED_PEERS`.
    trusted: HashSet<PeerId>,
    /// The peers of `P2P_PEERING`. They pass the limits, but neither the lists of
    /// networks nor bans.
    peering: HashSet<PeerId>,
    configured: Vec<(IpAddr, Known)>,
    learned: VecDeque<(IpAddr, Known)>,
}

impl Trust {
    /// Trusts these peers from now on, and forgets every address.
    pub(super) fn set(
        &mut self,
        trusted: impl IntoIterator<Item = PeerId>,
        peering: impl IntoIterator<Item = PeerId>,
    ) {
        self.trusted = trusted.into_iter().collect();
        self.peering = peering.into_iter().collect();
        self.configured.clear();
        self.learned.clear();
    }

    /// Returns whether the operator trusts this peer.
    pub fn is_trusted(&self, peer: &PeerId) -> bool {
        self.trusted.contains(peer)
    }

    /// Returns the peers that the operator trusts.
    pub fn trusted(&self) -> impl Iterator<Item = &PeerId> {
        self.trusted.iter()
    }

    /// Returns whether this peer is exempt from the limits of connections.
    pub fn is_exempt(&self, peer: &PeerId) -> bool {
        self.trusted.contains(peer) || self.peering.contains(peer)
    }

    /// Returns the peers that are exempt from the limits of connections.
    pub fn exempt(&self) -> impl Iterator<Item = &PeerId> {
        let peering = self.peering.difference(&self.trusted);
        self.trusted.iter().chain(peering)
    }

    /// Returns whether no peer is exempt from the limits.
    pub(super) fn exempts_nobody(&self) -> bool {
        self.trusted.is_empty() && self.peering.is_empty()
    }

    /// Records that the configuration names `peer` at `address`, as a bootstrap peer, a
    /// relay or a peer of `P2P_PEERING`. For a peer behind a relay, the address is the
    /// relay's. The peer may come from there, but the address does not tell where the
    /// peer itself is.
    pub(super) fn configured(&mut self, peer: Option<&PeerId>, address: &Multiaddr) {
        let exempt = peer.is_some_and(|peer| self.is_exempt(peer));
        let trusted = peer.is_some_and(|peer| self.is_trusted(peer));
        let (ip, known) = match (direct_ip(address), ip_of(address)) {
            (Some(ip), _) => (
                ip,
                Known {
                    trusted,
                    expected: exempt,
                    spared: true,
                },
            ),
            (None, Some(ip)) if exempt => (
                ip,
                Known {
                    expected: true,
                    ..Known::default()
                },
            ),
            _ => return,
        };
        if let Some((_, before)) = self.configured.iter_mut().find(|(at, _)| *at == ip) {
            before.add(known);
        } else if self.configured.len() < MAX_CONFIGURED {
            self.configured.push((ip, known));
        }
    }

    /// Records that an earlier run knew `peer` at `address`.
    pub(super) fn remembered(&mut self, peer: &PeerId, address: &Multiaddr) {
        if let Some(ip) = ip_of(address)
            && self.is_exempt(peer)
        {
            self.learn(
                ip,
                Known {
                    expected: true,
                    ..Known::default()
                },
            );
        }
    }

    /// Records that a connection with `peer` was established. `counted` is the address
    /// that it counts for, and `direct` is that of the peer itself, which is unknown
    /// through a relay.
    pub(super) fn met(&mut self, peer: &PeerId, counted: Option<IpAddr>, direct: Option<IpAddr>) {
        if !self.is_exempt(peer) {
            return;
        }
        let met = direct.is_some() && self.is_trusted(peer);
        if let Some(ip) = direct.or(counted) {
            self.learn(
                ip,
                Known {
                    trusted: met,
                    expected: true,
                    spared: met,
                },
            );
        }
    }

    fn learn(&mut self, ip: IpAddr, known: Known) {
        let ip = ip.to_canonical();
        if let Some((_, before)) = self.learned.iter_mut().find(|(at, _)| *at == ip) {
            before.add(known);
            return;
        }
        if self.learned.len() >= MAX_LEARNED {
            // Those at which a trusted peer was met go last, so that a peer of P2P_PEERING
            // that comes from everywhere does not push them out.
            let other = self.learned.iter().position(|(_, known)| !known.trusted);
            self.learned.remove(other.unwrap_or(0));
        }
        self.learned.push_back((ip, known));
    }

    fn any(&self, is: impl Fn(IpAddr, Known) -> bool) -> bool {
        let mut all = self.configured.iter().chain(&self.learned);
        all.any(|(ip, known)| is(*ip, *known))
    }

    /// Returns whether a trusted peer is certainly at `ip`.
    pub fn is_trusted_at(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.any(|at, known| at == ip && known.trusted)
    }

    /// Returns whether a peer that is exempt from the limits may come from `ip`.
    pub(super) fn is_expected_at(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.any(|at, known| at == ip && known.expected)
    }

    /// Returns whether a ban of `net` would cut off a trusted peer where it was met, or
    /// an address of the configuration.
    pub(super) fn spares(&self, net: &IpNet) -> bool {
        self.any(|at, known| known.spared && net.contains(&at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + n))
    }

    fn at(n: u32) -> Multiaddr {
        Multiaddr::empty()
            .with(ip(n).into())
            .with(libp2p::multiaddr::Protocol::Tcp(4001))
    }

    #[test]
    fn addresses_are_bounded_and_those_of_the_configuration_stay() {
        let (friend, other) = (PeerId::random(), PeerId::random());
        let mut trust = Trust::default();
        trust.set([friend], []);
        trust.configured(Some(&friend), &at(1));
        trust.configured(Some(&other), &at(2));
        for n in 10..10_000 {
            trust.met(&friend, Some(ip(n)), Some(ip(n)));
        }
        assert_eq!(trust.learned.len(), MAX_LEARNED);
        assert!(trust.is_trusted_at(ip(1)) && trust.is_trusted_at(ip(9_999)));
        assert!(!trust.is_trusted_at(ip(2)) && !trust.is_trusted_at(ip(10)));
        for n in [1, 2, 9_999] {
            assert!(trust.spares(&ip(n).into()));
        }
        assert!(!trust.spares(&ip(10).into()));
    }

    #[test]
    fn a_partner_that_comes_from_everywhere_does_not_hide_where_a_trusted_peer_is() {
        let (friend, partner) = (PeerId::random(), PeerId::random());
        let mut trust = Trust::default();
        trust.set([friend], [partner]);
        trust.met(&friend, Some(ip(1)), Some(ip(1)));
        for n in 10..10_000 {
            trust.met(&partner, Some(ip(n)), Some(ip(n)));
        }
        assert_eq!(trust.learned.len(), MAX_LEARNED);
        assert!(trust.is_trusted_at(ip(1)) && trust.is_expected_at(ip(9_999)));
    }

    #[test]
    fn only_a_handshake_or_the_configuration_says_where_a_trusted_peer_is() {
        let (friend, partner) = (PeerId::random(), PeerId::random());
        let mut trust = Trust::default();
        trust.set([friend], [partner]);
        // Anybody may have told the earlier run this address.
        trust.remembered(&friend, &at(1));
        trust.remembered(&PeerId::random(), &at(2));
        // The clients of a relay are not at the relay's address.
        let circuit = at(3)
            .with(libp2p::multiaddr::Protocol::P2p(PeerId::random()))
            .with(libp2p::multiaddr::Protocol::P2pCircuit);
        trust.configured(Some(&friend), &circuit);
        trust.met(&friend, Some(ip(4)), None);
        // A peer of `P2P_PEERING` is exempt from the limits, but not from bans.
        trust.met(&partner, Some(ip(5)), Some(ip(5)));
        trust.met(&friend, Some(ip(6)), Some(ip(6)));
        let all = |is: &dyn Fn(u32) -> bool| (1..=6).filter(|n| is(*n)).collect::<Vec<_>>();
        assert_eq!(all(&|n| trust.is_expected_at(ip(n))), [1, 3, 4, 5, 6]);
        assert_eq!(all(&|n| trust.is_trusted_at(ip(n))), [6]);
        assert_eq!(all(&|n| trust.spares(&ip(n).into())), [6]);
    }
}
