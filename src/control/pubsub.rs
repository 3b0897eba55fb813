//! PUBSUB: topics, their peers, publishing, and subscriptions, which turn the connection
//! into a stream of messages.
//!
//! A publish request is answered when its message has been passed on. Until then nothing
//! more is read from this connection. In this way a program that publishes faster than
//! peers take messages is slowed down, and no other program is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::{Either, select};
use futures::pin_mut;
use futures::stream::{SelectAll, StreamExt, unfold};

use super::pb;
use super::pb::ps_request::Type;
use super::session::{End, Failure, Session, ok};
use super::socket::client_ends;
use super::wire;
use crate::api::Message;
use crate::node::Subscription;

/// The maximum number of topics of one subscription. A program that wants more opens
/// another connection.
const MAX_TOPICS: usize = 64;

/// The shortest time between two log lines about losses. The losses are always counted.
const LOSS_LOG: Duration = Duration::from_secs(60);

impl Session {
    pub(super) async fn pubsub(&mut self, ask: pb::PsRequest) -> Result<(), End> {
        let kind = Type::try_from(ask.r#type);
        if matches!(kind, Ok(Type::Subscribe)) {
            return match self.join(ask).await {
                Ok(subscriptions) => self.deliver(subscriptions).await,
                Err(e) => self.reply(Err(e)).await,
            };
        }
        let handle = self.publisher.clone();
        let topic = ask
            .topic
            .ok_or_else(|| Failure::from("malformed request: topic is missing"));
        let result = async {
            let pubsub = match kind {
                Ok(Type::GetTopics) => pb::PsResponse {
                    topics: handle.topics().await?,
                    peer_i_ds: Vec::new(),
                },
                Ok(Type::ListPeers) => {
                    let peers = handle.topic_peers(Some(topic?)).await?;
                    let peer_i_ds = peers.iter().map(wire::id_bytes).collect();
                    pb::PsResponse {
                        topics: Vec::new(),
                        peer_i_ds,
                    }
                }
                Ok(Type::Publish) => {
                    let data = ask.data.unwrap_or_default().into();
                    let published = handle.publish(topic?, data).await?;
                    return Ok(pb::Response {
                        published: Some(pb::PublishResponse {
                            peers: Some(published.peers),
                            listeners: Some(published.listeners),
                        }),
                        ..ok()
                    });
                }
                _ => return Err("unknown kind of PUBSUB request".into()),
            };
            Ok(pb::Response {
                pubsub: Some(pubsub),
                ..ok()
            })
        };
        // The message of a client that hangs up is removed from the queue.
        let result = self.attend(result).await?;
        self.reply(result).await
    }

    async fn join(&mut self, ask: pb::PsRequest) -> Result<Vec<Subscription>, Failure> {
        let topics: Vec<String> = ask.topic.into_iter().chain(ask.more_topics).collect();
        if topics.is_empty() {
            return Err("malformed request: topic is missing".into());
        }
        if topics.len() > MAX_TOPICS {
            return Err(Failure(format!(
                "{} topics are more than the {MAX_TOPICS} of one subscription; open another connection",
                topics.len()
            )));
        }
        let mut subscriptions = Vec::with_capacity(topics.len());
        for topic in topics {
            subscriptions.push(self.shared.node.handle.subscribe(topic).await?);
        }
        Ok(subscriptions)
    }

    /// Passes messages on until the client ends its direction, which is how it
    /// unsubscribes, or until it has not read for so long that it is cut off. While the
    /// client is slow, messages wait in the subscription's bounded queue. Messages that
    /// do not fit there are lost for this client only.
    async fn deliver(&mut self, subscriptions: Vec<Subscription>) -> Result<(), End> {
        self.answer(&ok()).await?;
        let mut messages: SelectAll<_> = subscriptions
            .into_iter()
            .map(|s| {
                unfold((s, Losses::default()), |(mut s, mut losses)| async move {
                    let message = s.next().await?;
                    losses.note(&s, Instant::now());
                    Some((message, (s, losses)))
                })
                .boxed()
            })
            .collect();
        loop {
            let next = {
                let ends = client_ends(&mut self.channel);
                pin_mut!(ends);
                match select(messages.next(), ends).await {
                    Either::Left((next, _)) => next,
                    Either::Right(_) => return Err(End::Over),
                }
            };
            match next {
                Some(message) => self.answer(&wire(&message)).await?,
                // The node has stopped.
                None => return Err(End::Over),
            }
        }
    }
}

/// The messages that a slow client has lost.
#[derive(Default)]
struct Losses {
    known: u64,
    logged: Option<Instant>,
}

impl Losses {
    /// Logs what has been lost since the last time, at most once per [`LOSS_LOG`].
    fn note(&mut self, subscription: &Subscription, now: Instant) {
        let lost = subscription.dropped();
        let rested = |at| now.saturating_duration_since(at) >= LOSS_LOG;
        if lost > self.known && self.logged.is_none_or(rested) {
            log::warn!(
                topic = subscription.topic(), lost = lost - self.known;
                "a subscriber on the control socket is too slow and loses messages"
            );
            self.known = lost;
            self.logged = Some(now);
        }
    }
}

fn wire(message: &Arc<Message>) -> pb::PsMessage {
    pb::PsMessage {
        from: message.from.as_ref().map(wire::id_bytes),
        data: Some(message.data.clone()),
        // These are eight bytes in big-endian order, as in the gossipsub specification.
        seqno: message
            .seqno
            .map(|n| Bytes::copy_from_slice(&n.to_be_bytes())),
        topic_i_ds: vec![message.topic.clone()],
        // These are fields of the public format. The daemon verifies messages when they
        // arrive, and keeps neither field.
        signature: None,
        key: None,
    }
}
