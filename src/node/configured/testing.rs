//! What the tests of configured peers share.

use libp2p::{Multiaddr, PeerId};

/// A peer with an address that names it.
pub(super) fn target() -> (PeerId, Multiaddr) {
    let peer = PeerId::random();
    let address = format!("/ip4/192.0.2.1/tcp/4001/p2p/{peer}");
    (peer, address.parse().unwrap())
}

/// Whether a peer is connected: none is.
pub(super) fn nobody(_: &PeerId) -> bool {
    false
}
