//! Why the node could not do what was asked.

use libp2p::{Multiaddr, PeerId, StreamProtocol};

use crate::content::fetch::{Obstacle, Unreachable};

/// Why the node could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The event loop has ended.
    #[error("the node has stopped")]
    Stopped,
    /// The node is draining and takes no new work.
    #[error("the node is draining and takes no new work")]
    Draining,
    /// A dial failed; the text names each address tried and why it failed.
    #[error("cannot connect to {target}: {reason}")]
    Dial {
        /// Peer id or address that was dialed.
        target: String,
        /// What went wrong.
        reason: Unreachable,
    },
    /// The peer is not connected.
    #[error("{0} is not connected")]
    NotConnected(PeerId),
    /// A stream could not be opened.
    #[error("cannot open a stream to {peer}: {reason}")]
    OpenStream {
        /// The peer.
        peer: PeerId,
        /// What went wrong.
        reason: Unreachable,
    },
    /// None of the protocols asked for is spoken by the peer.
    #[error(
        "{peer} speaks none of {protocols}, or it reset the stream because this connection carries as many as the peer's own limit allows"
    )]
    UnsupportedProtocol {
        /// The peer.
        peer: PeerId,
        /// The protocols asked for, comma-separated.
        protocols: String,
    },
    /// Somebody on this host already handles the protocol.
    #[error("protocol {0} already has a handler on this node")]
    ProtocolTaken(StreamProtocol),
    /// Too many protocols have handlers on this host.
    #[error("{0} protocols already have handlers on this node, which is the limit")]
    TooManyProtocols(usize),
    /// A DHT query did not reach its goal.
    #[error("DHT {kind} of {key}: {reason}")]
    Dht {
        /// What was asked, such as `get`.
        kind: &'static str,
        /// The key, as text.
        key: String,
        /// What went wrong and what to do.
        reason: String,
    },
    /// There is nobody in the DHT to ask or to tell.
    #[error("DHT {kind} of {key}: no DHT peer is known yet")]
    NoDhtPeer {
        /// What was asked, such as `provide`.
        kind: &'static str,
        /// The key, as text.
        key: String,
    },
    /// A gossip operation was refused.
    #[error("{what} on topic {topic:?}: {reason}")]
    Gossip {
        /// `publish` or `subscribe`.
        what: &'static str,
        /// The topic.
        topic: String,
        /// What went wrong and what to do.
        reason: String,
    },
    /// This node could not listen.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What went wrong.
        reason: String,
    },
}

/// Why a peer was reached neither with what is known of it here nor through the DHT.
pub(in crate::node) fn here_and_there(here: &Unreachable, there: &Unreachable) -> Unreachable {
    Unreachable::new(
        Obstacle::of_several([here.obstacle, there.obstacle]).unwrap_or(Obstacle::Other),
        format!("first with what is known here: {here}; {there}"),
    )
}

/// The second half of that, when the DHT knows addresses and the dial has failed.
pub(in crate::node) fn at_found_addresses(reason: &Unreachable) -> Unreachable {
    Unreachable::new(
        reason.obstacle,
        format!("then at the addresses that the DHT knows: {reason}"),
    )
}
