//! Where trusted peers are for certain, and which addresses the operator names.
//!
//! Met there, with a finished handshake, or configured. What the DHT or another
//! peer says of their addresses does not count: whoever says it could vouch for
//! an address of his own.

use std::collections::VecDeque;
use std::net::IpAddr;

use ipnet::IpNet;

/// Addresses of trusted peers that are remembered: a few for each of the few
/// that an operator lists; the one that was met first is forgotten.
const MAX_MET: usize = 256;

/// Addresses of the configuration, which lists some tens of them.
const MAX_CONFIGURED: usize = 1_024;

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts {
    met: VecDeque<IpAddr>,
    /// With whether it is a trusted peer's.
    configured: Vec<(IpAddr, bool)>,
}

impl Whereabouts {
    /// A trusted peer proved to be at `ip`.
    pub(crate) fn met(&mut self, ip: IpAddr) {
        if self.met.contains(&ip) {
            return;
        }
        if self.met.len() >= MAX_MET {
            self.met.pop_front();
        }
        self.met.push_back(ip);
    }

    /// The configuration names `ip`, as that of a trusted peer or of another.
    pub(crate) fn configured(&mut self, ip: IpAddr, trusted: bool) {
        if self.configured.len() < MAX_CONFIGURED && !self.configured.contains(&(ip, trusted)) {
            self.configured.push((ip, trusted));
        }
    }

    /// Whether a trusted peer is at `ip`.
    pub(crate) fn is_trusted(&self, ip: IpAddr) -> bool {
        self.met.contains(&ip) || self.configured.contains(&(ip, true))
    }

    /// Whether a ban of `net` would cut off one of these addresses.
    pub(crate) fn within(&self, net: &IpNet) -> bool {
        let configured = self.configured.iter().map(|(ip, _)| ip);
        self.met.iter().chain(configured).any(|ip| net.contains(ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_bounded_and_those_of_the_configuration_stay() {
        let mut known = Whereabouts::default();
        let ip = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(n));
        known.configured(ip(1), true);
        known.configured(ip(2), false);
        for n in 10..10_000 {
            known.met(ip(n));
        }
        assert_eq!(known.met.len(), MAX_MET);
        assert!(known.is_trusted(ip(1)) && known.is_trusted(ip(9_999)));
        assert!(!known.is_trusted(ip(2)) && !known.is_trusted(ip(10)));
        for n in [1, 2, 9_999] {
            assert!(known.within(&ip(n).into()));
        }
        assert!(!known.within(&ip(10).into()));
    }
}
