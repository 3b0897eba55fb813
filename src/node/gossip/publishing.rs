//! Publishing: what programs on this host publish waits for a few seconds when nobody
//! would hear it, then for its turn and the pace, is then sealed if its topic is one of
//! this network, and handed to gossipsub and to the subscribers on this host. The event
//! loop itself never waits: it has a timer for the next turn, and a task beside it seals.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use async_io::Timer;
use libp2p::gossipsub::{IdentTopic, PublishError, TopicHash};

use super::audience::Audience;
use super::lent::Lent;
use super::publish::{Content, Publish};
use super::sealing::{Sealed, Sealing};
use super::signed::Sealer;
use crate::api::{Message, Published};
use crate::gossip::MAX_PUBLISH_BYTES;
use crate::gossip::line::{Client, Full, Line};
use crate::gossip::pace::Pace;
use crate::gossip::quotas::AROUND;
use crate::gossip::unheard::Unheard;
use crate::node::Metrics;
use crate::node::effect::Effect;
use crate::node::error::Error;
use crate::node::metrics::as_gauge;
use crate::node::reply::Reply;
use crate::telemetry::Direction;

/// Messages handed on before the swarm gets its turn: each is signed and queued for
/// every subscribed peer.
const A_TURN: usize = 16;

/// A message of a program on this host.
struct Outgoing {
    to: Due,
    content: Content,
}

/// A message that nobody hears yet.
struct Early {
    client: Client,
    message: Outgoing,
    /// Nobody was connected when it came.
    alone: bool,
}

/// Where a message goes, and who waits for the answer.
pub(in crate::node) struct Due {
    topic: IdentTopic,
    name: String,
    /// Its time was taken of the pace.
    paid: bool,
    /// It waited in vain for somebody who hears it.
    waited: bool,
    reply: Reply<Published>,
}

/// What subscribers on this host get of a message on a topic of this network.
struct Own {
    payload: bytes::Bytes,
    number: u64,
}

/// What a message takes of the pace that gossipsub carries as `size` bytes.
fn cost(size: usize) -> u64 {
    size as u64 + AROUND
}

impl Outgoing {
    /// What it takes of the pace.
    fn bytes(&self) -> u64 {
        cost(self.content.size())
    }
}

impl Due {
    fn is_wanted(&self) -> bool {
        !self.reply.is_canceled()
    }

    fn refuse(self, reason: String) {
        let _ = self.reply.send(Err(Error::Gossip {
            what: "publish",
            topic: self.name,
            reason,
        }));
    }
}

/// What waits to be published, and when the next of it goes.
pub(super) struct Publishing {
    pace: Pace,
    /// Before the line: nobody would hear them yet.
    unheard: Unheard<Early>,
    line: Line<Outgoing>,
    sealing: Sealing<Due>,
    /// Whose message is next, and when the pace lets it go.
    next: Option<(Client, Instant)>,
    /// Fires then; never while nothing waits.
    timer: Timer,
    metrics: Arc<Metrics>,
}

impl Publishing {
    pub(super) fn new(
        pace: Pace,
        patience: Duration,
        sealer: Sealer,
        metrics: Arc<Metrics>,
    ) -> Self {
        Publishing {
            pace,
            unheard: Unheard::new(patience),
            line: Line::default(),
            sealing: Sealing::start(sealer, Due::is_wanted),
            next: None,
            timer: Timer::never(),
            metrics,
        }
    }

    /// What seals messages when their turn has come.
    pub(super) fn sealing(&self) -> &Sealing<Due> {
        &self.sealing
    }

    /// Sets the timer for the message whose turn is next. To be called whenever that
    /// may be another one, or the pace has changed.
    fn arm(&mut self, now: Instant) {
        let first = self.line.first();
        let first = first.map(|(client, message)| (client, message.bytes()));
        self.next = first.map(|(client, bytes)| (client, now + self.pace.wait(bytes, now)));
        self.timer = match self.next {
            Some((_, at)) => Timer::at(at),
            None => Timer::never(),
        };
    }

    /// Puts a message into the line.
    ///
    /// # Errors
    /// When too much waits; and the message back.
    fn push(
        &mut self,
        client: Client,
        message: Outgoing,
        now: Instant,
    ) -> Result<(), (Outgoing, Full)> {
        let (cost, size) = (self.pace.cost(message.bytes()), message.content.size());
        self.line.push(client, size, cost, message)?;
        // Its turn may be before that of a large message, which has to wait longer.
        self.arm(now);
        Ok(())
    }

    /// Comes to its end when there is something to do: the next message may go, or
    /// whoever published it has gone, and others have waited behind it.
    pub(super) fn turn(&mut self) -> impl Future<Output = ()> {
        poll_fn(|context| {
            let next = self.next.and_then(|(client, _)| self.line.first_of(client));
            if next.is_some_and(|next| next.to.reply.poll_canceled(context).is_ready()) {
                return Poll::Ready(());
            }
            Pin::new(&mut self.timer).poll(context).map(drop)
        })
    }
}

/// Whether a message that no peer hears may be heard by one in a moment. The
/// search for such a peer begins then. Programs on this host do not wait for others.
fn is_early(to: &Due, audience: &mut Audience, lent: &mut Lent<'_>) -> bool {
    let hash = to.topic.hash();
    if audience.is_heard(&hash) || lent.view.draining {
        return false;
    }
    audience.members.published(&hash, &to.name, lent);
    if lent.view.peers.len() == 0 {
        lent.wants(Effect::FindPeers);
        return true;
    }
    audience.members.is_looking(&hash, lent.view.now)
}

/// To how many peers a message would go now.
fn recipients(to: &Due, lent: &Lent<'_>) -> usize {
    lent.intake.recipients(&to.topic.hash())
}

impl Publishing {
    /// Publishes a message, now or when the pace allows it.
    pub(super) fn publish(
        &mut self,
        message: Publish,
        audience: &mut Audience,
        lent: &mut Lent<'_>,
    ) {
        let Publish {
            topic: name,
            content,
            client,
            reply,
        } = message;
        let now = lent.view.now;
        let to = Due {
            topic: IdentTopic::new(name.clone()),
            name,
            paid: false,
            waited: false,
            reply,
        };
        if !to.is_wanted() {
            return;
        }
        let size = content.size();
        if size > MAX_PUBLISH_BYTES {
            return to.refuse(format!(
                "the message of {size} bytes is over the {MAX_PUBLISH_BYTES} bytes that gossip carries"
            ));
        }
        let message = Outgoing { to, content };
        // Messages on its topic that came before it go before it.
        self.publish_unheard(audience, lent);
        let peers = recipients(&message.to, lent);
        if peers > 0 || !is_early(&message.to, audience, lent) {
            return self.publish_to(peers, client, message, audience, lent);
        }
        let alone = lent.view.peers.len() == 0;
        let early = Early {
            client,
            message,
            alone,
        };
        let topic = early.message.to.topic.hash();
        match self.unheard.push(topic, size, early, now) {
            Ok(()) => self.record_waiting(),
            Err(early) => self.publish_to(0, early.client, early.message, audience, lent),
        }
    }

    /// Publishes what waited for somebody who hears it, when a peer has subscribed to
    /// `topic`. A peer can send thousands of subscriptions a second, so those of topics
    /// on which nothing waits must cost next to nothing.
    pub(super) fn publish_heard(
        &mut self,
        topic: &TopicHash,
        audience: &mut Audience,
        lent: &mut Lent<'_>,
    ) {
        if self.unheard.has(topic) && lent.intake.recipients(topic) > 0 {
            self.publish_unheard(audience, lent);
        }
    }

    /// Publishes what waited for somebody who hears it and is heard now, or has
    /// waited for long enough. To be called when a search has ended, and once a second.
    pub(super) fn publish_unheard(&mut self, audience: &mut Audience, lent: &mut Lent<'_>) {
        if self.unheard.is_empty() {
            return;
        }
        let (now, draining) = (lent.view.now, lent.view.draining);
        let (listeners, intake) = (&*audience, &*lent.intake);
        let over = self.unheard.take(now, |early| {
            let hash = early.message.to.topic.hash();
            // A node that was alone looks for peers first, and then for members.
            let in_vain = draining || !early.alone && !listeners.members.is_looking(&hash, now);
            !early.message.to.is_wanted()
                || in_vain
                || listeners.is_heard(&hash)
                || intake.recipients(&hash) > 0
        });
        // Before they are answered; what goes on to wait for the pace is counted there.
        self.record_waiting();
        for early in over {
            let Early {
                client,
                mut message,
                ..
            } = early;
            if message.to.is_wanted() {
                message.to.waited = !draining;
                let peers = recipients(&message.to, lent);
                self.publish_to(peers, client, message, audience, lent);
            }
        }
    }

    /// Publishes a message that goes to so many peers, now or when the pace allows it.
    fn publish_to(
        &mut self,
        peers: usize,
        client: Client,
        message: Outgoing,
        audience: &mut Audience,
        lent: &mut Lent<'_>,
    ) {
        let now = lent.view.now;
        // A message that no peer takes needs no pace: it is for programs on this host, or
        // nobody hears it, which its program is told at once.
        let bytes = message.bytes();
        if peers == 0 || (self.line.is_empty() && self.pace.wait(bytes, now).is_zero()) {
            self.go(message, audience, lent);
            return;
        }
        match self.push(client, message, now) {
            Ok(()) => {
                self.metrics.gossip_publishes_paced.inc();
            }
            Err((message, full)) => {
                let reason = self.full(full);
                message.to.refuse(reason);
            }
        }
        self.record_waiting();
    }

    /// Why a message was not taken into the line, and what to do.
    fn full(&self, full: Full) -> String {
        let Full { messages, bytes } = full;
        let (message_rate, byte_rate) = self.pace.rates();
        // Rounded down; a slow pace is no standstill.
        let (message_rate, byte_rate) = (message_rate.max(1), byte_rate.max(1));
        let messages_a_second = match message_rate {
            1 => "1 message".into(),
            n => format!("{n} messages"),
        };
        format!(
            "{messages} messages ({bytes} bytes) of programs on this host wait already for \
             their turn, and no more are kept; this node publishes about {messages_a_second} and \
             {byte_rate} bytes a second, which is what its peers take of it (P2P_RATE_FILL, \
             P2P_RATE_BYTES_FILL); wait for the answer to each message before the next, or \
             publish from fewer programs at once"
        )
    }

    /// Hands on what may go now.
    pub(super) fn publish_next(&mut self, audience: &mut Audience, lent: &mut Lent<'_>) {
        let now = lent.view.now;
        for _ in 0..A_TURN {
            let Some((_, first)) = self.line.first() else {
                break;
            };
            // Nobody waits for the answer any more: it is taken out of the line.
            let gone = !first.to.is_wanted();
            if !gone && !self.pace.wait(first.bytes(), now).is_zero() {
                break;
            }
            if let Some(message) = self.line.pop(!gone)
                && !gone
            {
                self.go(message, audience, lent);
            }
        }
        self.arm(now);
        self.record_waiting();
    }

    /// Another pace from now on, after the budgets of peers have changed.
    pub(super) fn set_pace(&mut self, lent: &Lent<'_>) {
        let (messages, bytes) = lent.intake.takes();
        self.pace.set(messages, bytes, lent.view.now);
        self.arm(lent.view.now);
    }

    fn record_waiting(&self) {
        let waiting = self.line.len() + self.unheard.len();
        self.metrics.gossip_publishes_waiting.set(as_gauge(waiting));
    }

    /// Hands on a message whose turn it is, or has it sealed before.
    fn go(&mut self, message: Outgoing, audience: &mut Audience, lent: &mut Lent<'_>) {
        let bytes = message.bytes();
        let Outgoing { mut to, content } = message;
        let packed = match content {
            Content::Plain(data) => return self.hand_on(to, data, None, audience, lent),
            Content::Packed { packed, .. } => packed,
        };
        if !self.sealing.has_room(&packed) {
            return to.refuse(
                "too many messages of programs on this host wait already for a sequence number, \
                 since the disk does not answer; see `p2p-node diag`, and publish it again later"
                    .into(),
            );
        }
        // Its time is taken now, so that no message behind it gets it while it is sealed.
        if recipients(&to, lent) > 0 {
            self.pace.spend(bytes, lent.view.now);
            to.paid = true;
        }
        // Dropped unanswered when the task has ended, and then the loop ends too.
        let _ = self.sealing.push(to.name.clone(), packed, to);
    }

    /// Hands on a message that has been sealed.
    pub(super) fn sealed(
        &mut self,
        done: Sealed<Due>,
        audience: &mut Audience,
        lent: &mut Lent<'_>,
    ) {
        self.sealing.settle(&done);
        let Sealed {
            packed,
            what: to,
            result,
        } = done;
        match result {
            Some(Ok((number, envelope))) => {
                let payload = packed.into_clear();
                let own = Own { payload, number };
                self.hand_on(to, envelope.into(), Some(own), audience, lent);
            }
            Some(Err(e)) => to.refuse(e.to_string()),
            // Nobody waits for it any more. Its time is spent, its number is not.
            None => {}
        }
    }

    /// Hands a message to gossipsub, which carries `data`, and to the subscribers on
    /// this host, and answers to how many it went.
    fn hand_on(
        &mut self,
        to: Due,
        data: Vec<u8>,
        own: Option<Own>,
        audience: &mut Audience,
        lent: &mut Lent<'_>,
    ) {
        let (now, local) = (lent.view.now, lent.view.local);
        let bytes = cost(data.len());
        let Due {
            topic,
            name,
            paid,
            waited,
            reply,
        } = to;
        let hash = topic.hash();
        audience.members.published(&hash, &name, lent);
        let peers = lent.intake.recipients(&hash);
        // Subscribers get the message in clear; a copy of the wire form is only
        // needed when the two are the same.
        let (sent, data) = match &own {
            Some(_) => (lent.intake.publish(topic, data, now), Vec::new()),
            None => (lent.intake.publish(topic, data.clone(), now), data),
        };
        let seqno = sent.as_ref().ok().and_then(|id| {
            let tail = id.0.len().checked_sub(8)?;
            Some(u64::from_be_bytes(id.0.get(tail..)?.try_into().ok()?))
        });
        let refused = |reason: String| Error::Gossip {
            what: "publish",
            topic: name.clone(),
            reason,
        };
        let nobody = matches!(sent, Err(PublishError::NoPeersSubscribedToTopic));
        if !nobody && !paid {
            self.pace.spend(bytes, now);
        }
        if nobody && lent.view.peers.len() == 0 {
            lent.wants(Effect::EnterNetwork);
        }
        let result = match sent {
            Ok(_) => Ok(peers),
            Err(PublishError::Duplicate) => Ok(0),
            Err(PublishError::NoPeersSubscribedToTopic) => {
                Err(refused(match lent.view.peers.len() {
                    0 if waited => format!(
                        "no peer is connected, and none was found within {} s; the node goes on \
                     trying its bootstrap peers and those that it knows",
                        self.unheard.patience().as_secs()
                    ),
                    0 => "no peer is connected; the node is trying its bootstrap peers".into(),
                    _ => {
                        "no connected peer subscribes to it; the node looks for others through the \
                      DHT, so try again in some seconds"
                            .into()
                    }
                }))
            }
            Err(PublishError::AllQueuesFull(peers)) => Err(refused(format!(
                "the queues of all {peers} peers that subscribe to it are full, since they take \
                 no messages at present; publish it again later"
            ))),
            Err(e) => Err(refused(e.to_string())),
        };
        if result.is_ok() {
            self.metrics.traffic.message(Direction::Out, "gossip");
        }
        // Programs on this host hear each other through the topic too; what was
        // refused is told to nobody.
        let listeners = if result.is_err() && !nobody {
            0
        } else {
            audience.deliver(&hash, |name| match own {
                Some(own) => Message {
                    from: Some(local),
                    data: own.payload,
                    seqno: Some(own.number),
                    topic: name.to_owned(),
                },
                None => Message {
                    from: Some(local),
                    data: data.into(),
                    seqno,
                    topic: name.to_owned(),
                },
            })
        };
        let listeners = listeners as u64;
        let _ = reply.send(match result {
            Err(_) if nobody && listeners > 0 => Ok(Published {
                peers: 0,
                listeners,
            }),
            result => result.map(|peers| Published {
                peers: peers as u64,
                listeners,
            }),
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::oneshot::{Receiver, channel};
    use libp2p::identity::Keypair;

    use super::*;
    use crate::gossip::envelope_limits;
    use crate::node::gossip::signed::Numbers;
    use crate::peers::bucket::Budget;
    use crate::telemetry::Register as _;

    const FAR: Duration = Duration::from_secs(3600);

    fn publishing(now: Instant) -> Publishing {
        let messages = Budget {
            burst: 1000,
            fill: 1000,
        };
        // At 45 bytes a second a large message waits for hours.
        let bytes = Budget {
            burst: 4 << 20,
            fill: 100,
        };
        let key = Keypair::generate_ed25519();
        let sealer = Sealer::new(key, Numbers::unstored(), envelope_limits());
        let pace = Pace::new(messages, bytes, now);
        let mut publishing = Publishing::new(pace, FAR, sealer, Metrics::new().unwrap());
        publishing.pace.spend(1 << 20, now);
        publishing
    }

    fn message(bytes: usize) -> (Outgoing, Receiver<Result<Published, Error>>) {
        let (reply, answer) = channel();
        let to = Due {
            topic: IdentTopic::new("t"),
            name: "t".into(),
            paid: false,
            waited: false,
            reply,
        };
        let content = Content::Plain(vec![0; bytes]);
        (Outgoing { to, content }, answer)
    }

    #[test]
    fn a_small_message_whose_turn_is_first_does_not_wait_until_a_large_one_may_go() {
        let now = Instant::now();
        let mut publishing = publishing(now);
        let ((large, _large), (small, _small)) = (message(1 << 20), message(64));
        assert!(publishing.push(2, large, now).is_ok());
        assert!(publishing.next.is_some_and(|(_, at)| at > now + FAR));
        assert!(publishing.push(1, small, now).is_ok());
        assert_eq!(publishing.next, Some((1, now)));
    }

    #[test]
    fn a_program_that_hangs_up_keeps_nobody_waiting_for_the_turn_of_its_message() {
        let now = Instant::now();
        let mut publishing = publishing(now);
        let ((large, answer), (small, _small)) = (message(1 << 20), message(64));
        assert!(publishing.push(1, large, now).is_ok());
        assert!(publishing.push(2, small, now).is_ok());
        assert!(publishing.next.is_some_and(|(_, at)| at > now + FAR));
        let hangs_up = async { drop(answer) };
        let both = futures::future::join(publishing.turn(), hangs_up);
        let both = async_std::future::timeout(Duration::from_secs(10), both);
        async_std::task::block_on(both).expect("the loop is woken");
    }
}
