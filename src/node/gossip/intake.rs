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
//! - one token of the peer's bucket of messages (`P2P_RATE_BURST`,
//!   `P2P_RATE_FILL`), and its size of that of bytes (`P2P_RATE_BYTES_BURST`,
//!   `P2P_RATE_BYTES_FILL`);
//! - the ceilings of the node, over all peers.
//!
//! A message dropped here is not marked as known: another peer may still bring
//! it, and it may be asked for later.
//!
//! Control messages (lists of ids, grafts and prunes) have a bucket of their
//! own, of bytes, so that a peer over its budget of messages does not lose its
//! place in the mesh half-way. Subscriptions pass always: they are bounded, and
//! one that is lost is lost for as long as the connection lives.
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
    IdentTopic, Message, MessageAcceptance, MessageId, RawMessage, SubscriptionError, TopicHash,
    ValidationError,
};
use libp2p::identity::Keypair;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use super::seen::{Id, Seen};
use super::{Gossipsub, HISTORY, gossipsub, scoring};
use crate::admission::bucket::{Bucket, Budget};
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

/// Copies of a settled message for one token.
const COPIES_A_TOKEN: u32 = 8;

/// Replays that a peer may pass on for each that is held against it. A peer that
/// has just started remembers no numbers and passes on what is old; gossipsub
/// keeps at most some seconds of messages, so it soon has none left.
const REPLAYS_FORGIVEN: u32 = 8;

/// Most offences that one frame is reported for: more than any reputation
/// survives.
const REPORTS_A_FRAME: usize = 16;

/// Bytes of control messages of one peer: a list of five thousand ids, the most
/// that go sends, for a few topics at once; and for long, twice what a peer of
/// v1.2 says of a thousand messages a second.
const CONTROL: Budget = Budget {
    burst: 1 << 20,
    fill: 128 << 10,
};

/// A peer over its control budget, or one that does not take its messages, is
/// reported at most this often.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Topics that are ever scored. Gossipsub cannot forget the parameters of one; a
/// program on this host that joins a new topic every second is not to fill the
/// memory. A topic after these works, and nothing in it is scored.
const MAX_SCORED: usize = 4096;

/// The event of gossipsub's handler, which has no public name.
type FromHandler = THandlerOutEvent<Gossipsub>;

/// Where a message ended before gossipsub; label values of
/// `p2p_gossip_dropped_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// Its topic is not joined here.
    UnknownTopic,
    /// A copy of what is settled.
    Copy,
    /// Its peer is over its budget.
    OverBudget,
    /// All peers together are over the node's ceiling.
    Ceiling,
    /// Its signature, sequence number or source is not valid.
    Invalid,
    /// Control messages over their budget.
    Control,
}

impl Dropped {
    /// Label of a metric.
    fn as_str(self) -> &'static str {
        match self {
            Dropped::UnknownTopic => "unknown_topic",
            Dropped::Copy => "copy",
            Dropped::OverBudget => "over_budget",
            Dropped::Ceiling => "ceiling",
            Dropped::Invalid => "invalid",
            Dropped::Control => "control",
        }
    }
}

/// Label values of `p2p_gossip_dropped_total`.
pub(crate) const DROPPED: [&str; 6] = [
    "unknown_topic",
    "copy",
    "over_budget",
    "ceiling",
    "invalid",
    "control",
];

/// What is kept of a connected peer.
#[derive(Debug)]
struct Peer {
    control: Bucket,
    copies: u32,
    replays: u32,
    reported_at: Option<Instant>,
    slow_at: Option<Instant>,
}

/// See the module's documentation.
pub(in crate::node) struct Intake {
    inner: Gossipsub,
    admission: Admission,
    metrics: Arc<Metrics>,
    gate: Gate,
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

    fn bytes(&self, bytes: usize) -> bool {
        self.admission.allow_bytes(self.peer, bytes).is_ok()
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
    messages: (Bucket, Budget),
    bytes: (Bucket, Budget),
}

impl Gate {
    fn new(options: &Options, rate: Budget, now: Instant) -> Self {
        let messages = Budget {
            burst: rate.burst.saturating_mul(PEERS_AT_FULL_RATE),
            fill: rate.fill.saturating_mul(PEERS_AT_FULL_RATE),
        };
        let held = options.gossip_heartbeat.as_secs_f64() * HISTORY as f64;
        let bytes = Budget {
            burst: CACHE / 2,
            fill: ((CACHE / 2) as f64 / held.max(0.001)) as u64,
        };
        Gate {
            joined: HashSet::new(),
            scored: 0,
            seen: Seen::default(),
            peers: HashMap::new(),
            messages: (Bucket::full(messages, now), messages),
            bytes: (Bucket::full(bytes, now), bytes),
        }
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
        // What is not asked for is charged like what is: it was read and verified.
        if !self.joined.contains(&message.topic) {
            purse.message();
            return Err(Dropped::UnknownTopic);
        }
        if Id::of(message).is_some_and(|id| self.seen.contains(&id)) {
            if let Some(peer) = self.peers.get_mut(peer) {
                peer.copies = (peer.copies + 1) % COPIES_A_TOKEN;
                if peer.copies == 0 {
                    purse.message();
                }
            }
            return Err(Dropped::Copy);
        }
        if !purse.message() || !purse.bytes(message.data.len()) {
            return Err(Dropped::OverBudget);
        }
        if purse.is_trusted() {
            return Ok(());
        }
        let size = message.data.len() as u64;
        let (bucket, budget) = &mut self.messages;
        if !bucket.take(1, *budget, now) {
            return Err(Dropped::Ceiling);
        }
        let (bucket, budget) = &mut self.bytes;
        if !bucket.take(size, *budget, now) {
            return Err(Dropped::Ceiling);
        }
        Ok(())
    }

    /// Whether control messages of this weight go on; and whether it is time to
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
        let report = peer
            .reported_at
            .is_none_or(|at| now.saturating_duration_since(at) >= REPORT_EVERY);
        if report {
            peer.reported_at = Some(now);
        }
        (false, report)
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
        let rate = admission.rates().messages;
        Ok(Intake {
            inner: gossipsub(identity, options)?,
            gate: Gate::new(options, rate, Instant::now()),
            admission,
            metrics,
        })
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

    /// Tells gossipsub the verdict on a message, after which further copies of it
    /// cost nothing.
    pub(crate) fn verdict(
        &mut self,
        id: &MessageId,
        source: &PeerId,
        message: &Message,
        acceptance: MessageAcceptance,
    ) {
        if let (Some(from), Some(seqno)) = (&message.source, message.sequence_number) {
            self.gate.seen.insert(&Id(from, seqno));
        }
        self.inner
            .report_message_validation_result(id, source, acceptance);
    }

    /// Counts a replay that `peer` passed on; whether it is to be held against it.
    pub(crate) fn persistent_replay(&mut self, peer: &PeerId) -> bool {
        self.gate.peers.get_mut(peer).is_some_and(|peer| {
            peer.replays = (peer.replays + 1) % REPLAYS_FORGIVEN;
            peer.replays == 0
        })
    }

    /// Holds it against a peer that it does not take its messages: gossipsub says so
    /// with each heartbeat while the peer's queue is full.
    pub(crate) fn slow(&mut self, peer: &PeerId, now: Instant) {
        let Some(entry) = self.gate.peers.get_mut(peer) else {
            return;
        };
        if entry
            .slow_at
            .is_none_or(|at| now.saturating_duration_since(at) >= REPORT_EVERY)
        {
            entry.slow_at = Some(now);
            self.admission.report(peer, Conduct::SlowReader);
        }
    }

    /// Once a second: gives gossipsub the reputations of connected peers, and
    /// reports the peers whose score is so low that it ignores them.
    pub(crate) fn tend(&mut self) {
        for peer in self.gate.peers.keys() {
            let trusted = self.admission.is_trusted(peer);
            let application = scoring::application_score(self.admission.reputation(peer), trusted);
            self.inner.set_application_score(peer, application);
            if let Some(score) = self.inner.peer_score(peer)
                && scoring::is_graylisted(score, application)
            {
                self.admission.report(peer, Conduct::LowGossipScore);
            }
        }
    }

    fn dropped(&self, cause: Dropped, messages: usize) {
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
        if !rpc.control_msgs.is_empty() {
            let weight = weight(&rpc.control_msgs);
            let (admit, report) = gate.admit_control(peer, weight, now, purse.is_trusted());
            if !admit {
                rpc.control_msgs.clear();
                drops.push(Dropped::Control);
            }
            if report {
                admission.report(peer, Conduct::OverBudget);
            }
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
    type ConnectionHandler = THandler<Gossipsub>;
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
        match &event {
            FromSwarm::ConnectionEstablished(e) => {
                let now = Instant::now();
                self.gate.peers.entry(e.peer_id).or_insert_with(|| Peer {
                    control: Bucket::full(CONTROL, now),
                    copies: 0,
                    replays: 0,
                    reported_at: None,
                    slow_at: None,
                });
            }
            FromSwarm::ConnectionClosed(e) if e.remaining_established == 0 => {
                self.gate.peers.remove(&e.peer_id);
            }
            _ => {}
        }
        if let Some(event) = hide_address(event) {
            self.inner.on_swarm_event(event);
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

    struct Bench {
        gate: Gate,
        admission: Admission,
        now: Instant,
    }

    impl Bench {
        fn new(options: &Options) -> Self {
            let now = Instant::now();
            let admission = options.admission.clone();
            let mut gate = Gate::new(options, admission.rates().messages, now);
            gate.joined.insert(topic("joined"));
            Bench {
                gate,
                admission,
                now,
            }
        }

        fn connect(&mut self) -> PeerId {
            let peer = PeerId::random();
            self.gate.peers.insert(
                peer,
                Peer {
                    control: Bucket::full(CONTROL, self.now),
                    copies: 0,
                    replays: 0,
                    reported_at: None,
                    slow_at: None,
                },
            );
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
        // Nor does the flooder's message count as known: another may bring it.
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
        let (peer, publisher) = (bench.connect(), PeerId::random());
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
        let mut trusted_passed = false;
        for n in 0..40 {
            let peer = bench.connect();
            for seqno in 0..100 {
                let new = message("joined", peer, n * 1000 + seqno, 10);
                passed += usize::from(bench.admit(&peer, &new).is_ok());
            }
        }
        assert_eq!(passed, 200 * PEERS_AT_FULL_RATE as usize);
        let friend = bench.connect();
        bench.admission.trust(&[friend]);
        let new = message("joined", friend, 1, 10);
        trusted_passed |= bench.admit(&friend, &new).is_ok();
        assert!(trusted_passed);
        // And in bytes: the cache never holds more than it has room for.
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
        assert_eq!(bytes, CACHE / 2);
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
