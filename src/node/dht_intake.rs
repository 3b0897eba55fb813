//! The DHT within each peer's budget: a wrapping around Kademlia's behaviour.
//!
//! | file | noun |
//! |---|---|
//! | `placer` | provider records of this node on their way to their receivers |
//! | `askers` | peers that are to be named in the answers to their own questions |
//! | `walks` | walks through the DHT, which are shorter than those of Kademlia |
//!
//! Every request of a peer takes one token of its bucket (`P2P_RATE_BURST`,
//! `P2P_RATE_FILL`) before Kademlia does anything for it, be it a question or a
//! record to store. A request over the budget is reset: its sender knows at once, and
//! asks somebody else. Answers to what this node asked cost nothing.
//!
//! Of the addresses that Kademlia adds to a dial, only those are passed on that the
//! address book would keep.

mod askers;
mod placer;
#[cfg(test)]
mod tests;
mod walks;

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll};

use libp2p::swarm::{
    ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, kad};

use crate::dht::addresses::usable;
use crate::dht::answer;
use crate::dht::records::Records;
use crate::node::compat::forward::forward_connections;
use crate::peers::Policy;
use crate::system::moment::Moment;
use askers::Askers;
use placer::Placer;
pub(super) use placer::{Provision, Replies};
use walks::Walks;

type Kad = kad::Behaviour<Records>;

/// What Kademlia's handler says, and is told; neither has a public name.
type FromHandler = THandlerOutEvent<Kad>;
type ToHandler = THandlerInEvent<Kad>;

/// See the module's documentation.
pub(super) struct DhtIntake {
    inner: Kad,
    policy: Policy,
    /// Resets on their way to handlers: one for each request over budget, taken
    /// out in the same turn.
    resets: VecDeque<(PeerId, ConnectionId, ToHandler)>,
    askers: Askers,
    placer: Placer,
    walks: Walks,
}

impl DhtIntake {
    pub(super) fn new(local: PeerId, inner: Kad, policy: Policy) -> Self {
        DhtIntake {
            inner,
            policy,
            resets: VecDeque::new(),
            askers: Askers::default(),
            placer: Placer::new(local),
            walks: Walks::new(local),
        }
    }

    /// Sends a provider record to `peers`, which the walk `id` has found.
    pub(super) fn place(&mut self, id: kad::QueryId, what: Provision, peers: &[PeerId]) {
        self.placer.place(id, what, peers);
    }

    /// Chooses from the addresses that Kademlia adds to a dial of a peer. It adds whatever
    /// was told in the routing table and in its queries, which does not pass the address
    /// book. So the same holds here: few addresses of a peer, or a stranger could make this
    /// node flood a third party, and none of this host's loopback.
    ///
    /// Kademlia does not say who told an address. So loopback is allowed as long as any
    /// peer is connected over loopback: then a process on this host takes part in the
    /// network, and may have told it.
    fn to_dial(&self, told: Vec<Multiaddr>) -> Vec<Multiaddr> {
        let near = !told.is_empty() && self.policy.read(|peers| peers.table().any_near());
        usable(&told, near).collect()
    }

    /// Remembers to name the peer in the answer to its question, when this node
    /// holds its record.
    fn note_asker(&mut self, peer: &PeerId, id: ConnectionId, event: &FromHandler) {
        let FromHandler::GetProvidersReq { key, request_id } = event else {
            return;
        };
        if let Some(addresses) = self.inner.store_mut().addresses_of(key, peer) {
            let reset = ToHandler::Reset(*request_id);
            self.askers.add(*peer, id, reset, addresses);
        }
    }
}

/// Cuts an answer to what a packet holds: see [`crate::dht::answer`].
fn fit(event: &mut ToHandler) {
    match event {
        ToHandler::GetProvidersRes {
            closer_peers,
            provider_peers,
            ..
        } => answer::fit(closer_peers, provider_peers, 0),
        ToHandler::FindNodeRes { closer_peers, .. } => answer::fit(closer_peers, &mut [], 0),
        ToHandler::GetRecordRes {
            record,
            closer_peers,
            ..
        } => {
            let of = |r: &kad::Record| r.key.as_ref().len() + r.value.len();
            let beside = record.as_ref().map_or(0, of);
            answer::fit(closer_peers, &mut [], beside);
        }
        _ => {}
    }
}

/// Cuts the answer of another node to what one peer may say.
fn take(event: &mut FromHandler) {
    match event {
        FromHandler::GetProvidersRes {
            closer_peers,
            provider_peers,
            ..
        } => answer::take(closer_peers, provider_peers),
        FromHandler::FindNodeRes { closer_peers, .. }
        | FromHandler::GetRecordRes { closer_peers, .. } => {
            answer::take(closer_peers, &mut Vec::new());
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

    forward_connections!(inner; Self::to_dial);

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.placer.on_swarm_event(&event);
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        mut event: THandlerOutEvent<Self>,
    ) {
        take(&mut event);
        if let Some(reset) = request(&event)
            && self.policy.allow(&peer, 1, Moment::now()).is_err()
        {
            if let Some(reset) = reset {
                self.resets.push_back((peer, id, reset));
            }
            return;
        }
        self.note_asker(&peer, id, &event);
        if let Some(event) = self.placer.take(&peer, event) {
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
        if let Poll::Ready(next) = self.placer.poll(cx) {
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
                self.askers.name(peer_id, *id, event);
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
