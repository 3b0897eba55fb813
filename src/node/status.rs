//! What the node says of its peers: plain data, made by the event loop on request.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

/// A connected peer, as `p2p-node peers` shows it.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// The peer.
    pub peer: PeerId,
    /// Its connections.
    pub connections: Vec<ConnectionStatus>,
    /// Agent version it told by identify; escaped, bounded.
    pub agent: Option<String>,
    /// Last ping round trip.
    pub ping: Option<Duration>,
    /// Streams open on its connections now, both directions.
    pub streams: usize,
    /// Whether it is one of `P2P_TRUSTED_PEERS`.
    pub trusted: bool,
    /// Protocols that exchange blocks and that it told by identify; escaped, a few.
    pub exchanges: Vec<String>,
    /// Whether it is one of `P2P_PEERING`.
    pub peering: bool,
    /// Why this node keeps a connection with it although nothing may use it: `floor`
    /// (`P2P_MIN_PEERS`), `peering` (`P2P_PEERING`), `publishing` (messages of this
    /// host went to it lately), `topic` (it is on a topic of this node) and `asked`
    /// (the peer asked for it). Empty when it ends as soon as it is idle.
    pub kept_for: Vec<&'static str>,
}

/// One connection of a peer.
#[derive(Clone, Debug)]
pub struct ConnectionStatus {
    /// `in` or `out`.
    pub direction: &'static str,
    /// `tcp`, `quic`, `ws` or `relay`.
    pub transport: &'static str,
    /// The remote's address.
    pub address: Multiaddr,
    /// Since it was established.
    pub age: Duration,
}

/// Names the transport of an address, for people and logs.
pub fn transport_of(address: &Multiaddr) -> &'static str {
    use libp2p::multiaddr::Protocol;
    let mut name = "other";
    for part in address {
        match part {
            Protocol::P2pCircuit => return "relay",
            Protocol::QuicV1 => name = "quic",
            Protocol::Ws(_) | Protocol::Wss(_) => name = "ws",
            Protocol::Tcp(_) => name = "tcp",
            _ => {}
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_are_named_by_the_outermost_way() {
        for (address, name) in [
            ("/ip4/1.2.3.4/tcp/4001", "tcp"),
            ("/ip4/1.2.3.4/udp/4001/quic-v1", "quic"),
            ("/ip4/1.2.3.4/tcp/4001/ws", "ws"),
            (
                "/ip4/1.2.3.4/tcp/1/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp/p2p-circuit",
                "relay",
            ),
            ("/memory/1", "other"),
        ] {
            assert_eq!(transport_of(&address.parse().unwrap()), name, "{address}");
        }
    }
}
