//! What is let in to gossipsub: a wrapper around its behaviour.
//!
//! Gossipsub keeps the id of every message that it is handed for minutes, its
//! bytes for seconds, whatever the topic, and tells its owner only of those that
//! are new and wanted. So what one peer, or all of them together, may make it
//! keep is decided before it is handed anything. In order:
//!
//! - a message on a topic that is not joined here ends here;
//! - a copy of a message whose verdict is known ends here; an eighth of a token is
//!   taken for it, since a mesh brings each message some eight times;
//! - what the peer is the author of takes one token of its bucket of messages
//!   (`P2P_RATE_BURST`, `P2P_RATE_FILL`): excess is dropped, and costs reputation
//!   when it is persistent;
//! - what it brings of others may be as much as this node takes of all: what one
//!   may let in it may also pass on. Excess makes its connection read more slowly
//!   ([`quotas`](crate::gossip::quotas)); only when it is gross, for long over twice that or two bursts
//!   above it, does it cost reputation. An honest node lets in no more than its
//!   ceiling and sends each message to a neighbour once; what is asked of it
//!   besides is [`MAX_IDS`](crate::gossip::MAX_IDS) for each heartbeat and topic. So under the
//!   default limits it cannot be gross. The author has a bucket too ([`authors`]);
//! - the ceilings of the node, in messages and bytes, which all peers share
//!   ([`ceiling`]).
//!
//! Bytes have been paid when a message arrives here: the connection is read only
//! as fast as `P2P_RATE_BYTES_FILL` allows (`node::accounting`). That is before any
//! signature is checked, and bounds what checking costs: at the default of 1 MiB
//! a second, 8,000 of the smallest messages (130 bytes), half a core, and 0.1 core
//! for ones of 600 bytes. Nobody keeps that up: invalid ones end in a ban after
//! four, its own after twenty seconds, and those of others at 1,000 a second (0.06
//! core). What many can do together is bounded by how many may connect
//! (`P2P_MAX_CONNECTIONS`, `P2P_MAX_CONNECTIONS_PER_SUBNET`): it takes some sixteen
//! such peers for each core.
//!
//! [`authors`]: crate::gossip::authors
//! [`ceiling`]: crate::gossip::ceiling
//!
//! A message dropped here is not marked as known: another peer may still bring
//! it, and it may be asked for later.
//!
//! Control messages (lists of ids, grafts and prunes) and subscriptions have a
//! bucket of their own, of bytes, so that a peer over its budget of messages does
//! not lose its place in the mesh half-way. A subscription that is lost is lost for
//! as long as the connection lives, so the bucket holds several times what a peer
//! says at most that is on as many topics as it may be.
//!
//! Gossipsub tells a peer what is joined here on the peer's first connection, and
//! never again. A peer that was killed and came back has forgotten it, while its
//! first connection here may still be that of its earlier life. So what is joined
//! is told once more whenever one of several connections of a peer ends: that
//! costs a live peer a few bytes, and gives the other its neighbours back.
//!
//! What the codec found invalid is visible here and nowhere else; it costs
//! reputation, and gossipsub scores it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::gossipsub::{
    IdentTopic, Message, MessageAcceptance, MessageId, PublishError, SubscriptionError, TopicHash,
    ValidationError,
};
use libp2p::identity::Keypair;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use super::config::{Gossipsub, gossipsub};
use super::sender::{Sender, Senders};
use crate::gossip::quotas::{Asked, Charge, Quotas, subscriptions_weight};
use crate::gossip::seen::Id;
use crate::gossip::{Dropped, mesh_bounds, scoring};
use crate::node::Metrics;
use crate::node::behaviour::BuildError;
use crate::node::compat::hashed_size::size;
use crate::node::compat::{gossipsub_address, gossipsub_hello};
use crate::node::options::Options;
use crate::peers::bucket::{Budget, Rates, scale};
use crate::peers::{Conduct, Policy};
use crate::system::moment::Moment;

/// Most offences that one frame is reported for: more than any reputation
/// survives.
const REPORTS_A_FRAME: usize = 16;

/// Topics that are ever scored. Gossipsub cannot forget the parameters of one; a
/// program on this host that joins a new topic every second is not to fill the
/// memory. A topic after these works, and nothing in it is scored.
const MAX_SCORED: usize = 4096;

/// The event of gossipsub's handler, which has no public name.
type FromHandler = THandlerOutEvent<Gossipsub>;

/// See the module's documentation.
pub(in crate::node) struct Intake {
    inner: Gossipsub,
    policy: Policy,
    metrics: Arc<Metrics>,
    quotas: Quotas,
    /// Topics that are scored.
    scored: usize,
    senders: Senders,
}

/// Bytes that one message above what a peer may pass on is charged with. Reading
/// is held to P2P_RATE_BYTES_FILL, so the surplus falls to 250 a second.
const SLOWER: usize = 4096;

/// Charges a peer for a message. Returns whether its budget allows the message.
///
/// The bucket of messages is shared with the requests and the DHT, on other tasks. So the
/// quotas cannot be told in advance what is in it: they say what a message costs, and
/// here it is taken, at once and in one step.
fn pays(policy: &Policy, peer: &PeerId, charge: Charge, moment: Moment) -> bool {
    match charge {
        Charge::Nothing => true,
        Charge::Message => policy.allow(peer, 1, moment).is_ok(),
        Charge::Excess { gross } => {
            let _ = policy.charge_bytes(peer, SLOWER, moment.mono);
            if gross {
                policy.report(peer, Conduct::OverBudget, moment);
            }
            true
        }
    }
}

/// What a peer has done that sent a message with this fault.
///
/// Messages without a signature come as [`ValidationError::InvalidSignature`] too;
/// peers of applications that do not sign have no business in a topic of ones
/// that do.
fn conduct_of(error: &ValidationError) -> Conduct {
    match error {
        ValidationError::InvalidSignature => Conduct::InvalidSignature,
        ValidationError::MessageSizeTooLargeForTopic => Conduct::Oversized,
        _ => Conduct::Malformed,
    }
}

impl Intake {
    /// Gossipsub after `options`, wrapped.
    ///
    /// # Errors
    /// When an option is out of what gossipsub accepts.
    pub(crate) fn new(
        identity: &Keypair,
        options: &Options,
        policy: Policy,
        metrics: Arc<Metrics>,
    ) -> Result<Self, BuildError> {
        let rates = policy.rates();
        let (low, high, _) = mesh_bounds(options.gossip_d);
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        metrics.gossip_mesh_low.set(gauge(low));
        metrics.gossip_mesh_high.set(gauge(high));
        Ok(Intake {
            inner: gossipsub(identity, options)?,
            quotas: Quotas::new(options.gossip_heartbeat, rates, Instant::now()),
            scored: 0,
            senders: Senders::default(),
            policy,
            metrics,
        })
    }

    /// What a receiver takes that is configured as this node is: messages of each
    /// peer, and bytes of all peers together.
    pub(crate) fn takes(&self) -> (Budget, Budget) {
        self.quotas.takes()
    }

    /// How many peers a message that is published on `topic` now goes to.
    ///
    /// Gossipsub does not tell, so its own rule is applied to what it shows: with
    /// `flood_publish`, every connected peer that subscribes to the topic and whose
    /// score is not below the threshold for publishing. What a peer's queue has no
    /// room for, or what waits in it for too long, is lost for that peer; gossipsub
    /// tells of that later, and without naming the message
    /// (`p2p_gossip_unsent_total`).
    pub(crate) fn recipients(&self, topic: &TopicHash) -> usize {
        self.inner
            .all_peers()
            .filter(|(_, topics)| topics.contains(&topic))
            .filter(|(peer, _)| {
                self.inner
                    .peer_score(peer)
                    .is_none_or(|score| score >= scoring::PUBLISH)
            })
            .count()
    }

    /// Other budgets of peers from now on.
    pub(crate) fn set_rates(&mut self, rates: Rates, now: Instant) {
        self.quotas.set_rates(rates, now);
    }

    /// Joins a topic, and scores peers in it from now on.
    ///
    /// # Errors
    /// When gossipsub refuses the subscription.
    pub(crate) fn join(&mut self, topic: &IdentTopic) -> Result<(), SubscriptionError> {
        if self.inner.get_topic_params(topic).is_none() && self.scored < MAX_SCORED {
            self.scored += 1;
            // Before peers enter its mesh, which is when their score begins. It
            // fails only without peer scoring.
            let _ = self.inner.set_topic_params(topic.clone(), scoring::topic());
        }
        self.inner.subscribe(topic)?;
        self.quotas.joined.insert(topic.hash());
        Ok(())
    }

    /// Leaves a topic.
    pub(crate) fn leave(&mut self, topic: &IdentTopic) {
        self.inner.unsubscribe(topic);
        self.quotas.joined.remove(&topic.hash());
    }

    /// Publishes for this host, which comes before what others want to pass on.
    ///
    /// # Errors
    /// Those of gossipsub.
    pub(crate) fn publish(
        &mut self,
        topic: IdentTopic,
        data: Vec<u8>,
        now: Instant,
    ) -> Result<MessageId, PublishError> {
        let bytes = data.len();
        let sent = self.inner.publish(topic, data)?;
        self.quotas.charge(bytes, now);
        Ok(sent)
    }

    /// Counts an accepted message with a number that passes once, of whatever
    /// peer brought it.
    pub(crate) fn spoke(&mut self, author: &PeerId, now: Instant) {
        self.quotas.authors.spoke(author, now);
    }

    /// Tells gossipsub the verdict on a message, after which further copies of it
    /// cost nothing; whether it had the message still.
    pub(crate) fn verdict(
        &mut self,
        id: &MessageId,
        source: &PeerId,
        message: &Message,
        acceptance: MessageAcceptance,
    ) -> bool {
        if let (Some(from), Some(seqno)) = (&message.source, message.sequence_number) {
            self.quotas.seen.insert(&Id(from, seqno));
        }
        self.inner
            .report_message_validation_result(id, source, acceptance)
    }

    /// Counts a replay that `peer` sent of its own; whether it is to be held against it.
    pub(crate) fn persistent_replay(&mut self, peer: &PeerId) -> bool {
        self.quotas.persistent_replay(peer)
    }

    /// Once a second: gives gossipsub the reputations of connected peers, and
    /// reports the peers whose score is so low that it ignores them.
    pub(crate) fn tend(&mut self, now: Moment) {
        self.senders.tend();
        let peers: Vec<PeerId> = self.quotas.peers().copied().collect();
        for peer in &peers {
            let trusted = self.policy.is_trusted(peer);
            let reputation = self.policy.score_of(peer, now.mono);
            self.quotas.weigh(peer, scale(reputation as f32, trusted));
            let application = scoring::application_score(reputation, trusted);
            self.inner.set_application_score(peer, application);
            if let Some(score) = self.inner.peer_score(peer)
                && scoring::is_graylisted(score, application)
            {
                self.policy.report(peer, Conduct::LowGossipScore, now);
            }
        }
    }

    /// Counts messages that ended here.
    fn dropped(&self, cause: Dropped, messages: usize) {
        self.metrics
            .gossip_dropped
            .with_label_values(&[cause.as_str()])
            .inc_by(messages as u64);
    }

    /// Takes out of an arrived frame what does not go on.
    fn sift(&mut self, peer: &PeerId, event: &mut FromHandler, moment: Moment) {
        let now = moment.mono;
        let FromHandler::Message {
            rpc,
            invalid_messages,
        } = event
        else {
            return;
        };
        let (quotas, policy) = (&mut self.quotas, &self.policy);
        // Only a turn of the event loop changes the trust of a connected peer, and this
        // runs within a turn, so it is the same for the whole frame.
        let trusted = policy.is_trusted(peer);
        let mut drops = Vec::new();
        rpc.messages.retain(|message| {
            let Asked { charge, dropped } = quotas.ask(peer, message, now, trusted);
            let paid = pays(policy, peer, charge, moment);
            let admitted = match dropped {
                Some(cause) => Err(cause),
                None if !paid => Err(Dropped::OverBudget),
                None => quotas.admit(peer, message, now, trusted),
            };
            match admitted {
                Ok(()) => true,
                Err(cause) => {
                    drops.push(cause);
                    false
                }
            }
        });
        // Reported one by one: each has cost a signature check. On a topic that is
        // not joined other rules may hold, and a peer that has not heard yet that
        // we left it is no offender.
        for (n, (message, error)) in invalid_messages.iter().enumerate() {
            pays(policy, peer, Charge::Message, moment);
            if n < REPORTS_A_FRAME && quotas.joined.contains(&message.topic) {
                policy.report(peer, conduct_of(error), moment);
            }
            drops.push(Dropped::Invalid);
        }
        let mut admit = |weight| {
            let (admitted, report) = quotas.admit_control(peer, weight, now, trusted);
            if report {
                policy.report(peer, Conduct::OverBudget, moment);
            }
            if !admitted {
                drops.push(Dropped::Control);
            }
            admitted
        };
        // First, since few honest peers come near the budget, and one whose subscriptions
        // are lost gets no messages.
        if !rpc.subscriptions.is_empty()
            && !admit(subscriptions_weight(
                size(&rpc.subscriptions),
                rpc.subscriptions.len(),
            ))
        {
            rpc.subscriptions.clear();
        }
        if !rpc.control_msgs.is_empty() && !admit(size(&rpc.control_msgs)) {
            rpc.control_msgs.clear();
        }
        for cause in drops {
            self.dropped(cause, 1);
        }
    }
}

impl Deref for Intake {
    type Target = Gossipsub;

    fn deref(&self) -> &Gossipsub {
        &self.inner
    }
}

impl DerefMut for Intake {
    fn deref_mut(&mut self) -> &mut Gossipsub {
        &mut self.inner
    }
}

impl NetworkBehaviour for Intake {
    type ConnectionHandler = Sender<THandler<Gossipsub>>;
    type ToSwarm = <Gossipsub as NetworkBehaviour>::ToSwarm;

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
            .map(|handler| self.senders.wrap(peer, id, handler))
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
            .map(|handler| self.senders.wrap(peer, id, handler))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::ConnectionEstablished(e) => {
                let now = Instant::now();
                let reputation = self.policy.score_of(&e.peer_id, now);
                let trusted = self.policy.is_trusted(&e.peer_id);
                let weight = scale(reputation as f32, trusted);
                self.quotas.enter(e.peer_id, weight, now);
            }
            FromSwarm::ConnectionClosed(e) if e.remaining_established == 0 => {
                self.quotas.leave(&e.peer_id);
            }
            _ => {}
        }
        let again = match &event {
            FromSwarm::ConnectionClosed(e) if e.remaining_established > 0 => {
                Some((e.peer_id, e.connection_id))
            }
            _ => None,
        };
        if let Some(event) = gossipsub_address::hide(event) {
            self.inner.on_swarm_event(event);
        }
        if let Some((peer, id)) = again {
            gossipsub_hello::repeat(&mut self.inner, peer, id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        mut event: THandlerOutEvent<Self>,
    ) {
        self.sift(&peer, &mut event, Moment::now());
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx)
    }
}
