//! Gossip in the event loop: one type that holds all of its state.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use async_std::channel::Receiver;
use libp2p::gossipsub::{self, IdentTopic, TopicHash};
use libp2p::kad::{QueryId, QueryResult, RecordKey};
use libp2p::{Multiaddr, PeerId};

use super::Intake;
use super::audience::Audience;
use super::incoming::{Accepted, Incoming, Judged};
use super::lent::Lent;
use super::membership::Found;
use super::messages::Messages;
use super::publish::Publish;
use super::publishing::{Due, Publishing};
use super::sealing::Sealed;
use super::signed::Sealer;
use super::subscription::Subscription;
use super::validation::Job;
use crate::api::TopicStatus;
use crate::gossip::members::Members;
use crate::gossip::pace::Pace;
use crate::gossip::{NetworkTopics, mesh_bounds};
use crate::node::Metrics;
use crate::node::metrics::as_gauge;
use crate::node::options::Options;
use crate::node::reply::Reply;
use crate::peers::bucket::Rates;
use crate::telemetry::Direction;

/// The members of topics that are to be kept are chosen anew this often, in ticks, and
/// when another has come.
const KEEP_TICKS: u64 = 5;

/// What a turn of the event loop is about that is gossip's own, beside the events of
/// gossipsub.
#[allow(
    clippy::large_enum_variant,
    reason = "one at a time, which lives for a turn and is moved twice"
)]
pub(in crate::node) enum Turn {
    /// A worker has opened an envelope.
    Judged(Judged),
    /// A message is written down as seen.
    Recorded(Accepted),
    /// A message of this host is sealed.
    Sealed(Sealed<Due>),
    /// Something that waits to be published may go.
    Publish,
}

/// Where the results of the tasks beside the event loop come. A clone reads from the
/// same ones; each result is to be given to [`Gossip::turn`].
#[derive(Clone)]
pub(in crate::node) struct Results {
    /// For [`Turn::Judged`].
    pub(in crate::node) judged: Receiver<Judged>,
    /// For [`Turn::Recorded`].
    pub(in crate::node) recorded: Receiver<Accepted>,
    /// For [`Turn::Sealed`].
    pub(in crate::node) sealed: Receiver<Sealed<Due>>,
}

/// All that the event loop keeps of gossip. It takes the events that are its own, is lent
/// gossipsub for each call ([`Lent`]), and leaves what it wants done as effects there.
pub(in crate::node) struct Gossip {
    audience: Audience,
    incoming: Incoming,
    publishing: Publishing,
    metrics: Arc<Metrics>,
    ticks: u64,
}

impl Gossip {
    /// Starts the tasks beside the event loop. `messages` remembers what this network's
    /// own topics need, `sealer` seals what is published on them, and `intake` is the
    /// gossipsub that will be lent.
    pub(in crate::node) fn start(
        options: &Options,
        messages: &Messages,
        sealer: Sealer,
        intake: &Intake,
        metrics: Arc<Metrics>,
        now: Instant,
    ) -> Self {
        let (rate, bytes) = intake.takes();
        let pace = Pace::new(rate, bytes, now);
        let (low, _, _) = mesh_bounds(options.gossip_d);
        let policy = options.policy.clone();
        let topics = NetworkTopics::of(&options.network);
        Gossip {
            audience: Audience::new(Members::new(low, options.gossip_d)),
            incoming: Incoming::start(topics, messages, policy, metrics.clone()),
            publishing: Publishing::new(pace, options.publish_patience, sealer, metrics.clone()),
            metrics,
            ticks: 0,
        }
    }

    /// Where the results of the tasks come.
    pub(in crate::node) fn results(&self) -> Results {
        Results {
            judged: self.incoming.verdicts().clone(),
            recorded: self.incoming.records().clone(),
            sealed: self.publishing.sealing().done().clone(),
        }
    }

    /// Comes to its end when it is time for [`Turn::Publish`].
    pub(in crate::node) fn publish_turn(&mut self) -> impl Future<Output = ()> {
        self.publishing.turn()
    }

    /// An event of gossipsub.
    pub(in crate::node) fn event(&mut self, event: gossipsub::Event, lent: &mut Lent<'_>) {
        match event {
            gossipsub::Event::Message {
                propagation_source: source,
                message_id: id,
                message,
            } => {
                self.metrics.traffic.message(Direction::In, "gossip");
                let job = Job {
                    id,
                    source,
                    message,
                    arrived: lent.view.now,
                };
                self.incoming.take_in(job, &mut self.audience, lent);
            }
            // No offence: on a slow line, a publisher that stays within its budget
            // does that to an honest subscriber. Gossipsub drops what does not fit
            // its queue, and its score for it is gone in seconds.
            gossipsub::Event::SlowPeer {
                peer_id,
                failed_messages: lost,
            } => {
                let lost = lost.priority.saturating_add(lost.non_priority);
                self.metrics.gossip_unsent.inc_by(lost as u64);
                log::debug!(peer:% = peer_id, lost; "a peer does not take its gossip in time");
            }
            gossipsub::Event::Subscribed { peer_id, topic, .. } => {
                self.audience.members.subscribed(peer_id, &topic, lent);
                let (publishing, audience) = (&mut self.publishing, &mut self.audience);
                publishing.publish_heard(&topic, audience, lent);
            }
            gossipsub::Event::Unsubscribed { peer_id, topic } => {
                let members = &mut self.audience.members;
                members.unsubscribed(&peer_id, &topic, lent.view.now);
            }
            // The peer is connected for other protocols.
            gossipsub::Event::GossipsubNotSupported { .. } => {}
        }
    }

    /// A turn of the event loop that is gossip's own.
    pub(in crate::node) fn turn(&mut self, turn: Turn, lent: &mut Lent<'_>) {
        let audience = &mut self.audience;
        match turn {
            Turn::Judged(done) => self.incoming.judged(done, lent),
            Turn::Recorded(accepted) => self.incoming.recorded(accepted, audience),
            Turn::Sealed(done) => self.publishing.sealed(done, audience, lent),
            Turn::Publish => self.publishing.publish_next(audience, lent),
        }
    }

    /// A program on this host subscribes to a topic.
    pub(in crate::node) fn subscribe(
        &mut self,
        topic: String,
        reply: Reply<Subscription>,
        lent: &mut Lent<'_>,
    ) {
        let _ = reply.send(self.audience.subscribe(topic, lent));
    }

    /// A program on this host publishes a message.
    pub(in crate::node) fn publish(&mut self, message: Publish, lent: &mut Lent<'_>) {
        self.publishing.publish(message, &mut self.audience, lent);
    }

    /// Joins a topic of the configuration.
    pub(in crate::node) fn keep_topic(&mut self, name: &str, lent: &mut Lent<'_>) {
        self.audience.keep(name, lent);
    }

    /// The configuration names other topics than `before`.
    pub(in crate::node) fn adjust_topics(
        &mut self,
        before: &[String],
        topics: &[String],
        lent: &mut Lent<'_>,
    ) {
        self.audience.adjust(before, topics, lent);
    }

    /// Other budgets of peers from now on, and the pace that follows from them.
    pub(in crate::node) fn adjust_rates(&mut self, rates: Rates, lent: &mut Lent<'_>) {
        lent.intake.set_rates(rates, lent.view.now);
        self.publishing.set_pace(lent);
    }

    /// Leaves the topics that nobody on this host wants any more. To be called once a
    /// second.
    pub(in crate::node) fn leave_abandoned(&mut self, lent: &mut Lent<'_>) {
        self.audience.leave_abandoned(lent);
    }

    /// What else is due once a second.
    pub(in crate::node) fn tick(&mut self, lent: &mut Lent<'_>) {
        self.ticks += 1;
        let members = &mut self.audience.members;
        if !lent.view.draining {
            members.tend(lent);
            if members.has_newcomer() || self.ticks.is_multiple_of(KEEP_TICKS) {
                members.keep(lent);
            }
        }
        self.publish_unheard(lent);
    }

    fn publish_unheard(&mut self, lent: &mut Lent<'_>) {
        self.publishing.publish_unheard(&mut self.audience, lent);
    }

    /// Leaves the meshes.
    pub(in crate::node) fn drain(&mut self, lent: &mut Lent<'_>) {
        self.audience.leave_all(lent);
    }

    /// Messages that wait for their verdict.
    pub(in crate::node) fn unjudged(&self) -> usize {
        self.incoming.unjudged()
    }

    /// Accepted messages that wait for the disk.
    pub(in crate::node) fn unrecorded(&self) -> usize {
        self.incoming.unrecorded()
    }

    /// Messages that wait for their verdict or for the disk.
    pub(in crate::node) fn unsettled(&self) -> usize {
        self.incoming.unjudged() + self.incoming.unrecorded()
    }

    /// Whether so much waits for the disk that little more fits.
    pub(in crate::node) fn much_is_unrecorded(&self) -> bool {
        self.incoming.much_is_unrecorded()
    }

    /// The loop ends, and waits for the disk no longer.
    pub(in crate::node) fn give_up_records(&self) {
        let lost = self.incoming.unrecorded();
        self.incoming.count_unrecorded(lost);
        log::warn!(
            messages = lost;
            "programs on this host do not get the last messages that others published, since \
             the disk does not answer"
        );
    }

    /// Whether a peer is, or may be, on some topic of this node, so that this wants to
    /// know its addresses ([`Gossip::learn`]).
    pub(in crate::node) fn knows(&self, peer: &PeerId) -> bool {
        self.audience.members.knows(peer)
    }

    /// Where a peer can be dialed.
    pub(in crate::node) fn learn(&mut self, peer: &PeerId, addrs: &[Multiaddr]) {
        self.audience.members.learn(peer, addrs);
    }

    /// A peer is connected, whoever dialed.
    pub(in crate::node) fn connected(&mut self, peer: &PeerId, now: Instant) {
        self.audience.members.connected(peer, now);
    }

    /// The last connection of a peer has ended. `lost`: it broke off, and nobody had
    /// closed it.
    pub(in crate::node) fn disconnected(&mut self, peer: &PeerId, lost: bool, now: Instant) {
        self.audience.members.disconnected(peer, lost, now);
    }

    /// The operator has sent a peer away.
    pub(in crate::node) fn dismissed(&mut self, peer: &PeerId, now: Instant) {
        self.audience.members.dismissed(peer, now);
    }

    /// A dial of a peer failed, whoever had begun it.
    pub(in crate::node) fn dial_failed(&mut self, peer: &PeerId, lent: &mut Lent<'_>) {
        self.audience.members.dial_failed(peer);
        self.publish_unheard(lent);
    }

    /// A node of the DHT has said who it is.
    pub(in crate::node) fn met_dht_node(&mut self, lent: &mut Lent<'_>) {
        self.audience.members.met_dht_node(lent);
    }

    /// The DHT looks for members of a topic.
    pub(in crate::node) fn searching(
        &mut self,
        id: QueryId,
        topic: TopicHash,
        key: RecordKey,
        now: Instant,
    ) {
        self.audience.members.searching(id, topic, key, now);
    }

    /// The DHT is told that this node is on a topic; `None` when it cannot be.
    pub(in crate::node) fn announcing(
        &mut self,
        id: Option<QueryId>,
        topic: TopicHash,
        now: Instant,
    ) {
        self.audience.members.announcing(id, topic, now);
    }

    /// The members that a step of a DHT query has found, when it is a search for those of
    /// a topic. They are to be told by [`Gossip::found`], with their addresses.
    pub(in crate::node) fn found_by(&mut self, id: QueryId, result: &QueryResult) -> Option<Found> {
        self.audience.members.found_by(id, result)
    }

    /// The DHT names members of a topic, with their addresses.
    pub(in crate::node) fn found(
        &mut self,
        topic: &TopicHash,
        members: Vec<(PeerId, Vec<Multiaddr>)>,
        lent: &mut Lent<'_>,
    ) {
        for (peer, addrs) in members {
            self.audience.members.found(topic, peer, &addrs, lent);
        }
        self.audience.members.tend(lent);
    }

    /// A DHT query has ended, which may be one for a topic.
    pub(in crate::node) fn query_ended(
        &mut self,
        id: QueryId,
        result: &QueryResult,
        lent: &mut Lent<'_>,
    ) {
        let members = &mut self.audience.members;
        if members.query_ended(id, result, lent.view.now) {
            self.publish_unheard(lent);
        }
    }

    /// The names of the topics that are joined.
    pub(in crate::node) fn topics(&self) -> Vec<String> {
        self.audience.names().map(str::to_owned).collect()
    }

    /// The connected peers that are on a topic, or on any.
    pub(in crate::node) fn peers_on(topic: Option<String>, intake: &Intake) -> Vec<PeerId> {
        let hash = topic.map(|t| IdentTopic::new(t).hash());
        intake
            .all_peers()
            .filter(|(_, topics)| match &hash {
                Some(hash) => topics.contains(&hash),
                None => !topics.is_empty(),
            })
            .map(|(peer, _)| *peer)
            .collect()
    }

    /// The connected peers that are on a topic that is joined here.
    pub(in crate::node) fn peers(&self, intake: &Intake) -> HashSet<PeerId> {
        self.audience.peers(intake)
    }

    /// Each topic with its mesh, and the connected peers that are on it.
    pub(in crate::node) fn status(&self, intake: &Intake) -> Vec<TopicStatus> {
        self.audience.status(intake)
    }

    /// Sets the gauges. Answers the number of peers in all meshes together.
    pub(in crate::node) fn record_gauges(&self, intake: &Intake) -> usize {
        let mesh: HashSet<&PeerId> = intake.all_mesh_peers().collect();
        self.metrics.gossip_peers.set(as_gauge(mesh.len()));
        let candidates = self.audience.peers(intake).len();
        self.metrics.gossip_candidates.set(as_gauge(candidates));
        self.metrics.topics.set(as_gauge(self.audience.count()));
        mesh.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;
    use futures::channel::oneshot;
    use libp2p::identity::Keypair;

    use super::super::Ending;
    use super::super::publish::Content;
    use super::super::recording::Recording;
    use super::super::validation::{MAX_WAITING, Validation};
    use super::*;
    use crate::message::Opened;
    use crate::message::windows::Mark;
    use crate::node::effect::{Effect, View};
    use crate::node::peers::connected::Connected;
    use crate::peers::Policy;
    use crate::telemetry::Register as _;

    const TOPIC: &str = "/p2p-node/chat";

    /// Gossip of a node without any connection, in virtual time.
    struct Alone {
        gossip: Gossip,
        intake: Intake,
        peers: Connected,
        local: PeerId,
        knows_dht: bool,
        draining: bool,
        now: Instant,
    }

    impl Alone {
        fn new() -> Self {
            let (key, options, now) = (
                Keypair::generate_ed25519(),
                Options::default(),
                Instant::now(),
            );
            let metrics = Metrics::new().unwrap();
            let local = key.public().to_peer_id();
            let policy = options.policy.clone();
            let intake = Intake::new(&key, &options, policy, metrics.clone()).unwrap();
            let messages = Messages::unstored(local, metrics.clone());
            let sealer = messages.sealer(key);
            let gossip = Gossip::start(&options, &messages, sealer, &intake, metrics, now);
            Alone {
                gossip,
                intake,
                peers: Connected::new(options.policy.clone()),
                local,
                knows_dht: false,
                draining: false,
                now,
            }
        }

        /// The effects of a call.
        fn call(&mut self, call: impl FnOnce(&mut Gossip, &mut Lent<'_>)) -> Vec<Effect> {
            let knows_dht = self.knows_dht;
            let mut lent = Lent {
                intake: &mut self.intake,
                knows_dht: &mut || knows_dht,
                refuses: &|_| false,
                view: View {
                    now: self.now,
                    wall: std::time::UNIX_EPOCH,
                    local: self.local,
                    draining: self.draining,
                    peers: &self.peers,
                },
                effects: Vec::new(),
            };
            call(&mut self.gossip, &mut lent);
            lent.effects
        }

        fn publish(
            &mut self,
        ) -> (
            Vec<Effect>,
            oneshot::Receiver<Result<crate::api::Published, crate::node::Error>>,
        ) {
            let (reply, answer) = oneshot::channel();
            let message = Publish {
                topic: "plain".into(),
                content: Content::Plain(b"hello".to_vec()),
                client: 1,
                reply,
            };
            (
                self.call(|gossip, lent| gossip.publish(message, lent)),
                answer,
            )
        }

        fn subscribe(&mut self, topic: &str) -> (Vec<Effect>, Subscription) {
            let (reply, mut answer) = oneshot::channel();
            let effects = self.call(|gossip, lent| gossip.subscribe(topic.into(), reply, lent));
            (effects, answer.try_recv().unwrap().unwrap().unwrap())
        }
    }

    #[test]
    fn a_message_of_a_node_that_is_alone_waits_for_its_patience_to_the_second() {
        let mut node = Alone::new();
        let patience = Options::default().publish_patience;
        let (effects, mut answer) = node.publish();
        assert!(matches!(effects[..], [Effect::FindPeers]), "{effects:?}");
        node.now += patience - Duration::from_nanos(1);
        node.call(Gossip::tick);
        assert!(matches!(answer.try_recv(), Ok(None)));
        node.now += Duration::from_nanos(1);
        node.call(Gossip::tick);
        let refused = answer.try_recv().unwrap().unwrap().unwrap_err();
        assert!(refused.to_string().contains("none was found"), "{refused}");
        // While it drains nothing waits.
        node.draining = true;
        let (_, mut answer) = node.publish();
        assert!(answer.try_recv().unwrap().unwrap().is_err());
    }

    #[test]
    fn a_topic_is_looked_for_and_announced_when_it_is_joined_and_withdrawn_when_it_is_left() {
        let mut node = Alone::new();
        node.knows_dht = true;
        let (effects, subscription) = node.subscribe(TOPIC);
        let [
            Effect::FindMembers { topic, .. },
            Effect::AnnounceTopic { key, .. },
        ] = &effects[..]
        else {
            panic!("{effects:?}");
        };
        assert_eq!(topic.as_str(), TOPIC);
        assert_eq!(node.gossip.topics(), [TOPIC]);
        let key = key.clone();
        // The same topic again is joined already.
        let (effects, second) = node.subscribe(TOPIC);
        assert!(effects.is_empty(), "{effects:?}");
        drop(subscription);
        assert!(node.call(Gossip::leave_abandoned).is_empty());
        drop(second);
        let effects = node.call(Gossip::leave_abandoned);
        assert!(
            matches!(&effects[..], [Effect::StopProviding(left)] if *left == key),
            "{effects:?}"
        );
        assert!(node.gossip.topics().is_empty());
    }

    #[test]
    fn a_program_hears_what_another_one_on_this_host_publishes_without_any_peer() {
        let mut node = Alone::new();
        let (_, subscription) = node.subscribe("plain");
        let (_, mut answer) = node.publish();
        let published = answer.try_recv().unwrap().unwrap().unwrap();
        assert_eq!((published.peers, published.listeners), (0, 1));
        let heard = subscription.messages.try_recv().unwrap();
        assert_eq!(
            (&heard.data[..], heard.from),
            (&b"hello"[..], Some(node.local))
        );
        assert_eq!(node.gossip.unsettled(), 0);
    }

    #[test]
    fn at_the_end_what_is_written_is_taken_before_verdicts_that_would_find_no_room() {
        let mut node = Alone::new();
        let (_, subscription) = node.subscribe(TOPIC);
        let (policy, metrics) = (Policy::default(), Metrics::new().unwrap());
        let opened = |number| Opened {
            publisher: PeerId::random(),
            number,
            payload: Default::default(),
        };
        // Each is accepted. The disk answers when the gate is opened.
        let (gate, closed) = async_std::channel::bounded::<()>(1);
        node.gossip.incoming = Incoming::with(
            NetworkTopics::of("p2p-node"),
            Validation::start(move |job: &Job| {
                let number = job.message.sequence_number.unwrap();
                let mark = Mark {
                    id: [7; 16],
                    number,
                    at: 0,
                    lane: 0,
                };
                std::future::ready(Ok((opened(number), mark))).boxed()
            }),
            Recording::start(move |_| {
                let closed = closed.clone();
                async move { closed.recv().await.unwrap_or_default() }.boxed()
            }),
            policy,
            metrics,
        );
        // As many as may wait for their verdict, but for a part, from two peers, each of
        // which may have half of them.
        let a_lot = MAX_WAITING * 3 / 4;
        let sources = [PeerId::random(), PeerId::random()];
        let arrive = |node: &mut Alone, lot: usize| {
            for n in 0..a_lot {
                let event = gossipsub::Event::Message {
                    propagation_source: sources[n % 2],
                    message_id: gossipsub::MessageId::new(&n.to_be_bytes()),
                    message: gossipsub::Message {
                        source: Some(sources[n % 2]),
                        data: Vec::new(),
                        sequence_number: Some((lot * a_lot + n) as u64),
                        topic: IdentTopic::new(TOPIC).hash(),
                    },
                };
                node.call(|gossip, lent| gossip.event(event, lent));
            }
            assert_eq!(node.gossip.unjudged(), a_lot);
        };
        async_std::task::block_on(async {
            // One lot waits for the disk, as far as the loop knows, and another for its
            // verdicts. Together they are more than may wait for the disk.
            arrive(&mut node, 0);
            let results = node.gossip.results();
            for _ in 0..a_lot {
                let done = results.judged.recv().await.unwrap();
                node.call(|gossip, lent| gossip.turn(Turn::Judged(done), lent));
            }
            assert_eq!(node.gossip.unrecorded(), a_lot);
            arrive(&mut node, 1);
            while results.judged.len() < a_lot {
                async_std::task::yield_now().await;
            }
            let mut ending = Ending::new(results.clone());
            let early = ending.next_verdict(&node.gossip).now_or_never();
            assert!(early.is_none(), "a verdict does not pass what waits");
            drop(gate);
            // What is handed to the disk has come back each time that the loop looks, so
            // that nothing here depends on how long it waits.
            let written = async |node: &Alone| {
                while results.recorded.len() < node.gossip.unrecorded() {
                    async_std::task::yield_now().await;
                }
            };
            written(&node).await;
            while let Some(turn) = ending.next_verdict(&node.gossip).await {
                node.call(|gossip, lent| gossip.turn(turn, lent));
                written(&node).await;
            }
            assert_eq!(node.gossip.unjudged(), 0);
            let mut ending = Ending::new(results.clone());
            while let Some(turn) = ending.next(&node.gossip).await {
                node.call(|gossip, lent| gossip.turn(turn, lent));
            }
            assert_eq!(node.gossip.unsettled(), 0);
            // The programs on this host got all of them.
            assert_eq!(subscription.messages.len(), 2 * a_lot);
            assert_eq!(subscription.dropped(), 0);
        });
    }
}
