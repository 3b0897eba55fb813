//! Gossip in the event loop: messages to their verdict, and verdicts to
//! gossipsub and the subscribers on this host.

use std::time::Instant;

use libp2p::gossipsub::{self, IdentTopic, Message, MessageAcceptance, TopicHash};

use super::EventLoop;
use crate::admission::Conduct;
use crate::message::Opened;
use crate::node::gossip::MAX_PUBLISH_BYTES;
use crate::node::gossip::envelope::Refused;
use crate::node::gossip::validation::{Done, Job};
use crate::node::handle::{Error, GossipMessage, OwnMessage, Reply};
use crate::node::topics::{MAX_TOPIC_BYTES, MAX_TOPICS};
use crate::observe::metrics::Direction;

impl EventLoop {
    pub(super) fn gossip_event(&mut self, event: gossipsub::Event, now: Instant) {
        match event {
            gossipsub::Event::Message {
                propagation_source: source,
                message_id: id,
                message,
            } => {
                self.metrics.message(Direction::In, "gossip");
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
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                log::debug!(peer:% = peer_id; "a peer does not take its gossip in time");
            }
            gossipsub::Event::Subscribed { peer_id, topic, .. } => {
                self.peer_subscribed(peer_id, &topic, now);
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
        if !self.envelopes.covers(job.message.topic.as_str()) {
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
                signature: None,
                key: None,
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
    pub(super) fn judged(&mut self, done: Done<Result<Opened, Refused>>) {
        let Done { job, verdict } = done;
        self.validation.settled(&job);
        match verdict {
            Ok(opened) => {
                self.settle(&job, "accepted", MessageAcceptance::Accept);
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                gossip.spoke(&opened.publisher, Instant::now());
                self.hand_out(&job.message.topic, |name| GossipMessage {
                    from: Some(opened.publisher),
                    data: opened.payload,
                    seqno: Some(opened.number),
                    topic: name.to_owned(),
                    signature: None,
                    key: None,
                });
            }
            Err(refused) => {
                if let Some(conduct) = refused.conduct(&job) {
                    let gossip = &mut self.swarm.behaviour_mut().gossip;
                    if conduct != Conduct::Replay || gossip.persistent_replay(&job.source) {
                        self.options.admission.report(&job.source, conduct);
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
        self.finish_drain();
    }

    fn settle(&mut self, job: &Job, result: &'static str, acceptance: MessageAcceptance) {
        self.metrics
            .gossip_validation
            .with_label_values(&[result])
            .inc();
        self.metrics
            .message_processing
            .with_label_values(&["gossip"])
            .observe(job.arrived.elapsed().as_secs_f64());
        if let MessageAcceptance::Accept = acceptance {
            self.options
                .admission
                .report(&job.source, Conduct::MessageDelivered);
        }
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.verdict(&job.id, &job.source, &job.message, acceptance);
    }

    fn hand_out(&mut self, topic: &TopicHash, make: impl FnOnce(&str) -> GossipMessage) {
        self.metrics.gossip_messages_received.inc();
        self.topics.deliver(topic, make);
    }

    /// Waits for what is under way to a verdict, so that nothing that came in is
    /// lost when the loop ends.
    pub(super) async fn settle_all(&mut self) {
        while self.validation.waiting() > 0 {
            match self.validation.done().recv().await {
                Ok(done) => self.judged(done),
                Err(_) => break,
            }
        }
    }

    pub(super) fn subscribe(&mut self, topic: String, reply: Reply<crate::node::Subscription>) {
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
        let subscription = self.topics.subscribe(ident.hash(), topic.clone());
        self.topic_joined(&ident.hash(), &topic, Instant::now());
        let _ = reply.send(Ok(subscription));
    }

    /// Publishes `data` as it is; `own` is what subscribers on this host get, when
    /// that is not `data` itself (on an envelope topic).
    pub(super) fn publish(
        &mut self,
        topic: String,
        data: Vec<u8>,
        own: Option<Box<OwnMessage>>,
        reply: Reply<()>,
    ) {
        use gossipsub::PublishError;
        let ident = IdentTopic::new(topic.clone());
        let hash = ident.hash();
        if data.len() > MAX_PUBLISH_BYTES {
            let _ = reply.send(Err(Error::Gossip {
                what: "publish",
                topic,
                reason: format!(
                    "the message of {} bytes is over the {MAX_PUBLISH_BYTES} bytes that gossip carries",
                    data.len()
                ),
            }));
            return;
        }
        let local = *self.swarm.local_peer_id();
        self.topic_published(&hash, &topic, Instant::now());
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        // Subscribers get the message in clear; a copy of the wire form is only
        // needed when the two are the same.
        let (sent, data) = match &own {
            Some(_) => (gossip.publish(ident, data), Vec::new()),
            None => (gossip.publish(ident, data.clone()), data),
        };
        let seqno = sent.as_ref().ok().and_then(|id| {
            let tail = id.0.len().checked_sub(8)?;
            Some(u64::from_be_bytes(id.0.get(tail..)?.try_into().ok()?))
        });
        let refused = |reason: String| Error::Gossip {
            what: "publish",
            topic: topic.clone(),
            reason,
        };
        let nobody = matches!(sent, Err(PublishError::NoPeersSubscribedToTopic));
        if nobody && self.peers.len() == 0 {
            self.bootstrap.wanted();
        }
        let result = match sent {
            Ok(_) | Err(PublishError::Duplicate) => Ok(()),
            Err(PublishError::NoPeersSubscribedToTopic) => Err(refused(match self.peers.len() {
                0 => "no peer is connected; the node is trying its bootstrap peers".into(),
                _ => "no connected peer subscribes to it; see `p2p-node peers`".into(),
            })),
            Err(PublishError::AllQueuesFull(peers)) => Err(refused(format!(
                "the queues of all {peers} peers are full; publish more slowly"
            ))),
            Err(e) => Err(refused(e.to_string())),
        };
        if result.is_ok() {
            self.metrics.message(Direction::Out, "gossip");
        }
        // Programs on this host hear each other through the topic too; what was
        // refused is told to nobody.
        let listeners = if result.is_err() && !nobody {
            0
        } else {
            self.topics.deliver(&hash, |name| match own {
                Some(own) => GossipMessage {
                    from: Some(local),
                    data: own.payload,
                    seqno: Some(own.number),
                    topic: name.to_owned(),
                    signature: None,
                    key: None,
                },
                None => GossipMessage {
                    from: Some(local),
                    data: data.into(),
                    seqno,
                    topic: name.to_owned(),
                    signature: None,
                    key: None,
                },
            })
        };
        let heard = nobody && listeners > 0;
        let _ = reply.send(if heard { Ok(()) } else { result });
    }
}
