//! An address that the node keeps trying, and the peer that it names.

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::neighbours::backoff::Backoff;

/// An address that the node keeps trying.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) address: Multiaddr,
    /// The peer, if the address names it (a `/dnsaddr` does not have to).
    pub(super) peer: Option<PeerId>,
    pub(super) backoff: Backoff,
}

impl Target {
    pub(super) fn new(address: Multiaddr) -> Self {
        let peer = peer_of(&address);
        Target {
            address,
            peer,
            backoff: Backoff::default(),
        }
    }
}

/// Returns the peer that an address names at its end.
pub(in crate::node) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}
