//! Streams between a program and a peer.

use libp2p::{Multiaddr, PeerId};

/// The other end of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its peer id.
    pub peer: PeerId,
    /// Its address.
    pub addr: Multiaddr,
    /// The protocol that both ends agreed on.
    pub proto: String,
}
