//! A peer and the addresses at which it can be reached.

use libp2p::{Multiaddr, PeerId};

/// A peer and the addresses at which it can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its peer id.
    pub id: PeerId,
    /// Its addresses. There may be none.
    pub addrs: Vec<Multiaddr>,
}
