//! Multiaddrs: to listen on, and to advertise.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use super::Parsed;

pub(in crate::config) fn multiaddr(text: &str) -> Parsed<Multiaddr> {
    // The text that the parser quotes is escaped, so that an error stays one line.
    text.parse()
        .map_err(|e: libp2p::multiaddr::Error| e.to_string())
        .map_err(|e| format!("not a multiaddr ({})", e.escape_debug()))
}

/// Parses an address that this node can listen on: an IP address, then TCP, TCP with
/// WebSocket, or QUIC v1.
pub(in crate::config) fn listen_addr(text: &str) -> Parsed<Multiaddr> {
    let addr = multiaddr(text)?;
    let mut rest = addr.iter();
    let ip = matches!(rest.next(), Some(Protocol::Ip4(_) | Protocol::Ip6(_)));
    let transport = match rest.next() {
        Some(Protocol::Tcp(_)) => matches!(rest.next(), None | Some(Protocol::Ws(_))),
        Some(Protocol::Udp(_)) => matches!(rest.next(), Some(Protocol::QuicV1)),
        _ => false,
    };
    if ip && transport && rest.next().is_none() {
        Ok(addr)
    } else {
        Err("not an IP address with /tcp/PORT, /tcp/PORT/ws or /udp/PORT/quic-v1".into())
    }
}

/// Parses an address to advertise. It must not name a peer: that is added when it is
/// sent.
pub(in crate::config) fn external_addr(text: &str) -> Parsed<Multiaddr> {
    let addr = multiaddr(text)?;
    match addr.iter().next() {
        Some(Protocol::Ip4(ip)) if ip.is_unspecified() => Err("nobody can dial 0.0.0.0".into()),
        Some(Protocol::Ip6(ip)) if ip.is_unspecified() => Err("nobody can dial ::".into()),
        None => Err("empty".into()),
        _ => Ok(addr),
    }
}
