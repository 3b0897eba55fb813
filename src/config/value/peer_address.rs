//! A peer and one address of it.

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use super::{Parsed, multiaddr};

/// A peer and one address of it, from a multiaddr that ends in `/p2p/PEER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// The peer that answers there.
    pub peer: PeerId,
    /// The whole multiaddr, with its final `/p2p/PEER`.
    pub address: Multiaddr,
}

pub(in crate::config) fn peer_address(text: &str) -> Parsed<PeerAddress> {
    let address = multiaddr(text)?;
    match address.iter().last() {
        Some(Protocol::P2p(peer)) if address.iter().count() > 1 => {
            Ok(PeerAddress { peer, address })
        }
        _ => Err("it does not say where and end in /p2p/PEER_ID".into()),
    }
}

impl std::fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(f)
    }
}
