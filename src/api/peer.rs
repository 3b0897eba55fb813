//! Peers, as the node describes them.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

/// A peer and where it can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its peer id.
    pub id: PeerId,
    /// Its addresses; may be empty.
    pub addrs: Vec<Multiaddr>,
}

/// One connected peer. The node fills in all of it but the weight, which is the sum of
/// tags that programs give over the control socket.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// Its peer id.
    pub id: PeerId,
    /// The agent version that it told by identify; empty while it has told none. The
    /// remote chose it, so escape it before printing.
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
    /// One of `P2P_PEERING`. The control socket does not carry it.
    pub peering: bool,
    /// -100 to 100; 0 for a stranger.
    pub reputation: f64,
    /// Why the daemon keeps a connection with it although nothing may use it: `floor`
    /// (`P2P_MIN_PEERS`), `peering` (`P2P_PEERING`), `publishing` (messages of this
    /// host went to it lately), `topic` (it is on a topic of this node) and `asked`
    /// (the peer asked for it). Empty when the connection ends as soon as it is idle.
    pub kept_for: Vec<String>,
    /// Protocols for the exchange of blocks that it told by identify; escaped, and only
    /// a few. The control socket does not carry them.
    pub exchanges: Vec<String>,
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
    /// The time since it was established.
    pub age: Duration,
}
