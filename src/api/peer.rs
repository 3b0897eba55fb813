//! A connected peer and its connections, as the node describes them.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

/// One connected peer. The node fills in every field except for the weight, which is the
/// sum of the tags that programs set over the control socket.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// Its peer id.
    pub id: PeerId,
    /// The agent version that it sent with identify; empty until it has sent one. The
    /// remote peer chose it, so escape it before printing it.
    pub agent: String,
    /// The last round-trip time that libp2p ping measured.
    pub ping: Option<Duration>,
    /// Its connections. A connected peer has at least one.
    pub connections: Vec<Connection>,
    /// The sum of the weights of its tags.
    pub weight: i64,
    /// The number of open streams on all its connections.
    pub streams: u64,
    /// Whether it is one of `P2P_TRUSTED_PEERS`.
    pub trusted: bool,
    /// Whether it is one of `P2P_PEERING`. The control socket does not carry this.
    pub peering: bool,
    /// Its reputation, from -100 to 100; 0 for a stranger.
    pub reputation: f64,
    /// Why the daemon keeps a connection with it although nothing may use it: `floor`
    /// (`P2P_MIN_PEERS`), `peering` (`P2P_PEERING`), `publishing` (messages of this host
    /// went to it lately), `topic` (it is on a topic of this node) and `asked` (the peer
    /// asked for it). It is empty when the connection ends as soon as it is idle.
    pub kept_for: Vec<String>,
    /// The protocols for the exchange of blocks that it sent with identify. They are
    /// escaped, and there are only a few. The control socket does not carry them.
    pub exchanges: Vec<String>,
}

/// One connection of a [`Peer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Whether the peer dialled this node.
    pub inbound: bool,
    /// `tcp`, `quic`, `ws` or `relay`.
    pub transport: String,
    /// The address of the other end.
    pub addr: Multiaddr,
    /// The time since it was established.
    pub age: Duration,
}
