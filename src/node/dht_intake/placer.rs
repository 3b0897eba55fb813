//! Provider records of this node, sent as [`crate::dht::placement`] paces them.
//!
//! Kademlia would send each of them to all of its receivers at once, and could not say
//! which of them hold it.

use std::collections::{HashMap, HashSet};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::channel::oneshot;
use futures_timer::Delay;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ExternalAddresses, FromSwarm, NotifyHandler, ToSwarm};
use libp2p::{PeerId, kad};

use super::{FromHandler, ToHandler};
use crate::dht::Outcome;
use crate::dht::placement::{Event, Placements};
use crate::node::error::Error;
use crate::node::key_text::key_text;
use crate::node::reply::Reply;

/// A provider record to place, and who waits for that.
pub(in crate::node) struct Provision {
    /// What is provided.
    pub(in crate::node) key: kad::RecordKey,
    /// Whether its receivers are asked afterwards.
    pub(in crate::node) verify: bool,
    /// Who is told.
    pub(in crate::node) replies: Replies,
}

/// Who waits for a record: for its receivers to be told, and for their answers.
pub(in crate::node) struct Replies {
    /// The number of peers that were told.
    pub(in crate::node) told: Reply<usize>,
    /// What they answered.
    pub(in crate::node) outcome: oneshot::Sender<Outcome>,
}

/// See the module's documentation.
pub(super) struct Placer {
    pub(super) local: PeerId,
    /// Provider records under way, by the query that found their receivers.
    placements: Placements<kad::QueryId>,
    /// Those whose receivers have not all been told yet.
    telling: HashMap<kad::QueryId, Replies>,
    /// Those whose receivers may still be asked.
    asking: HashMap<kad::QueryId, oneshot::Sender<Outcome>>,
    connected: HashSet<PeerId>,
    external: ExternalAddresses,
    /// Expires when the next step is due.
    timer: Delay,
}

impl Placer {
    /// Nothing is under way at the node `local`.
    pub(super) fn new(local: PeerId) -> Self {
        Placer {
            local,
            placements: Placements::default(),
            telling: HashMap::new(),
            asking: HashMap::new(),
            connected: HashSet::new(),
            external: ExternalAddresses::default(),
            timer: Delay::new(Duration::ZERO),
        }
    }

    /// Sends a provider record to `peers`, which the walk `id` has found.
    pub(super) fn place(&mut self, id: kad::QueryId, what: Provision, peers: &[PeerId]) {
        let Provision {
            key,
            verify,
            replies,
        } = what;
        let refusal = if peers.is_empty() {
            Some("no DHT peer answered; check P2P_BOOTSTRAP_PEERS and `p2p-node peers`")
        } else if self.placements.is_full() {
            Some("this host announces as much as one node may already; try again later")
        } else {
            None
        };
        if let Some(reason) = refusal {
            let _ = replies.told.send(Err(Error::Dht {
                kind: "provide",
                key: key_text(key.as_ref()),
                reason: reason.into(),
            }));
            return;
        }
        self.telling.insert(id, replies);
        self.placements
            .begin(id, key, peers, verify, Instant::now());
    }

    /// Notes which peers are connected and where this node can be reached.
    pub(super) fn on_swarm_event(&mut self, event: &FromSwarm<'_>) {
        self.external.on_swarm_event(event);
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, .. }) => {
                self.connected.insert(*peer_id);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                remaining_established: 0,
                ..
            }) => {
                self.connected.remove(peer_id);
            }
            _ => {}
        }
    }

    /// What is due of the records under way.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<kad::Event, ToHandler>> {
        loop {
            let now = Instant::now();
            let connected = &self.connected;
            let event = self.placements.next(now, |peer| connected.contains(peer));
            let Some(event) = event else {
                let Some(at) = self.placements.wake_at() else {
                    return Poll::Pending;
                };
                self.timer.reset(at.saturating_duration_since(now));
                if self.timer.poll_unpin(cx).is_pending() {
                    return Poll::Pending;
                }
                continue;
            };
            let (peer_id, event) = match event {
                Event::Tell { peer, id, key } => {
                    let provider = kad::KadPeer {
                        node_id: self.local,
                        multiaddrs: self.external.iter().cloned().collect(),
                        connection_ty: kad::ConnectionType::Connected,
                    };
                    let query_id = id;
                    let tell = ToHandler::AddProvider {
                        key,
                        provider,
                        query_id,
                    };
                    (peer, tell)
                }
                Event::Ask { peer, id, key } => {
                    (peer, ToHandler::GetProvidersReq { key, query_id: id })
                }
                Event::Dial(peer) => {
                    let opts = DialOpts::peer_id(peer)
                        .condition(PeerCondition::DisconnectedAndNotDialing)
                        .build();
                    return Poll::Ready(ToSwarm::Dial { opts });
                }
                Event::Told(id, count) => {
                    if let Some(Replies { told, outcome }) = self.telling.remove(&id) {
                        let _ = told.send(Ok(count));
                        self.asking.insert(id, outcome);
                    }
                    continue;
                }
                Event::Done(id, outcome) => {
                    if let Some(reply) = self.asking.remove(&id) {
                        let _ = reply.send(outcome);
                    }
                    continue;
                }
            };
            return Poll::Ready(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::Any,
                event,
            });
        }
    }

    /// Takes in the answer to a question about a record under way; gives back any other
    /// event.
    pub(super) fn take(&mut self, peer: &PeerId, event: FromHandler) -> Option<FromHandler> {
        let now = Instant::now();
        match event {
            FromHandler::GetProvidersRes {
                provider_peers,
                query_id,
                ..
            } if self.placements.is_asked(query_id, peer) => {
                // A peer names as many providers as it remembers for a key. When there are
                // more, others were chosen there ([`crate::dht::records`]), and to tell it
                // again would push out one of them.
                let many = provider_peers.len() >= kad::K_VALUE.get();
                let names = many || provider_peers.iter().any(|p| p.node_id == self.local);
                self.placements.answered(query_id, peer, names, now);
                None
            }
            FromHandler::QueryError { query_id, .. }
                if self.placements.is_asked(query_id, peer) =>
            {
                self.placements.failed(query_id, peer, now);
                None
            }
            other => Some(other),
        }
    }
}
