//! Gossip: topics, messages and subscriptions.

use bytes::Bytes;
use libp2p::PeerId;

use super::{Client, Error, Kind, request};
use crate::api::{Message, Published};
use crate::control::{pb, wire};

impl Client {
    /// Returns the topics that this node has joined.
    pub async fn topics(&mut self) -> Result<Vec<String>, Error> {
        let answer = self
            .pubsub(pubsub(pb::ps_request::Type::GetTopics, None))
            .await?;
        Ok(answer.pubsub.unwrap_or_default().topics)
    }

    /// Returns the peers that are known to be subscribed to `topic`.
    pub async fn topic_peers(&mut self, topic: &str) -> Result<Vec<PeerId>, Error> {
        let answer = self
            .pubsub(pubsub(pb::ps_request::Type::ListPeers, Some(topic)))
            .await?;
        let list = answer.pubsub.unwrap_or_default().peer_i_ds;
        Ok(list
            .iter()
            .map(|b| wire::peer_id("peerIDs", b))
            .collect::<Result<_, _>>()?)
    }

    /// Publishes `data` on `topic`. Returns how many received it, unless the daemon's
    /// version does not report this. When more is published than peers can take, this
    /// waits.
    pub async fn publish(&mut self, topic: &str, data: Bytes) -> Result<Option<Published>, Error> {
        let mut ask = pubsub(pb::ps_request::Type::Publish, Some(topic));
        ask.data = Some(data);
        let answer = self.pubsub(ask).await?;
        Ok(answer.published.map(|published| Published {
            peers: published.peers.unwrap_or_default(),
            listeners: published.listeners.unwrap_or_default(),
        }))
    }

    /// Subscribes to `topics`. From then on the connection carries nothing else; dropping
    /// the subscription ends it.
    pub async fn subscribe(mut self, topics: &[&str]) -> Result<Subscription, Error> {
        let Some((first, more)) = topics.split_first() else {
            return Err(Error::Refused(
                "name at least one topic to subscribe to".into(),
            ));
        };
        let mut ask = pubsub(pb::ps_request::Type::Subscribe, Some(first));
        ask.more_topics = more.iter().map(|t| (*t).to_owned()).collect();
        self.pubsub(ask).await?;
        Ok(Subscription { client: self })
    }

    async fn pubsub(&mut self, ask: pb::PsRequest) -> Result<pb::Response, Error> {
        self.ask(pb::Request {
            pubsub: Some(ask),
            ..request(Kind::Pubsub)
        })
        .await
    }
}

fn pubsub(kind: pb::ps_request::Type, topic: Option<&str>) -> pb::PsRequest {
    pb::PsRequest {
        r#type: kind as i32,
        topic: topic.map(str::to_owned),
        ..Default::default()
    }
}

/// Gossip messages as they arrive, from [`Client::subscribe`].
#[derive(Debug)]
pub struct Subscription {
    client: Client,
}

impl Subscription {
    /// Returns the next message.
    ///
    /// # Errors
    /// Returns [`Error::HungUp`] when the daemon has ended, or when this reader was so
    /// slow that the daemon closed the connection.
    pub async fn next(&mut self) -> Result<Message, Error> {
        let message: pb::PsMessage = self.client.read().await?;
        Ok(Message::from_pb(message)?)
    }
}
