//! `/ip4|ip6/…/udp/…/quic-v1[/p2p/…]` to a socket address and back.

use std::net::{IpAddr, SocketAddr};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// The socket address and the peer of a QUIC v1 address, or nothing when
/// `address` is of another kind or goes on beyond this transport (a relay's
/// `/p2p-circuit`, for example).
pub(crate) fn parse(address: &Multiaddr) -> Option<(SocketAddr, Option<PeerId>)> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    let Protocol::Udp(port) = parts.next()? else {
        return None;
    };
    let Protocol::QuicV1 = parts.next()? else {
        return None;
    };
    let peer = match parts.next() {
        None => None,
        Some(Protocol::P2p(peer)) => Some(peer),
        Some(_) => return None,
    };
    parts
        .next()
        .is_none()
        .then_some((SocketAddr::new(ip, port), peer))
}

/// The QUIC v1 multiaddr of a socket address.
pub(crate) fn format(address: SocketAddr) -> Multiaddr {
    Multiaddr::empty()
        .with(address.ip().into())
        .with(Protocol::Udp(address.port()))
        .with(Protocol::QuicV1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_quic_v1_is_understood() {
        let peer = PeerId::random();
        for (text, expected) in [
            (
                "/ip4/127.0.0.1/udp/1/quic-v1".to_owned(),
                Some(("127.0.0.1:1", None)),
            ),
            (
                format!("/ip6/::1/udp/443/quic-v1/p2p/{peer}"),
                Some(("[::1]:443", Some(peer))),
            ),
            ("/ip4/127.0.0.1/udp/1".to_owned(), None),
            ("/ip4/127.0.0.1/udp/1/quic".to_owned(), None),
            ("/ip4/127.0.0.1/tcp/1".to_owned(), None),
            ("/dns4/example.org/udp/1/quic-v1".to_owned(), None),
            ("/ip4/127.0.0.1/udp/1/quic-v1/webtransport".to_owned(), None),
            (
                format!("/ip4/127.0.0.1/udp/1/quic-v1/p2p/{peer}/p2p-circuit"),
                None,
            ),
        ] {
            let expected = expected.map(|(a, p)| (a.parse().unwrap(), p));
            assert_eq!(parse(&text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn formatting_round_trips() {
        for text in ["192.0.2.1:4001", "[2001:db8::1]:4001"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(parse(&super::format(address)), Some((address, None)));
        }
    }
}
