//! Has gossipsub tell a peer once more which topics are joined here.
//!
//! # What libp2p lacks
//!
//! Gossipsub tells that on a peer's first connection, and never again while the peer has a
//! connection. A peer whose process was killed and that came back has forgotten it, while
//! its first connection here may still be that of its earlier life (see
//! `node::gossip::intake`). <https://github.com/libp2p/rust-libp2p/issues/5097> describes
//! what follows: the peer that was restarted cannot publish.
//!
//! # What is done instead
//!
//! Gossipsub is told of one of the connections that it knows as if it were the first: it
//! sends its subscriptions again, and nothing else that it does then changes anything for
//! a peer that it knows.
//!
//! # What would make this superfluous
//!
//! Subscriptions that libp2p-gossipsub sends on every new connection, or a method that
//! sends them to a peer.

use libp2p::PeerId;
use libp2p::swarm::behaviour::ConnectionEstablished;
use libp2p::swarm::{ConnectionId, FromSwarm, NetworkBehaviour};

use super::gossipsub_address::NOWHERE;

/// Repeats the subscriptions of `gossipsub` to a peer with a connection.
pub(in crate::node) fn repeat(
    gossipsub: &mut impl NetworkBehaviour,
    peer_id: PeerId,
    connection_id: ConnectionId,
) {
    gossipsub.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
        peer_id,
        connection_id,
        endpoint: &NOWHERE,
        failed_addresses: &[],
        other_established: 0,
    }));
}
