//! What the rest of the program can ask of gossip.

use libp2p::PeerId;

use super::Handle;
use crate::api::Published;
use crate::node::command::Command;
use crate::node::error::Error;
use crate::node::gossip::{Content, Publish, Subscription};

impl Handle {
    /// Joins a topic, or joins in when this node is there already.
    ///
    /// # Errors
    /// [`Error::Gossip`] when the topic's name is too long or too many are joined.
    pub async fn subscribe(&self, topic: String) -> Result<Subscription, Error> {
        self.ask(|reply| Command::Subscribe { topic, reply }).await
    }

    /// Publishes to a topic, joined or not. On a topic of this network
    /// (`/<P2P_NETWORK>/…`) the message is packed here first, in the caller's task,
    /// and gets its sequence number and a signature when its turn has come.
    ///
    /// Answers when the message has been handed on, which takes its time when more
    /// is published than peers take of this node: so whoever waits for the answer
    /// before publishing the next message loses none, and the messages go in order.
    /// Dropping the future takes a message that still waits out of the line.
    ///
    /// # Errors
    /// [`Error::Gossip`] when nobody listens, the message is too large, or too many
    /// wait already.
    pub async fn publish(&self, topic: String, data: Vec<u8>) -> Result<Published, Error> {
        let content = if self.network_topics.contains(&topic) {
            let packed = self.sealer.pack(data.into()).map_err(|e| Error::Gossip {
                what: "publish",
                topic: topic.clone(),
                reason: e.to_string(),
            })?;
            let envelope = self.sealer.envelope_size(&packed);
            Content::Packed { packed, envelope }
        } else {
            Content::Plain(data)
        };
        self.ask(|reply| {
            Command::Publish(Publish {
                topic,
                content,
                client: self.client,
                reply,
            })
        })
        .await
    }

    /// Topics that this node has joined.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn topics(&self) -> Result<Vec<String>, Error> {
        self.ask(|reply| Command::Topics { reply }).await
    }

    /// Connected peers that subscribe to a topic, or to any.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn topic_peers(&self, topic: Option<String>) -> Result<Vec<PeerId>, Error> {
        self.ask(|reply| Command::TopicPeers { topic, reply }).await
    }
}
