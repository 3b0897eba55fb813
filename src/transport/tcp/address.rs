//! Multiaddrs of TCP and the socket addresses that they mean.

use std::net::{IpAddr, SocketAddr};

use libp2p::multiaddr::{Multiaddr, Protocol};

/// The socket address of `/ip4|ip6/…/tcp/…[/p2p/…]`, or `None` for every other
/// shape: a `/ws` behind the port belongs to another transport.
pub(crate) fn to_socket_addr(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    let Protocol::Tcp(port) = parts.next()? else {
        return None;
    };
    match (parts.next(), parts.next()) {
        (None, _) | (Some(Protocol::P2p(_)), None) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

/// `/ip4|ip6/…/tcp/…` of a socket address.
pub(crate) fn to_multiaddr(ip: IpAddr, port: u16) -> Multiaddr {
    Multiaddr::empty().with(ip.into()).with(Protocol::Tcp(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_tcp_addresses_are_ours() {
        let peer = "12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf";
        for (text, wanted) in [
            ("/ip4/127.0.0.1/tcp/4001".to_owned(), Some("127.0.0.1:4001")),
            ("/ip6/::1/tcp/4001".to_owned(), Some("[::1]:4001")),
            (
                format!("/ip4/1.2.3.4/tcp/4001/p2p/{peer}"),
                Some("1.2.3.4:4001"),
            ),
            ("/ip4/127.0.0.1/tcp/4001/ws".to_owned(), None),
            (
                format!("/ip4/127.0.0.1/tcp/4001/p2p/{peer}/p2p-circuit"),
                None,
            ),
            ("/ip4/127.0.0.1/udp/4001".to_owned(), None),
            ("/dns4/localhost/tcp/4001".to_owned(), None),
            ("/ip4/127.0.0.1".to_owned(), None),
        ] {
            let address: Multiaddr = text.parse().unwrap();
            let wanted: Option<SocketAddr> = wanted.map(|a| a.parse().unwrap());
            assert_eq!(to_socket_addr(&address), wanted, "{text}");
            if !text.contains("/p2p/")
                && let Some(socket) = wanted
            {
                assert_eq!(to_multiaddr(socket.ip(), socket.port()), address);
            }
        }
    }
}
