//! The DHT within each peer's budget: a wrapping around Kademlia's behaviour.
//!
//! Every request of a peer takes one token of its bucket (`P2P_RATE_BURST`,
//! `P2P_RATE_FILL`) before Kademlia does anything for it, be it a question or a
//! record to store. What is over budget is reset: its sender knows at once, and
//! asks somebody else. Answers to what this node asked cost nothing.
//!
//! Provider records of this node go out from here too, as [`super::placing`] paces
//! them: Kademlia would send each of them to all of its receivers at once, and
//! could not say who holds it.
//!
//! Nobody acknowledges a provider record. So that its sender can ask, the answer to
//! a question for providers names the asker too, when this node holds a record of
//! it. go-libp2p answers so; Kademlia here leaves the asker out.
//!
//! Walks through the DHT are cut short here: see [`walks`].

#[cfg(test)]
mod tests;
mod walks;

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll};
use std::time::Instant;

use futures::FutureExt;
use futures::channel::oneshot;
use futures_timer::Delay;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, ExternalAddresses, FromSwarm, NetworkBehaviour, NotifyHandler,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, kad};

use super::dht_answer;
use super::handle::{Error, Reply};
use super::placing::{Event, Held, Placing};
use super::records::Records;
use crate::peers::Policy;
use walks::Walks;

type Kad = kad::Behaviour<Records>;

/// What Kademlia's handler says, and is told; neither has a public name.
type FromHandler = THandlerOutEvent<Kad>;
type ToHandler = THandlerInEvent<Kad>;

/// Askers to be named in answers. An answer is queued when the question is taken in
/// and leaves within a turn or two; more than this is never there.
const MAX_ASKERS: usize = 256;

/// See the module's documentation.
pub(super) struct DhtIntake {
    inner: Kad,
    policy: Policy,
    /// Resets on their way to handlers: one for each request over budget, taken
    /// out in the same turn.
    resets: VecDeque<(PeerId, ConnectionId, ToHandler)>,
    /// Askers that are to be named in the answers that Kademlia has queued, with
    /// what would reset the request, as its mark.
    askers: VecDeque<(PeerId, ConnectionId, ToHandler, kad::KadPeer)>,
    local: PeerId,
    /// Provider records under way, by the query that found their receivers.
    placing: Placing<kad::QueryId>,
    /// Who waits for them.
    waiting: HashMap<kad::QueryId, Replies>,
    holding: HashMap<kad::QueryId, oneshot::Sender<Held>>,
    connected: HashSet<PeerId>,
    external: ExternalAddresses,
    /// Rings when a record is due.
    timer: Delay,
    walks: Walks,
}

/// A provider record to place, and who waits for that.
pub(super) struct Provision {
    /// What is provided.
    pub(super) key: kad::RecordKey,
    /// Whether its receivers are asked afterwards.
    pub(super) verify: bool,
    /// Who is told.
    pub(super) replies: Replies,
}

/// Who waits for a record: for its receivers to be told, and for their answers.
pub(super) struct Replies {
    /// The number of peers that were told.
    pub(super) told: Reply<usize>,
    /// What they answered.
    pub(super) held: oneshot::Sender<Held>,
}

impl DhtIntake {
    pub(super) fn new(local: PeerId, inner: Kad, policy: Policy) -> Self {
        DhtIntake {
            inner,
            policy,
            resets: VecDeque::new(),
            askers: VecDeque::new(),
            local,
            placing: Placing::default(),
            waiting: HashMap::new(),
            holding: HashMap::new(),
            connected: HashSet::new(),
            external: ExternalAddresses::default(),
            timer: Delay::new(std::time::Duration::ZERO),
            walks: Walks::new(local),
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
        } else if self.placing.is_full() {
            Some("this host announces as much as one node may already; try again later")
        } else {
            None
        };
        if let Some(reason) = refusal {
            let _ = replies.told.send(Err(Error::Dht {
                kind: "provide",
                key: super::event_loop::key_text(key.as_ref()),
                reason: reason.into(),
            }));
            return;
        }
        self.waiting.insert(id, replies);
        self.placing.begin(id, key, peers, verify, Instant::now());
    }

    /// What is due of the records under way.
    fn place_next(&mut self, cx: &mut Context<'_>) -> Option<ToSwarm<kad::Event, ToHandler>> {
        loop {
            let now = Instant::now();
            let connected = &self.connected;
            let event = self.placing.next(now, |peer| connected.contains(peer));
            let Some(event) = event else {
                let at = self.placing.wake_at()?;
                self.timer.reset(at.saturating_duration_since(now));
                if self.timer.poll_unpin(cx).is_pending() {
                    return None;
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
                    return Some(ToSwarm::Dial { opts });
                }
                Event::Told(id, told) => {
                    if let Some(replies) = self.waiting.remove(&id) {
                        let Replies { told: reply, held } = replies;
                        let _ = reply.send(Ok(told));
                        self.holding.insert(id, held);
                    }
                    continue;
                }
                Event::Done(id, result) => {
                    if let Some(reply) = self.holding.remove(&id) {
                        let _ = reply.send(result);
                    }
                    continue;
                }
            };
            return Some(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::Any,
                event,
            });
        }
    }

    /// Remembers to name the peer in the answer to its question, when this node
    /// holds its record.
    fn note_asker(&mut self, peer: &PeerId, id: ConnectionId, event: &FromHandler) {
        let FromHandler::GetProvidersReq { key, request_id } = event else {
            return;
        };
        if let Some(addresses) = self.inner.store_mut().record_of(key, peer) {
            if self.askers.len() >= MAX_ASKERS {
                self.askers.pop_front();
            }
            let asker = kad::KadPeer {
                node_id: *peer,
                multiaddrs: addresses,
                connection_ty: kad::ConnectionType::Connected,
            };
            let mark = ToHandler::Reset(*request_id);
            self.askers.push_back((*peer, id, mark, asker));
        }
    }

    fn name_asker(&mut self, peer: &PeerId, id: ConnectionId, event: &mut ToHandler) {
        let ToHandler::GetProvidersRes {
            provider_peers,
            request_id,
            ..
        } = event
        else {
            return;
        };
        let at = self.askers.iter().position(|(p, i, mark, _)| {
            p == peer && *i == id && matches!(mark, ToHandler::Reset(r) if r == request_id)
        });
        if let Some((_, _, _, asker)) = at.and_then(|at| self.askers.remove(at)) {
            provider_peers.truncate(kad::K_VALUE.get() - 1);
            provider_peers.push(asker);
        }
    }

    /// Takes in the answer to a question of [`Self::place`]; gives back any other
    /// event.
    fn placed(&mut self, peer: &PeerId, event: FromHandler) -> Option<FromHandler> {
        let now = Instant::now();
        match event {
            FromHandler::GetProvidersRes {
                provider_peers,
                query_id,
                ..
            } if self.placing.is_asked(query_id, peer) => {
                // A peer that knows as many providers as it remembers for a key
                // takes no further one, and nobody needs it.
                let many = provider_peers.len() >= kad::K_VALUE.get();
                let names = many || provider_peers.iter().any(|p| p.node_id == self.local);
                self.placing.answered(query_id, peer, names, now);
                None
            }
            FromHandler::QueryError { query_id, .. } if self.placing.is_asked(query_id, peer) => {
                self.placing.failed(query_id, peer, now);
                None
            }
            other => Some(other),
        }
    }
}

/// Cuts an answer to what a packet holds: see [`dht_answer`].
fn fit(event: &mut ToHandler) {
    match event {
        ToHandler::GetProvidersRes {
            closer_peers,
            provider_peers,
            ..
        } => dht_answer::fit(closer_peers, provider_peers, 0),
        ToHandler::FindNodeRes { closer_peers, .. } => dht_answer::fit(closer_peers, &mut [], 0),
        ToHandler::GetRecordRes {
            record,
            closer_peers,
            ..
        } => {
            let of = |r: &kad::Record| r.key.as_ref().len() + r.value.len();
            let beside = record.as_ref().map_or(0, of);
            dht_answer::fit(closer_peers, &mut [], beside);
        }
        _ => {}
    }
}

/// Whether this is a request, and what resets it when that can be said.
fn request(event: &FromHandler) -> Option<Option<ToHandler>> {
    match event {
        FromHandler::FindNodeReq { request_id, .. }
        | FromHandler::GetProvidersReq { request_id, .. }
        | FromHandler::GetRecord { request_id, .. }
        | FromHandler::PutRecord { request_id, .. } => Some(Some(ToHandler::Reset(*request_id))),
        // Nobody waits for an answer.
        FromHandler::AddProvider { .. } => Some(None),
        _ => None,
    }
}

impl Deref for DhtIntake {
    type Target = Kad;

    fn deref(&self) -> &Kad {
        &self.inner
    }
}

impl DerefMut for DhtIntake {
    fn deref_mut(&mut self) -> &mut Kad {
        &mut self.inner
    }
}

impl NetworkBehaviour for DhtIntake {
    type ConnectionHandler = THandler<Kad>;
    type ToSwarm = <Kad as NetworkBehaviour>::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner
            .handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner
            .handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner
            .handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner
            .handle_established_outbound_connection(id, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.external.on_swarm_event(&event);
        match &event {
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
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        if let Some(reset) = request(&event)
            && self.policy.allow(&peer, 1).is_err()
        {
            if let Some(reset) = reset {
                self.resets.push_back((peer, id, reset));
            }
            return;
        }
        self.note_asker(&peer, id, &event);
        if let Some(event) = self.placed(&peer, event) {
            self.inner.on_connection_handler_event(peer, id, event);
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer_id, id, event)) = self.resets.pop_front() {
            return Poll::Ready(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::One(id),
                event,
            });
        }
        if let Some(next) = self.place_next(cx) {
            return Poll::Ready(next);
        }
        loop {
            let mut next = self.inner.poll(cx);
            if let Poll::Ready(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::One(id),
                event,
            }) = &mut next
            {
                self.name_asker(peer_id, *id, event);
                fit(event);
            }
            if let Poll::Ready(ToSwarm::GenerateEvent(kad::Event::OutboundQueryProgressed {
                id,
                result,
                stats,
                step,
            })) = &mut next
                && !self.walks.step(&mut self.inner, *id, result, stats, step)
            {
                continue;
            }
            return next;
        }
    }
}
