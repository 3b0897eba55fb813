//! Names within multiaddrs: find the first, put answers in its place.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// What is asked for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `/dns`: addresses of both families.
    Both,
    /// `/dns4`: IPv4 addresses.
    V4,
    /// `/dns6`: IPv6 addresses.
    V6,
    /// `/dnsaddr`: multiaddrs.
    Dnsaddr,
}

/// An address cut at its first name: `prefix`, the name, `suffix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) prefix: Multiaddr,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) suffix: Multiaddr,
}

/// Whether `address` has a `/dns`, `/dns4`, `/dns6` or `/dnsaddr` anywhere.
pub fn has_name(address: &Multiaddr) -> bool {
    address.iter().any(|p| name_of(&p).is_some())
}

fn name_of<'a>(protocol: &'a Protocol<'_>) -> Option<(Kind, &'a str)> {
    match protocol {
        Protocol::Dns(name) => Some((Kind::Both, name)),
        Protocol::Dns4(name) => Some((Kind::V4, name)),
        Protocol::Dns6(name) => Some((Kind::V6, name)),
        Protocol::Dnsaddr(name) => Some((Kind::Dnsaddr, name)),
        _ => None,
    }
}

impl Named {
    /// Cuts `address` at its first name; `None` when it has none.
    pub(crate) fn first(address: &Multiaddr) -> Option<Named> {
        let mut prefix = Multiaddr::empty();
        let mut parts = address.iter();
        while let Some(part) = parts.next() {
            if let Some((kind, name)) = name_of(&part) {
                return Some(Named {
                    prefix,
                    kind,
                    name: name.to_owned(),
                    suffix: parts.collect(),
                });
            }
            prefix.push(part);
        }
        None
    }

    /// The address with `ip` in place of the name.
    pub(crate) fn with_ip(&self, ip: std::net::IpAddr) -> Multiaddr {
        self.prefix
            .iter()
            .chain([Protocol::from(ip)])
            .chain(self.suffix.iter())
            .collect()
    }

    /// The address that the `/dnsaddr` record `record` stands for, or `None`
    /// when the record does not end with what followed the name.
    pub(crate) fn with_record(&self, record: &Multiaddr) -> Option<Multiaddr> {
        record
            .ends_with(&self.suffix)
            .then(|| self.prefix.iter().chain(record.iter()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo";

    fn addr(s: &str) -> Multiaddr {
        s.parse().unwrap()
    }

    #[test]
    fn cuts_at_the_first_name() {
        let cut = Named::first(&addr("/dns4/a.example/udp/4001/quic-v1")).unwrap();
        assert_eq!((cut.kind, cut.name.as_str()), (Kind::V4, "a.example"));
        assert!(cut.prefix.is_empty());
        assert_eq!(cut.suffix, addr("/udp/4001/quic-v1"));

        let relayed = format!("/ip4/192.0.2.1/tcp/1/p2p/{PEER}/p2p-circuit/dnsaddr/b.example");
        let cut = Named::first(&addr(&relayed)).unwrap();
        assert_eq!((cut.kind, cut.name.as_str()), (Kind::Dnsaddr, "b.example"));
        assert_eq!(
            cut.prefix,
            addr(&format!("/ip4/192.0.2.1/tcp/1/p2p/{PEER}/p2p-circuit"))
        );
        assert!(cut.suffix.is_empty());

        assert!(Named::first(&addr("/ip4/192.0.2.1/tcp/1")).is_none());
        assert!(!has_name(&addr("/ip4/192.0.2.1/tcp/1")));
        assert!(has_name(&addr("/dns/x/tcp/1")));
    }

    #[test]
    fn puts_an_address_in_place_of_the_name() {
        let cut = Named::first(&addr("/dns/a.example/tcp/1/ws")).unwrap();
        assert_eq!(
            cut.with_ip("::1".parse().unwrap()),
            addr("/ip6/::1/tcp/1/ws")
        );
        assert_eq!(
            cut.with_ip("192.0.2.7".parse().unwrap()),
            addr("/ip4/192.0.2.7/tcp/1/ws")
        );
    }

    #[test]
    fn takes_only_records_that_end_as_the_address_does() {
        let cut = Named::first(&addr(&format!("/dnsaddr/a.example/p2p/{PEER}"))).unwrap();
        let mine = addr(&format!("/ip4/192.0.2.7/tcp/1/p2p/{PEER}"));
        assert_eq!(cut.with_record(&mine), Some(mine.clone()));
        assert_eq!(cut.with_record(&addr("/ip4/192.0.2.7/tcp/1")), None);

        let any = Named::first(&addr("/dnsaddr/a.example")).unwrap();
        assert_eq!(any.with_record(&mine), Some(mine));
    }
}
