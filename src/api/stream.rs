//! Streams between a program and a peer.

use libp2p::{Multiaddr, PeerId};

/// The other end of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Who.
    pub peer: PeerId,
    /// Over which address.
    pub addr: Multiaddr,
    /// The protocol that both agreed on.
    pub proto: String,
}
