//! Addresses that a query of the DHT has learnt.

use libp2p::core::Endpoint;
use libp2p::swarm::{ConnectionId, NetworkBehaviour};
use libp2p::{Multiaddr, PeerId};

use crate::node::dht_intake::DhtIntake;

/// The number of a connection that is never made. The swarm counts connections from
/// zero, so that none of them gets it.
const NO_CONNECTION: usize = usize::MAX;

/// Where `peer` can be dialed, as the answers to the queries say that run now.
///
/// Kademlia names providers without their addresses (`GetProvidersOk::FoundProviders`)
/// and keeps the addresses for itself until the query ends. It tells them only to the
/// swarm when the swarm is about to dial, so this asks as the swarm would, in the name of
/// a connection that does not exist; Kademlia remembers nothing of the question. It would
/// not be needed if `FoundProviders` carried the addresses, or if `kad::Behaviour` had a
/// method that tells the addresses of a peer in running queries.
/// <https://github.com/libp2p/rust-libp2p/issues/1568> asked for a search for a peer.
/// The answer there was to ask for the addresses as the swarm does.
pub(in crate::node) fn addresses_in_queries(kad: &mut DhtIntake, peer: PeerId) -> Vec<Multiaddr> {
    let id = ConnectionId::new_unchecked(NO_CONNECTION);
    kad.handle_pending_outbound_connection(id, Some(peer), &[], Endpoint::Dialer)
        .unwrap_or_default()
}
