//! What is let in to gossipsub: a wrapping around its behaviour.
//!
//! Gossipsub keeps the id of every message that it is handed for minutes, its
//! bytes for seconds, whatever the topic, and tells its owner only of those that
//! are new and wanted. So what one peer, or all of them together, may make it
//! keep is decided before it is handed anything. In order:
//!
//! - a message on a topic that is not joined here ends here;
//! - a copy of a message whose verdict stands ends here; an eighth of a token is
//!   taken for it, since a mesh brings each message some eight times;
//! - what the peer is the author of takes one token of its bucket of messages
//!   (`P2P_RATE_BURST`, `P2P_RATE_FILL`): excess is dropped, and costs reputation
//!   when it is persistent;
//! - what it brings of others may be as much as this node takes of all: what one
//!   may let in it may also pass on. Excess makes its connection read more slowly
//!   ([`SLOWER`]); only when it is gross, for long over twice that or two bursts
//!   above it, does it cost reputation. An honest node lets in no more than its
//!   ceiling and sends each message to a neighbour once; what is asked of it
//!   besides is [`super::MAX_IDS`] for each heartbeat and topic. So under the
//!   default limits it cannot be gross. The author has a bucket too ([`authors`]);
//! - the ceilings of the node, in messages and bytes, which all peers share
//!   ([`ceiling`]).
//!
//! Bytes have been paid when a message arrives here: the connection is read only
//! as fast as `P2P_RATE_BYTES_FILL` allows (`node::meter`). That is before any
//! signature is checked, and bounds what checking costs: at the default of 1 MiB
//! a second, 8,000 of the smallest messages (130 bytes), half a core, and 0.1 core
//! for ones of 600 bytes. Nobody keeps that up: invalid ones end in a ban after
//! four, its own after twenty seconds, and those of others at 1,000 a second (0.06
//! core). What many can do together is bounded by how many may connect
//! (`P2P_MAX_CONNECTIONS`, `P2P_MAX_CONNECTIONS_PER_SUBNET`): it takes some sixteen
//! such peers for each core.
//!
//! [`authors`]: super::authors
//! [`ceiling`]: super::ceiling
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

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::gossipsub::{
    IdentTopic, Message, MessageAcceptance, MessageId, PublishError, RawMessage, SubscriptionError,
    TopicHash, ValidationError,
};
use libp2p::identity::Keypair;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use super::authors::Authors;
use super::ceiling::Ceiling;
use super::seen::{Id, Seen};
use super::sender::{Sender, Senders};
use super::{Gossipsub, HISTORY, gossipsub, scoring};
use crate::admission::bucket::{Bucket, Budget, Rates, scale};
use crate::admission::{Admission, Conduct};
use crate::node::behaviour::BuildError;
use crate::node::options::Options;
use crate::observe::metrics::Metrics;

/// New messages of all peers together: as many as ten peers may send. Gossipsub
/// keeps some 600 bytes of each for two minutes, which makes 70 MiB with the
/// default P2P_RATE_FILL.
const PEERS_AT_FULL_RATE: u64 = 10;

/// Bytes of messages that gossipsub may hold for those who ask, over the
/// [`HISTORY`] heartbeats for which it does. Room for sixty of the largest.
const CACHE: u64 = 64 << 20;

/// Bytes of all peers together, as a part of what one peer may send. It is less
/// than the whole since a node passes on what it lets in: each neighbour reads no
/// more than that from it, control messages and other protocols included, and
/// holds it against nobody that it cannot be faster.
const BYTES_SHARE: (u64, u64) = (3, 4);

/// Bytes that a message has on the wire beside its data: names, number, signature
/// and a topic of the usual length.
pub(in crate::node) const AROUND: u64 = 256;

/// Bytes that one message above what a peer may pass on is charged with. Reading
/// is held to P2P_RATE_BYTES_FILL, so the surplus falls to 250 a second.
const SLOWER: usize = 4096;

/// Copies of a settled message for one token.
const COPIES_A_TOKEN: u32 = 8;

/// Replays of its own messages that a publisher may send for each that is held
/// against it: a copy or two after a reconnect is nobody's fault.
const REPLAYS_FORGIVEN: u32 = 8;

/// Most offences that one frame is reported for: more than any reputation
/// survives.
const REPORTS_A_FRAME: usize = 16;

/// Bytes of control messages and subscriptions of one peer: a list of five thousand
/// ids, the most that go sends, for a few topics at once; and for long, twice what a
/// peer of v1.2 says of a thousand messages a second.
const CONTROL: Budget = Budget {
    burst: 1 << 20,
    fill: 128 << 10,
};

/// What a subscription weighs beside its bytes. The hello of a peer that is on as many
/// topics as it may be takes less than a third of the burst, and after that a peer
/// can change a few hundred subscriptions a second.
const SUBSCRIPTION: u64 = 256;

/// A peer over its control budget is reported at most this often.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Topics that are ever scored. Gossipsub cannot forget the parameters of one; a
/// program on this host that joins a new topic every second is not to fill the
/// memory. A topic after these works, and nothing in it is scored.
const MAX_SCORED: usize = 4096;

/// The event of gossipsub's handler, which has no public name.
type FromHandler = THandlerOutEvent<Gossipsub>;

/// Where a message ended before gossipsub, or after it; label values of
/// `p2p_gossip_dropped_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// Its topic is not joined here.
    UnknownTopic,
    /// A copy of what is settled.
    Copy,
    /// Its peer is over its budget.
    OverBudget,
    /// Its author is over its budget, through others.
    Author,
    /// All peers together are over the node's ceiling, and this one over its share.
    Ceiling,
    /// Its signature, sequence number or source is not valid.
    Invalid,
    /// Control messages or subscriptions over their budget.
    Control,
    /// Accepted and passed on, and handed to no program on this host, since the disk
    /// does not answer. Not at arrival.
    Unrecorded,
}

impl Dropped {
    /// Label of a metric.
    fn as_str(self) -> &'static str {
        match self {
            Dropped::UnknownTopic => "unknown_topic",
            Dropped::Copy => "copy",
            Dropped::OverBudget => "over_budget",
            Dropped::Author => "author",
            Dropped::Ceiling => "ceiling",
            Dropped::Invalid => "invalid",
            Dropped::Control => "control",
            Dropped::Unrecorded => "unrecorded",
        }
    }
}

/// Label values of `p2p_gossip_dropped_total`.
pub(crate) const DROPPED: [&str; 8] = [
    "unknown_topic",
    "copy",
    "over_budget",
    "author",
    "ceiling",
    "invalid",
    "control",
    "unrecorded",
];

/// What is kept of a connected peer.
#[derive(Debug)]
struct Peer {
    control: Bucket,
    /// Messages that it brings of others.
    brought: Bucket,
    /// What is above that.
    excess: Bucket,
    copies: u32,
    replays: u32,
    reported_at: Option<Instant>,
}

/// See the module's documentation.
pub(in crate::node) struct Intake {
    inner: Gossipsub,
    admission: Admission,
    metrics: Arc<Metrics>,
    gate: Gate,
    senders: Senders,
}

impl Peer {
    fn new(brings: Budget, now: Instant) -> Self {
        Peer {
            control: Bucket::full(CONTROL, now),
            brought: Bucket::full(brings, now),
            excess: Bucket::full(brings, now),
            copies: 0,
            replays: 0,
            reported_at: None,
        }
    }

    /// Whether it is time to report it again.
    fn reports(&mut self, now: Instant) -> bool {
        let report = self
            .reported_at
            .is_none_or(|at| now.saturating_duration_since(at) >= REPORT_EVERY);
        if report {
            self.reported_at = Some(now);
        }
        report
    }
}

/// One peer's budgets.
struct Purse<'a> {
    admission: &'a Admission,
    peer: &'a PeerId,
}

impl Purse<'_> {
    fn message(&self) -> bool {
        self.admission.allow(self.peer, 1).is_ok()
    }

    /// Above what it may bring of others, and grossly so.
    fn excess(&self, gross: bool) {
        let _ = self.admission.charge_bytes(self.peer, SLOWER);
        if gross {
            self.admission.report(self.peer, Conduct::OverBudget);
        }
    }

    fn is_trusted(&self) -> bool {
        self.admission.is_trusted(self.peer)
    }
}

/// The decisions, apart from gossipsub.
struct Gate {
    joined: HashSet<TopicHash>,
    scored: usize,
    seen: Seen,
    /// Of connected peers only.
    peers: HashMap<PeerId, Peer>,
    authors: Authors,
    rates: Rates,
    heartbeat: Duration,
    /// What each may bring of others.
    brings: Budget,
    messages: Ceiling,
    bytes: Ceiling,
}

/// What the node takes of all peers together: messages, and bytes.
fn ceilings(heartbeat: Duration, rates: Rates) -> (Budget, Budget) {
    let rate = rates.messages;
    let messages = Budget {
        burst: rate.burst.saturating_mul(PEERS_AT_FULL_RATE),
        fill: rate.fill.saturating_mul(PEERS_AT_FULL_RATE),
    };
    let held = heartbeat.as_secs_f64() * HISTORY as f64;
    let part = |of: u64| (of / BYTES_SHARE.1).saturating_mul(BYTES_SHARE.0);
    let bytes = Budget {
        burst: part(rates.bytes.burst).min(CACHE / 2),
        fill: part(rates.bytes.fill).min(((CACHE / 2) as f64 / held.max(0.001)) as u64),
    };
    (messages, bytes)
}

impl Gate {
    fn new(options: &Options, rates: Rates, now: Instant) -> Self {
        let (messages, bytes) = ceilings(options.gossip_heartbeat, rates);
        Gate {
            joined: HashSet::new(),
            scored: 0,
            seen: Seen::default(),
            peers: HashMap::new(),
            authors: Authors::new(rates.messages),
            rates,
            heartbeat: options.gossip_heartbeat,
            brings: messages,
            messages: Ceiling::new(messages, now),
            bytes: Ceiling::new(bytes, now),
        }
    }

    /// Other budgets of peers from `now` on, and what follows from them.
    fn set_rates(&mut self, rates: Rates, now: Instant) {
        if rates == self.rates {
            return;
        }
        let (messages, bytes) = ceilings(self.heartbeat, rates);
        self.rates = rates;
        self.authors.set_budget(rates.messages);
        self.brings = messages;
        for peer in self.peers.values_mut() {
            peer.brought = Bucket::full(messages, now);
            peer.excess = Bucket::full(messages, now);
        }
        self.messages.set_budget(messages, now);
        self.bytes.set_budget(bytes, now);
    }

    fn enter(&mut self, peer: PeerId, weight: f32, now: Instant) {
        let brings = self.brings;
        self.peers
            .entry(peer)
            .or_insert_with(|| Peer::new(brings, now));
        self.messages.enter(peer, weight);
        self.bytes.enter(peer, weight);
    }

    fn leave(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
        self.messages.leave(peer);
        self.bytes.leave(peer);
    }

    fn weigh(&mut self, peer: &PeerId, weight: f32) {
        self.messages.weigh(peer, weight);
        self.bytes.weigh(peer, weight);
    }

    /// Takes what passes without asking.
    fn charge(&mut self, data: usize, now: Instant) {
        self.messages.charge(1, now);
        self.bytes.charge(data as u64 + AROUND, now);
    }

    /// Takes a token for a message: of the peer's own bucket when it is the
    /// author, else of what it may bring.
    fn pays(&mut self, peer: &PeerId, own: bool, now: Instant, purse: &Purse<'_>) -> bool {
        if own {
            return purse.message();
        }
        let brings = self.brings;
        if let Some(entry) = self.peers.get_mut(peer)
            && !entry.brought.take(1, brings, now)
            && !purse.is_trusted()
        {
            let gross = !entry.excess.take(1, brings, now) && entry.reports(now);
            if gross {
                entry.excess = Bucket::full(brings, now);
            }
            purse.excess(gross);
        }
        true
    }

    /// Whether a message that its codec found valid goes on to gossipsub; `purse`
    /// is its peer's.
    fn admit(
        &mut self,
        peer: &PeerId,
        message: &RawMessage,
        now: Instant,
        purse: &Purse<'_>,
    ) -> Result<(), Dropped> {
        let own = message.source.as_ref() == Some(peer);
        // What is not asked for is charged like what is: it was read and verified.
        if !self.joined.contains(&message.topic) {
            self.pays(peer, own, now, purse);
            return Err(Dropped::UnknownTopic);
        }
        if Id::of(message).is_some_and(|id| self.seen.contains(&id)) {
            let pays = self.peers.get_mut(peer).is_some_and(|peer| {
                peer.copies = (peer.copies + 1) % COPIES_A_TOKEN;
                peer.copies == 0
            });
            if pays {
                self.pays(peer, own, now, purse);
            }
            return Err(Dropped::Copy);
        }
        if !self.pays(peer, own, now, purse) {
            return Err(Dropped::OverBudget);
        }
        if purse.is_trusted() {
            self.charge(message.data.len(), now);
            return Ok(());
        }
        let author = message.source.as_ref().filter(|_| !own);
        if author.is_some_and(|author| !self.authors.may_speak(author, now)) {
            return Err(Dropped::Author);
        }
        let bytes = message.data.len() as u64 + AROUND;
        if !self.messages.fits(peer, 1, now) || !self.bytes.fits(peer, bytes, now) {
            return Err(Dropped::Ceiling);
        }
        self.messages.take(peer, 1);
        self.bytes.take(peer, bytes);
        Ok(())
    }

    /// Whether control messages or subscriptions of this weight go on; and whether it is time to
    /// report their peer.
    fn admit_control(
        &mut self,
        peer: &PeerId,
        weight: u64,
        now: Instant,
        trusted: bool,
    ) -> (bool, bool) {
        let Some(peer) = self.peers.get_mut(peer) else {
            return (true, false);
        };
        if trusted || peer.control.take(weight, CONTROL, now) {
            return (true, false);
        }
        (false, peer.reports(now))
    }
}

/// Adds up what is hashed. Gossipsub's control messages keep their ids to
/// themselves, but they can be hashed, and hashing visits every byte.
#[derive(Default)]
struct Weight(u64);

impl Hasher for Weight {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = self.0.saturating_add(bytes.len() as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn weight(of: &impl Hash) -> u64 {
    let mut weight = Weight::default();
    of.hash(&mut weight);
    weight.finish()
}

/// What subscriptions weigh: their bytes, and what each costs beside them. Each that
/// changes something is an event for the event loop, however short its topic is.
fn weight_of_subscriptions(all: &[impl Hash]) -> u64 {
    weight(&all).saturating_add(SUBSCRIPTION.saturating_mul(all.len() as u64))
}

/// What a peer has done that sent a message with this fault.
///
/// Those without a signature come as [`ValidationError::InvalidSignature`] too;
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
        admission: Admission,
        metrics: Arc<Metrics>,
    ) -> Result<Self, BuildError> {
        let rates = admission.rates();
        let (low, high, _) = super::mesh_bounds(options.gossip_d);
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        metrics.gossip_mesh_low.set(gauge(low));
        metrics.gossip_mesh_high.set(gauge(high));
        Ok(Intake {
            inner: gossipsub(identity, options)?,
            gate: Gate::new(options, rates, Instant::now()),
            senders: Senders::default(),
            admission,
            metrics,
        })
    }

    /// What a receiver takes that is configured as this node is: messages of each
    /// peer, and bytes of all peers together.
    pub(crate) fn takes(&self) -> (Budget, Budget) {
        let (_, bytes) = ceilings(self.gate.heartbeat, self.gate.rates);
        (self.gate.rates.messages, bytes)
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
        self.gate.set_rates(rates, now);
    }

    /// Joins a topic, and scores peers in it from now on.
    ///
    /// # Errors
    /// When gossipsub refuses the subscription.
    pub(crate) fn join(&mut self, topic: &IdentTopic) -> Result<(), SubscriptionError> {
        if self.inner.get_topic_params(topic).is_none() && self.gate.scored < MAX_SCORED {
            self.gate.scored += 1;
            // Before peers enter its mesh, which is when their score begins. It
            // fails only without peer scoring.
            let _ = self.inner.set_topic_params(topic.clone(), scoring::topic());
        }
        self.inner.subscribe(topic)?;
        self.gate.joined.insert(topic.hash());
        Ok(())
    }

    /// Leaves a topic.
    pub(crate) fn leave(&mut self, topic: &IdentTopic) {
        self.inner.unsubscribe(topic);
        self.gate.joined.remove(&topic.hash());
    }

    /// Publishes for this host, which comes before what others want to pass on.
    ///
    /// # Errors
    /// Those of gossipsub.
    pub(crate) fn publish(
        &mut self,
        topic: IdentTopic,
        data: Vec<u8>,
    ) -> Result<MessageId, PublishError> {
        let bytes = data.len();
        let sent = self.inner.publish(topic, data)?;
        self.gate.charge(bytes, Instant::now());
        Ok(sent)
    }

    /// Counts an accepted message with a number that passes once, of whatever
    /// peer brought it.
    pub(crate) fn spoke(&mut self, author: &PeerId, now: Instant) {
        self.gate.authors.spoke(author, now);
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
            self.gate.seen.insert(&Id(from, seqno));
        }
        self.inner
            .report_message_validation_result(id, source, acceptance)
    }

    /// Counts a replay that `peer` sent of its own; whether it is to be held against it.
    pub(crate) fn persistent_replay(&mut self, peer: &PeerId) -> bool {
        self.gate.peers.get_mut(peer).is_some_and(|peer| {
            peer.replays = (peer.replays + 1) % REPLAYS_FORGIVEN;
            peer.replays == 0
        })
    }

    /// Once a second: gives gossipsub the reputations of connected peers, and
    /// reports the peers whose score is so low that it ignores them.
    pub(crate) fn tend(&mut self) {
        self.senders.tend();
        let peers: Vec<PeerId> = self.gate.peers.keys().copied().collect();
        for peer in &peers {
            let trusted = self.admission.is_trusted(peer);
            let reputation = self.admission.reputation(peer);
            self.gate.weigh(peer, scale(reputation as f32, trusted));
            let application = scoring::application_score(reputation, trusted);
            self.inner.set_application_score(peer, application);
            if let Some(score) = self.inner.peer_score(peer)
                && scoring::is_graylisted(score, application)
            {
                self.admission.report(peer, Conduct::LowGossipScore);
            }
        }
    }

    /// Has gossipsub tell a connected peer what is joined here, as it does at a
    /// first connection; nothing else that it does then changes anything for a
    /// peer that it knows. See the module's documentation.
    fn tell_again(&mut self, peer_id: PeerId, connection_id: ConnectionId) {
        self.inner
            .on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint: &NOWHERE,
                failed_addresses: &[],
                other_established: 0,
            }));
    }

    pub(crate) fn dropped(&self, cause: Dropped, messages: usize) {
        self.metrics
            .gossip_dropped
            .with_label_values(&[cause.as_str()])
            .inc_by(messages as u64);
    }

    /// Takes out of an arrived frame what does not go on.
    fn sift(&mut self, peer: &PeerId, event: &mut FromHandler, now: Instant) {
        let FromHandler::Message {
            rpc,
            invalid_messages,
        } = event
        else {
            return;
        };
        let (gate, admission) = (&mut self.gate, &self.admission);
        let purse = Purse { admission, peer };
        let mut drops = Vec::new();
        rpc.messages
            .retain(|message| match gate.admit(peer, message, now, &purse) {
                Ok(()) => true,
                Err(cause) => {
                    drops.push(cause);
                    false
                }
            });
        // Reported one by one: each has cost a signature check. On a topic that is
        // not joined other rules may hold, and a peer that has not heard yet that
        // we left it is no offender.
        for (n, (message, error)) in invalid_messages.iter().enumerate() {
            purse.message();
            if n < REPORTS_A_FRAME && gate.joined.contains(&message.topic) {
                admission.report(peer, conduct_of(error));
            }
            drops.push(Dropped::Invalid);
        }
        let trusted = purse.is_trusted();
        let mut admit = |weight| {
            let (admitted, report) = gate.admit_control(peer, weight, now, trusted);
            if report {
                admission.report(peer, Conduct::OverBudget);
            }
            if !admitted {
                drops.push(Dropped::Control);
            }
            admitted
        };
        // First, since few honest peers come near the budget, and one whose subscriptions
        // are lost gets no messages.
        if !rpc.subscriptions.is_empty() && !admit(weight_of_subscriptions(&rpc.subscriptions)) {
            rpc.subscriptions.clear();
        }
        if !rpc.control_msgs.is_empty() && !admit(weight(&rpc.control_msgs)) {
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

/// An address without an IP address, for gossipsub; see [`hide_address`].
static NOWHERE: LazyLock<ConnectedPoint> = LazyLock::new(|| ConnectedPoint::Listener {
    local_addr: Multiaddr::empty(),
    send_back_addr: Multiaddr::empty(),
});

/// Keeps the remote's address from gossipsub, which wants it for the scoring of
/// peers at one address alone (off, see [`scoring`]), and keeps an entry for each
/// address that it has ever seen.
fn hide_address(event: FromSwarm<'_>) -> Option<FromSwarm<'_>> {
    Some(match event {
        FromSwarm::ConnectionEstablished(e) => {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                endpoint: &NOWHERE,
                ..e
            })
        }
        FromSwarm::ConnectionClosed(e) => FromSwarm::ConnectionClosed(ConnectionClosed {
            endpoint: &NOWHERE,
            ..e
        }),
        FromSwarm::AddressChange(_) => return None,
        other => other,
    })
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
                let reputation = self.admission.reputation(&e.peer_id);
                let trusted = self.admission.is_trusted(&e.peer_id);
                let weight = scale(reputation as f32, trusted);
                self.gate.enter(e.peer_id, weight, Instant::now());
            }
            FromSwarm::ConnectionClosed(e) if e.remaining_established == 0 => {
                self.gate.leave(&e.peer_id);
            }
            _ => {}
        }
        let again = match &event {
            FromSwarm::ConnectionClosed(e) if e.remaining_established > 0 => {
                Some((e.peer_id, e.connection_id))
            }
            _ => None,
        };
        if let Some(event) = hide_address(event) {
            self.inner.on_swarm_event(event);
        }
        if let Some((peer, id)) = again {
            self.tell_again(peer, id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        mut event: THandlerOutEvent<Self>,
    ) {
        self.sift(&peer, &mut event, Instant::now());
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::topics::{MAX_TOPIC_BYTES, MAX_TOPICS};

    struct Bench {
        gate: Gate,
        admission: Admission,
        now: Instant,
    }

    impl Bench {
        fn new(options: &Options) -> Self {
            let now = Instant::now();
            let admission = options.admission.clone();
            let mut gate = Gate::new(options, admission.rates(), now);
            gate.joined.insert(topic("joined"));
            Bench {
                gate,
                admission,
                now,
            }
        }

        fn connect(&mut self) -> PeerId {
            let peer = PeerId::random();
            self.gate.enter(peer, 1.0, self.now);
            peer
        }

        fn admit(&mut self, peer: &PeerId, message: &RawMessage) -> Result<(), Dropped> {
            let admission = &self.admission;
            let purse = Purse { admission, peer };
            self.gate.admit(peer, message, self.now, &purse)
        }

        /// Tokens left, up to what the clock has added meanwhile.
        fn tokens(&self, peer: &PeerId) -> u32 {
            (0..1000)
                .take_while(|_| self.admission.allow(peer, 1).is_ok())
                .count() as u32
        }
    }

    fn topic(name: &str) -> TopicHash {
        IdentTopic::new(name).hash()
    }

    fn message(name: &str, publisher: PeerId, seqno: u64, bytes: usize) -> RawMessage {
        RawMessage {
            source: Some(publisher),
            data: vec![0; bytes],
            sequence_number: Some(seqno),
            topic: topic(name),
            signature: None,
            key: None,
            validated: false,
        }
    }

    #[test]
    fn a_peer_over_its_budget_is_dropped_and_others_are_not() {
        let mut bench = Bench::new(&Options::default());
        let (flooder, honest) = (bench.connect(), bench.connect());
        let passed = (0..2000)
            .filter(|n| {
                let random = message("joined", flooder, n * 7919, 10);
                bench.admit(&flooder, &random).is_ok()
            })
            .count();
        // The burst, and what a slow machine's clock has added meanwhile.
        assert!((200..1000).contains(&passed), "{passed}");
        let last = message("joined", flooder, 1, 10);
        assert_eq!(bench.admit(&flooder, &last), Err(Dropped::OverBudget));
        let other = message("joined", honest, 1, 10);
        assert_eq!(bench.admit(&honest, &other), Ok(()));
        // Nor does the flooder's message count as known: another may bring it,
        // and is not charged for what it did not write.
        assert_eq!(bench.admit(&honest, &last), Ok(()));
    }

    #[test]
    fn a_topic_that_is_not_joined_is_dropped_and_charged() {
        let mut bench = Bench::new(&Options::default());
        let peer = bench.connect();
        for n in 0..150 {
            let strange = message("strange", peer, n, 10);
            assert_eq!(bench.admit(&peer, &strange), Err(Dropped::UnknownTopic));
        }
        assert!(bench.tokens(&peer) < 150);
    }

    #[test]
    fn copies_of_what_is_settled_end_here_at_an_eighth_of_the_price() {
        let mut bench = Bench::new(&Options::default());
        let peer = bench.connect();
        let publisher = peer;
        bench.gate.seen.insert(&Id(&publisher, 5));
        let copy = message("joined", publisher, 5, 10);
        for _ in 0..800 {
            assert_eq!(bench.admit(&peer, &copy), Err(Dropped::Copy));
        }
        let left = bench.tokens(&peer);
        assert!((100..=200).contains(&left), "{left}");
        let next = message("joined", publisher, 6, 10);
        assert_ne!(bench.admit(&peer, &next), Err(Dropped::Copy));
    }

    #[test]
    fn all_peers_together_cannot_exceed_the_ceilings_and_trusted_ones_pass() {
        let mut bench = Bench::new(&Options::default());
        let mut passed = 0;
        for n in 0..40 {
            let peer = bench.connect();
            for seqno in 0..100 {
                let new = message("joined", peer, n * 1000 + seqno, 10);
                passed += usize::from(bench.admit(&peer, &new).is_ok());
            }
        }
        // The burst, but for the quarter that strangers leave and what they save.
        assert!((1300..=2000).contains(&passed), "{passed}");
        let friend = bench.connect();
        bench.admission.trust(&[friend]);
        for n in 0..100 {
            let new = message("joined", friend, n, 10);
            assert_eq!(bench.admit(&friend, &new), Ok(()));
        }
        // And in bytes.
        let mut bench = Bench::new(&Options::default());
        let mut bytes = 0;
        for _ in 0..200 {
            let peer = bench.connect();
            let large = message("joined", peer, 1, 1 << 20);
            match bench.admit(&peer, &large) {
                Ok(()) => bytes += 1 << 20,
                Err(cause) => assert_eq!(cause, Dropped::Ceiling),
            }
        }
        assert!((2 << 20..=6 << 20).contains(&bytes), "{bytes}");
        // As much as a neighbour reads of what is passed on.
        assert!(bytes <= bench.admission.rates().bytes.burst);
    }

    #[test]
    fn who_brings_what_others_say_within_their_budgets_loses_nothing() {
        // Fifty publishers at five a second, for a minute, all through one peer.
        let mut bench = Bench::new(&Options::default());
        let forwarder = bench.connect();
        let publishers: Vec<PeerId> = (0..50).map(|_| PeerId::random()).collect();
        for n in 0..15_000 {
            bench.now += Duration::from_millis(4);
            let publisher = publishers[n as usize % 50];
            let new = message("joined", publisher, n, 300);
            assert_eq!(bench.admit(&forwarder, &new), Ok(()), "the {n}th");
            bench.gate.seen.insert(&Id(&publisher, n));
            bench.gate.authors.spoke(&publisher, bench.now);
            // And a copy of each, at a time.
            assert_eq!(bench.admit(&forwarder, &new), Err(Dropped::Copy));
        }
        assert_eq!(bench.admission.reputation(&forwarder), 0.0);
        assert_eq!(bench.tokens(&forwarder), 200, "its own bucket is untouched");
    }

    #[test]
    fn a_neighbour_in_a_flood_is_dropped_from_and_not_blamed_and_a_gross_one_is() {
        let options = Options::default();
        let brought = |a_second: u64, seconds: u64| {
            let mut bench = Bench::new(&Options {
                admission: Admission::default(),
                ..options.clone()
            });
            let peer = bench.connect();
            let mut dropped = 0;
            for n in 0..a_second * seconds {
                bench.now += Duration::from_secs(1) / a_second as u32;
                let new = message("joined", PeerId::random(), n, 10);
                dropped += usize::from(bench.admit(&peer, &new).is_err());
            }
            (dropped, bench.admission.reputation(&peer))
        };
        // All that a node at its ceiling passes on, and half as much again.
        assert_eq!(brought(1000, 20), (0, 0.0));
        let (dropped, reputation) = brought(1500, 20);
        assert!(dropped > 5000, "{dropped}");
        assert_eq!(reputation, 0.0);
        let (_, reputation) = brought(4000, 20);
        assert!(reputation < -8.0, "{reputation}");
    }

    #[test]
    fn an_author_cannot_say_more_through_many_than_it_may_itself() {
        let mut bench = Bench::new(&Options::default());
        let author = PeerId::random();
        let mut passed = 0;
        for n in 0..20 {
            let forwarder = bench.connect();
            for m in 0..50 {
                let new = message("joined", author, n * 50 + m, 10);
                match bench.admit(&forwarder, &new) {
                    Ok(()) => {
                        bench.gate.authors.spoke(&author, bench.now);
                        passed += 1;
                    }
                    Err(cause) => assert_eq!(cause, Dropped::Author),
                }
            }
        }
        assert_eq!(passed, 200);
    }

    #[test]
    fn subscriptions_are_charged_and_the_hello_of_a_peer_on_many_topics_passes() {
        let mut bench = Bench::new(&Options::default());
        let (peer, now) = (bench.connect(), bench.now);
        let mut passes = |topics: usize, bytes: usize| {
            // What gossipsub keeps of a subscription beside the name is smaller than this.
            let weight = weight_of_subscriptions(&vec![("t".repeat(bytes), [0_u64; 2]); topics]);
            bench.gate.admit_control(&peer, weight, now, false).0
        };
        // It is said again when one of several connections has ended.
        for _ in 0..3 {
            assert!(passes(MAX_TOPICS, MAX_TOPIC_BYTES));
        }
        let passed = (0..1000).take_while(|_| passes(MAX_TOPICS, 1)).count();
        assert!(passed < 4, "{passed}");
    }

    #[test]
    fn control_messages_have_a_budget_of_their_own_and_are_reported_once_a_second() {
        let mut bench = Bench::new(&Options::default());
        let peer = bench.connect();
        let ids = vec![vec![0_u8; 46]; 5000];
        let list = weight(&ids);
        assert!(list >= 46 * 5000, "every byte counts: {list}");
        assert!(
            weight(&vec![Vec::<u8>::new(); 5000]) >= 5000,
            "empty ids do"
        );
        let t = bench.now;
        let admitted = (0..100)
            .filter(|_| bench.gate.admit_control(&peer, list, t, false).0)
            .count();
        assert_eq!(admitted as u64, CONTROL.burst / list);
        let later = t + REPORT_EVERY / 2;
        assert!(!bench.gate.admit_control(&peer, list, later, false).1);
        let later = t + REPORT_EVERY;
        assert_eq!(
            bench.gate.admit_control(&peer, CONTROL.burst, later, false),
            (false, true)
        );
        // Messages are another matter.
        let new = message("joined", peer, 1, 10);
        assert_eq!(bench.admit(&peer, &new), Ok(()));
        assert!(bench.gate.admit_control(&peer, CONTROL.burst, t, true).0);
    }
}
