//! Peers that are to be named in the answers to their own questions.
//!
//! Nobody acknowledges a provider record. So that its sender can ask, the answer to
//! a question for providers names the asker too, when this node holds a record of
//! it. go-libp2p answers so; Kademlia here leaves the asker out.

use std::collections::VecDeque;

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, kad};

use super::ToHandler;

/// Askers to be named in answers. An answer is queued when the question is taken in
/// and leaves within a turn or two; more than this are never there.
const MAX_ASKERS: usize = 256;

/// A peer whose question waits for its answer.
struct Asker {
    peer: PeerId,
    connection: ConnectionId,
    /// What would reset the request. A request id can be compared only with another,
    /// and this carries it.
    reset: ToHandler,
    addresses: Vec<Multiaddr>,
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Askers {
    queue: VecDeque<Asker>,
}

impl Askers {
    /// Remembers to name `peer`, with these addresses, in the answer to the request that
    /// `reset` would reset.
    pub(super) fn add(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        reset: ToHandler,
        addresses: Vec<Multiaddr>,
    ) {
        if self.queue.len() >= MAX_ASKERS {
            self.queue.pop_front();
        }
        self.queue.push_back(Asker {
            peer,
            connection,
            reset,
            addresses,
        });
    }

    /// Names the asker in an answer to it, if it is to be.
    pub(super) fn name(&mut self, peer: &PeerId, connection: ConnectionId, event: &mut ToHandler) {
        let ToHandler::GetProvidersRes {
            provider_peers,
            request_id,
            ..
        } = event
        else {
            return;
        };
        let at = self.queue.iter().position(|asker| {
            asker.peer == *peer
                && asker.connection == connection
                && matches!(&asker.reset, ToHandler::Reset(id) if id == request_id)
        });
        if let Some(asker) = at.and_then(|at| self.queue.remove(at)) {
            provider_peers.truncate(kad::K_VALUE.get() - 1);
            provider_peers.push(kad::KadPeer {
                node_id: asker.peer,
                multiaddrs: asker.addresses,
                connection_ty: kad::ConnectionType::Connected,
            });
        }
    }
}
