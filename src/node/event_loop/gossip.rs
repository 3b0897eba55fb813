//! Gossip in the event loop: messages to their verdict, and verdicts to
//! gossipsub and the subscribers on this host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use libp2p::gossipsub::{self, IdentTopic, Message, MessageAcceptance, TopicHash};

use super::EventLoop;
use crate::gossip::Dropped;
use crate::gossip::refused::Refused;
use crate::gossip::topics::{MAX_TOPIC_BYTES, MAX_TOPICS, Topics};
use crate::message::Opened;
use crate::message::windows::Mark;
use crate::node::gossip::subscriber::Subscriber;
use crate::node::gossip::validation::{Done, Job};
use crate::node::handle::{Error, GossipMessage, Reply};
use crate::peers::Conduct;
use crate::system::moment::Moment;
use crate::telemetry::Direction;

/// How long the event loop waits for the disk at its end, for the sake of programs on
/// this host: a write takes milliseconds unless something hangs. The daemon gives the
/// loop three seconds for its end, goodbyes included.
const WRITTEN: Duration = Duration::from_secs(1);

/// A message that was accepted.
pub(in crate::node) struct Accepted {
    topic: TopicHash,
    opened: Opened,
}

impl Accepted {
    fn bytes(&self) -> usize {
        self.opened.payload.len()
    }
}

/// Hands a message to every subscriber of its topic; says how many there are.
pub(super) fn deliver(
    topics: &mut Topics<Subscriber>,
    hash: &TopicHash,
    make: impl FnOnce(&str) -> GossipMessage,
) -> usize {
    let Some((name, subscribers)) = topics.listeners(hash) else {
        return 0;
    };
    let message = Arc::new(make(name));
    for subscriber in subscribers {
        subscriber.deliver(&message);
    }
    subscribers.len()
}

impl EventLoop {
    pub(super) fn gossip_event(&mut self, event: gossipsub::Event, now: Instant) {
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
                    arrived: now,
                };
                self.take_in(job);
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
                self.peer_subscribed(peer_id, &topic, now);
                self.publish_heard(&topic, now);
            }
            gossipsub::Event::Unsubscribed { peer_id, topic } => {
                self.tended.members.unsubscribed(&peer_id, &topic, now);
            }
            _ => {}
        }
    }

    /// A message that gossipsub holds until its verdict.
    fn take_in(&mut self, job: Job) {
        // One of ours, from before a restart: told then, and nobody's fault.
        if job.message.source.as_ref() == Some(self.swarm.local_peer_id()) {
            return self.settle(&job, "own", MessageAcceptance::Ignore);
        }
        if !self.network_topics.contains(job.message.topic.as_str()) {
            self.settle(&job, "accepted", MessageAcceptance::Accept);
            let Message {
                source,
                data,
                sequence_number,
                topic,
            } = job.message;
            self.hand_out(&topic, |name| GossipMessage {
                from: source,
                data: data.into(),
                seqno: sequence_number,
                topic: name.to_owned(),
            });
            return;
        }
        if let Err((job, _)) = self.validation.submit(job) {
            self.settle(&job, "queue_full", MessageAcceptance::Ignore);
            if let Some(more) = self
                .refusals
                .allow("gossip validation queue", Instant::now())
            {
                log::warn!(
                    topic:% = job.message.topic, suppressed = more;
                    "gossip comes faster than this node verifies it; the surplus is ignored"
                );
            }
        }
    }

    /// A verdict of the workers.
    pub(super) fn judged(&mut self, done: Done<Result<(Opened, Mark), Refused>>, now: Instant) {
        let Done { job, verdict } = done;
        self.validation.settled(&job);
        match verdict {
            Ok((opened, mark)) => {
                self.settle(&job, "accepted", MessageAcceptance::Accept);
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                gossip.spoke(&opened.publisher, now);
                let topic = job.message.topic;
                let accepted = Accepted { topic, opened };
                let bytes = accepted.bytes();
                if let Err(accepted) = self.recording.push(mark, bytes, accepted) {
                    self.unrecorded(1);
                    if let Some(more) = self.refusals.allow("unrecorded gossip", now) {
                        log::warn!(
                            topic:% = accepted.topic, suppressed = more;
                            "programs on this host do not get all that others publish, since the \
                             disk does not answer in time"
                        );
                    }
                }
            }
            Err(refused) => {
                if let Some(conduct) = refused.conduct(&job.source, job.message.source.as_ref()) {
                    let gossip = &mut self.swarm.behaviour_mut().gossip;
                    if conduct != Conduct::Replay || gossip.persistent_replay(&job.source) {
                        self.options
                            .policy
                            .report(&job.source, conduct, Moment::now());
                    }
                }
                let acceptance = refused.acceptance();
                let label = match acceptance {
                    MessageAcceptance::Reject => "rejected",
                    _ => "ignored",
                };
                log::debug!(
                    peer:% = job.source, topic:% = job.message.topic, error:% = refused;
                    "gossip message refused"
                );
                self.settle(&job, label, acceptance);
            }
        }
        self.finish_drain(now);
    }

    /// A message that is written down as seen.
    pub(super) fn recorded(&mut self, accepted: Accepted, now: Instant) {
        self.recording.taken(accepted.bytes());
        let Accepted { topic, opened } = accepted;
        self.hand_out(&topic, |name| GossipMessage {
            from: Some(opened.publisher),
            data: opened.payload,
            seqno: Some(opened.number),
            topic: name.to_owned(),
        });
        self.finish_drain(now);
    }

    fn settle(&mut self, job: &Job, result: &'static str, acceptance: MessageAcceptance) {
        self.metrics
            .gossip_validation
            .with_label_values(&[result])
            .inc();
        self.metrics
            .traffic
            .message_processing
            .with_label_values(&["gossip"])
            .observe(job.arrived.elapsed().as_secs_f64());
        if let MessageAcceptance::Accept = acceptance {
            self.options
                .policy
                .report(&job.source, Conduct::MessageDelivered, Moment::now());
        }
        let accepted = matches!(acceptance, MessageAcceptance::Accept);
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        let in_time = gossip.verdict(&job.id, &job.source, &job.message, acceptance);
        if accepted
            && !in_time
            && let Some(more) = self.refusals.allow("late gossip", Instant::now())
        {
            log::warn!(
                topic:% = job.message.topic, seconds = job.arrived.elapsed().as_secs(),
                suppressed = more;
                "a gossip message was verified too late to be passed on; this host is too busy"
            );
        }
    }

    fn hand_out(&mut self, topic: &TopicHash, make: impl FnOnce(&str) -> GossipMessage) {
        self.metrics.gossip_messages_received.inc();
        deliver(&mut self.topics, topic, make);
    }

    /// Counts messages that no program on this host gets, since the disk does not answer.
    fn unrecorded(&self, messages: usize) {
        let gossip = &self.swarm.behaviour().gossip;
        gossip.dropped(Dropped::Unrecorded, messages);
    }

    /// Waits for the verdicts that are under way, so that what was taken in goes on to
    /// the mesh. They need no disk.
    pub(super) async fn judge_all(&mut self) {
        let judged = self.validation.done().clone();
        while self.validation.waiting() > 0 {
            match judged.recv().await {
                Ok(done) => self.judged(done, Instant::now()),
                Err(_) => break,
            }
        }
    }

    /// Waits for the verdicts that are under way, and for the disk as long as it may
    /// take, so that what was taken in comes to the programs on this host before the
    /// loop ends.
    pub(super) async fn settle_all(&mut self) {
        let judged = self.validation.done().clone();
        let recorded = self.recording.done().clone();
        let mut deadline = FutureExt::fuse(async_io::Timer::after(WRITTEN));
        while self.validation.waiting() + self.recording.waiting() > 0 {
            futures::select! {
                _ = deadline => {
                    let lost = self.recording.waiting();
                    self.unrecorded(lost);
                    log::warn!(
                        messages = lost;
                        "programs on this host do not get the last messages that others \
                         published, since the disk does not answer"
                    );
                    break;
                },
                done = judged.recv().fuse() => match done {
                    Ok(done) => self.judged(done, Instant::now()),
                    Err(_) => break,
                },
                accepted = recorded.recv().fuse() => match accepted {
                    Ok(accepted) => self.recorded(accepted, Instant::now()),
                    Err(_) => break,
                },
            }
        }
    }

    pub(super) fn subscribe(
        &mut self,
        topic: String,
        reply: Reply<crate::node::Subscription>,
        now: Instant,
    ) {
        let refuse = |reason: String| Error::Gossip {
            what: "subscribe",
            topic: topic.clone(),
            reason,
        };
        if topic.is_empty() || topic.len() > MAX_TOPIC_BYTES {
            let _ = reply.send(Err(refuse(format!(
                "a topic has 1 to {MAX_TOPIC_BYTES} bytes"
            ))));
            return;
        }
        let ident = IdentTopic::new(topic.clone());
        if !self.topics.contains(&ident.hash()) {
            if self.topics.len() >= MAX_TOPICS {
                let _ = reply.send(Err(refuse(format!(
                    "this node has joined {MAX_TOPICS} topics already, the most that one node may"
                ))));
                return;
            }
            if let Err(e) = self.swarm.behaviour_mut().gossip.join(&ident) {
                let _ = reply.send(Err(refuse(e.to_string())));
                return;
            }
        }
        let (subscriber, subscription) = Subscriber::new(topic.clone());
        self.topics.listen(ident.hash(), &topic, subscriber);
        self.topic_joined(&ident.hash(), &topic, now);
        let _ = reply.send(Ok(subscription));
    }
}
