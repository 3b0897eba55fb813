//! A peer and where it can be dialed.

use libp2p::{Multiaddr, PeerId};

#[cfg(doc)]
use crate::dht::MAX_ADDRS_PER_PEER;

/// A peer and where it can be dialed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddrs {
    /// The peer.
    pub peer: PeerId,
    /// Its addresses, at most [`MAX_ADDRS_PER_PEER`].
    pub addrs: Vec<Multiaddr>,
}
