//! Messages that peers send: to their verdict, and from it to gossipsub and to the
//! subscribers on this host.

use std::sync::Arc;

use async_std::channel::Receiver;
use futures::FutureExt;
use libp2p::gossipsub::{self, MessageAcceptance, TopicHash};

use super::audience::Audience;
use super::lent::Lent;
use super::messages::Messages;
use super::recording::Recording;
use super::validation::{Done, Job, Validation};
use crate::api::Message;
use crate::gossip::refused::Refused;
use crate::gossip::{Dropped, NetworkTopics};
use crate::message::Opened;
use crate::message::windows::Mark;
use crate::node::Metrics;
use crate::peers::{Conduct, Policy};
use crate::telemetry::throttle::Throttle;

/// A message with what its worker found.
pub(in crate::node) type Judged = Done<Result<(Opened, Mark), Refused>>;

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

/// See the module's documentation.
pub(super) struct Incoming {
    network_topics: NetworkTopics,
    validation: Validation<Result<(Opened, Mark), Refused>>,
    recording: Recording<Accepted>,
    policy: Policy,
    metrics: Arc<Metrics>,
    lines: Throttle,
}

impl Incoming {
    /// Starts the workers and the task that records.
    pub(super) fn start(
        network_topics: NetworkTopics,
        messages: &Messages,
        policy: Policy,
        metrics: Arc<Metrics>,
    ) -> Self {
        let judge = messages.clone();
        let recorder = messages.clone();
        let validation = Validation::start(move |job| std::future::ready(judge.judge(job)).boxed());
        let recording = Recording::start(move |mark| {
            let recorder = recorder.clone();
            async move { recorder.record(mark).await }.boxed()
        });
        Self::with(network_topics, validation, recording, policy, metrics)
    }

    /// Takes messages to the workers of `validation` and to `recording`.
    pub(super) fn with(
        network_topics: NetworkTopics,
        validation: Validation<Result<(Opened, Mark), Refused>>,
        recording: Recording<Accepted>,
        policy: Policy,
        metrics: Arc<Metrics>,
    ) -> Self {
        Incoming {
            network_topics,
            validation,
            recording,
            policy,
            metrics,
            lines: Throttle::default(),
        }
    }

    /// Where the verdicts of the workers come.
    pub(super) fn verdicts(&self) -> &Receiver<Judged> {
        self.validation.done()
    }

    /// Where the messages come that are written down as seen.
    pub(super) fn records(&self) -> &Receiver<Accepted> {
        self.recording.done()
    }

    /// Messages that wait for their verdict.
    pub(super) fn unjudged(&self) -> usize {
        self.validation.waiting()
    }

    /// Accepted messages that wait for the disk.
    pub(super) fn unrecorded(&self) -> usize {
        self.recording.waiting()
    }

    /// Whether so much waits for the disk that little more fits.
    pub(super) fn much_is_unrecorded(&self) -> bool {
        self.recording.is_half_full()
    }

    /// A message that gossipsub holds until its verdict.
    pub(super) fn take_in(&mut self, job: Job, audience: &mut Audience, lent: &mut Lent<'_>) {
        // One of ours, from before a restart: told then, and nobody's fault.
        if job.message.source.as_ref() == Some(&lent.view.local) {
            return self.settle(&job, "own", MessageAcceptance::Ignore, lent);
        }
        if !self.network_topics.contains(job.message.topic.as_str()) {
            self.settle(&job, "accepted", MessageAcceptance::Accept, lent);
            let gossipsub::Message {
                source,
                data,
                sequence_number,
                topic,
            } = job.message;
            self.hand_out(&topic, audience, |name| Message {
                from: source,
                data: data.into(),
                seqno: sequence_number,
                topic: name.to_owned(),
            });
            return;
        }
        if let Err((job, _)) = self.validation.submit(job) {
            self.settle(&job, "queue_full", MessageAcceptance::Ignore, lent);
            if let Some(more) = self.lines.allow("gossip validation queue", lent.view.now) {
                log::warn!(
                    topic:% = job.message.topic, suppressed = more;
                    "gossip comes faster than this node verifies it; the surplus is ignored"
                );
            }
        }
    }

    /// A verdict of the workers.
    pub(super) fn judged(&mut self, done: Judged, lent: &mut Lent<'_>) {
        let now = lent.view.now;
        let Done { job, verdict } = done;
        self.validation.settled(&job);
        match verdict {
            Ok((opened, mark)) => {
                self.settle(&job, "accepted", MessageAcceptance::Accept, lent);
                lent.intake.spoke(&opened.publisher, now);
                let topic = job.message.topic;
                let accepted = Accepted { topic, opened };
                let bytes = accepted.bytes();
                if let Err(accepted) = self.recording.push(mark, bytes, accepted) {
                    self.count_unrecorded(1);
                    if let Some(more) = self.lines.allow("unrecorded gossip", now) {
                        log::warn!(
                            topic:% = accepted.topic, suppressed = more;
                            "programs on this host do not get all that others publish, since the \
                             disk does not answer in time"
                        );
                    }
                }
            }
            Err(refused) => {
                if let Some(conduct) = refused.conduct(&job.source, job.message.source.as_ref())
                    && (conduct != Conduct::Replay || lent.intake.persistent_replay(&job.source))
                {
                    self.policy.report(&job.source, conduct, lent.view.moment());
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
                self.settle(&job, label, acceptance, lent);
            }
        }
    }

    /// A message that is written down as seen.
    pub(super) fn recorded(&mut self, accepted: Accepted, audience: &mut Audience) {
        self.recording.taken(accepted.bytes());
        let Accepted { topic, opened } = accepted;
        self.hand_out(&topic, audience, |name| Message {
            from: Some(opened.publisher),
            data: opened.payload,
            seqno: Some(opened.number),
            topic: name.to_owned(),
        });
    }

    fn settle(
        &mut self,
        job: &Job,
        result: &'static str,
        acceptance: MessageAcceptance,
        lent: &mut Lent<'_>,
    ) {
        // The clock at this moment, and not the time of the turn: what the message cost
        // this turn is to count.
        let took = job.arrived.elapsed();
        self.metrics
            .gossip_validation
            .with_label_values(&[result])
            .inc();
        self.metrics
            .traffic
            .message_processing
            .with_label_values(&["gossip"])
            .observe(took.as_secs_f64());
        let accepted = matches!(acceptance, MessageAcceptance::Accept);
        if accepted {
            let moment = lent.view.moment();
            self.policy
                .report(&job.source, Conduct::MessageDelivered, moment);
        }
        let in_time = lent
            .intake
            .verdict(&job.id, &job.source, &job.message, acceptance);
        if accepted
            && !in_time
            && let Some(more) = self.lines.allow("late gossip", lent.view.now)
        {
            log::warn!(
                topic:% = job.message.topic, seconds = took.as_secs(),
                suppressed = more;
                "a gossip message was verified too late to be passed on; this host is too busy"
            );
        }
    }

    fn hand_out(
        &self,
        topic: &TopicHash,
        audience: &mut Audience,
        make: impl FnOnce(&str) -> Message,
    ) {
        self.metrics.gossip_messages_received.inc();
        audience.deliver(topic, make);
    }

    /// Counts messages that no program on this host gets, since the disk does not answer.
    pub(super) fn count_unrecorded(&self, messages: usize) {
        self.metrics
            .gossip_dropped
            .with_label_values(&[Dropped::Unrecorded.as_str()])
            .inc_by(messages as u64);
    }
}
