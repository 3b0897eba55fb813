//! The local ports that dials may reuse.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

/// The addresses that are listened on now, shared by every TCP transport of a
/// node (plain, and the one under WebSocket).
///
/// A dial from the port that is listened on is what makes a hole punch through
/// a NAT possible, and what lets the remote observe an address that others can
/// dial. Bounded by listeners times interface addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    /// Each with the number of listeners that announced it.
    listening: Arc<Mutex<BTreeMap<(IpAddr, u16), usize>>>,
}

impl Ports {
    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<(IpAddr, u16), usize>) -> T) -> T {
        f(&mut self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn add(&self, ip: IpAddr, port: u16) {
        self.with(|listening| *listening.entry((ip, port)).or_default() += 1);
    }

    pub(crate) fn remove(&self, ip: IpAddr, port: u16) {
        self.with(|listening| {
            if let Some(count) = listening.get_mut(&(ip, port)) {
                *count -= 1;
                if *count == 0 {
                    listening.remove(&(ip, port));
                }
            }
        });
    }

    /// The local address to dial `remote` from, when there is a listener of the
    /// same family, on loopback when the remote is.
    ///
    /// The address itself is left open, because the routing table knows better
    /// which one reaches the remote; only the port matters.
    pub(crate) fn local_for(&self, remote: IpAddr) -> Option<SocketAddr> {
        let port = self.with(|listening| {
            listening
                .keys()
                .find(|(ip, _)| {
                    ip.is_ipv4() == remote.is_ipv4() && ip.is_loopback() == remote.is_loopback()
                })
                .map(|(_, port)| *port)
        })?;
        let any = match remote {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Some(SocketAddr::new(any, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_dial_uses_a_port_of_its_own_family_and_scope() {
        let ports = Ports::default();
        assert_eq!(ports.local_for(ip("1.1.1.1")), None);
        ports.add(ip("127.0.0.1"), 1);
        assert_eq!(ports.local_for(ip("1.1.1.1")), None);
        assert_eq!(ports.local_for(ip("::1")), None);
        assert_eq!(
            ports.local_for(ip("127.0.0.1")),
            Some("0.0.0.0:1".parse().unwrap())
        );
        ports.add(ip("10.0.0.1"), 2);
        ports.add(ip("2001:db8::1"), 3);
        assert_eq!(
            ports.local_for(ip("1.1.1.1")),
            Some("0.0.0.0:2".parse().unwrap())
        );
        assert_eq!(
            ports.local_for(ip("2001:db8::2")),
            Some("[::]:3".parse().unwrap())
        );
    }

    #[test]
    fn a_port_goes_with_its_last_listener() {
        let ports = Ports::default();
        ports.add(ip("10.0.0.1"), 2);
        ports.add(ip("10.0.0.1"), 2);
        ports.remove(ip("10.0.0.1"), 2);
        assert!(ports.local_for(ip("10.0.0.2")).is_some());
        ports.remove(ip("10.0.0.1"), 2);
        ports.remove(ip("10.0.0.1"), 2);
        assert_eq!(ports.local_for(ip("10.0.0.2")), None);
    }
}
