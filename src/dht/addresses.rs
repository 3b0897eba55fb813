//! Which addresses that others report of a peer are used.

use std::net::IpAddr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::peers::subnet::names_this_host;

/// Addresses kept for one peer. A peer has a handful of interfaces times a
/// handful of transports; a peer that claims thousands is attacking.
pub const MAX_ADDRS_PER_PEER: usize = 16;

/// Filters what a remote reported of a peer's addresses: at most
/// [`MAX_ADDRS_PER_PEER`], no unspecified ones, and addresses of this host's
/// loopback only from this host (otherwise any remote could make this node dial
/// itself).
pub(crate) fn usable<'a>(
    addrs: impl IntoIterator<Item = &'a Multiaddr>,
    heard_from_loopback: bool,
) -> impl Iterator<Item = Multiaddr> {
    addrs
        .into_iter()
        .filter(move |a| match a.iter().next() {
            Some(Protocol::Ip4(ip)) => is_usable(ip.into(), heard_from_loopback),
            Some(Protocol::Ip6(ip)) => is_usable(ip.into(), heard_from_loopback),
            Some(
                Protocol::Dns(name)
                | Protocol::Dns4(name)
                | Protocol::Dns6(name)
                | Protocol::Dnsaddr(name),
            ) => heard_from_loopback || !names_this_host(&name),
            _ => false,
        })
        .take(MAX_ADDRS_PER_PEER)
        .cloned()
}

/// Whether an IP address that was reported may be used. An IPv4 address that is mapped
/// into IPv6 is judged as what it is.
fn is_usable(ip: IpAddr, heard_from_loopback: bool) -> bool {
    let ip = ip.to_canonical();
    !ip.is_unspecified() && (heard_from_loopback || !ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(list: &[&str]) -> Vec<Multiaddr> {
        list.iter().map(|a| a.parse().unwrap()).collect()
    }

    #[test]
    fn a_distant_peer_cannot_point_us_at_our_own_loopback() {
        let told = addrs(&[
            "/ip4/127.0.0.1/tcp/1",
            "/ip6/::1/tcp/1",
            "/ip6/::ffff:127.0.0.1/tcp/1",
            "/ip6/::ffff:0.0.0.0/tcp/1",
            "/ip4/0.0.0.0/tcp/1",
            "/dns4/localhost/tcp/1",
            "/dns/x.LOCALHOST./tcp/1",
            "/ip4/192.0.2.1/tcp/1",
        ]);
        let far: Vec<_> = usable(&told, false).collect();
        assert_eq!(far, addrs(&["/ip4/192.0.2.1/tcp/1"]));
        let near: Vec<_> = usable(&told, true).collect();
        assert_eq!(near.len(), 6);
    }
}
