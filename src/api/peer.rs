//! Peers, as the node tells of them.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

/// A peer and where it can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who.
    pub id: PeerId,
    /// Where; may be empty.
    pub addrs: Vec<Multiaddr>,
}

/// One connected peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// Who.
    pub id: PeerId,
    /// What it says it is; chosen by the remote, so escape it before printing.
    pub agent: String,
    /// Last round trip of libp2p ping.
    pub ping: Option<Duration>,
    /// Its connections; never empty for a connected peer.
    pub connections: Vec<Connection>,
    /// Sum of the weights of its tags.
    pub weight: i64,
    /// Open streams of all its connections.
    pub streams: u64,
    /// One of `P2P_TRUSTED_PEERS`.
    pub trusted: bool,
    /// -100 to 100; 0 for a stranger.
    pub reputation: f64,
    /// Why the daemon keeps a connection with it, in the words of `p2pd.proto`; empty
    /// when it ends as soon as it is idle.
    pub kept_for: Vec<String>,
}

/// One connection of a [`Peer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The peer dialled this node.
    pub inbound: bool,
    /// `tcp`, `quic`, `ws` or `relay`.
    pub transport: String,
    /// Address of the other end.
    pub addr: Multiaddr,
    /// Since it was established.
    pub age: Duration,
}
