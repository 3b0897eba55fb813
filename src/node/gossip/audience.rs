//! Who hears what is published on a topic: the programs on this host that listen to it,
//! and the peers that are on it.

use std::collections::HashSet;
use std::sync::Arc;

use libp2p::PeerId;
use libp2p::gossipsub::{IdentTopic, TopicHash};

use super::Intake;
use super::lent::Lent;
use super::membership::Membership;
use super::subscriber::Subscriber;
use super::subscription::Subscription;
use crate::api::{Message, TopicStatus};
use crate::gossip::members::Members;
use crate::gossip::topics::{MAX_TOPIC_BYTES, MAX_TOPICS, Topics};
use crate::node::error::Error;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Audience {
    topics: Topics<Subscriber>,
    pub(super) members: Membership,
}

impl Audience {
    pub(super) fn new(members: Members) -> Self {
        Audience {
            topics: Topics::default(),
            members: Membership::new(members),
        }
    }

    /// A program on this host wants to hear a topic, which is joined for it.
    ///
    /// # Errors
    /// [`Error::Gossip`], when the topic has no proper name or cannot be joined.
    pub(super) fn subscribe(
        &mut self,
        topic: String,
        lent: &mut Lent<'_>,
    ) -> Result<Subscription, Error> {
        let refuse = |reason: String| Error::Gossip {
            what: "subscribe",
            topic: topic.clone(),
            reason,
        };
        if topic.is_empty() || topic.len() > MAX_TOPIC_BYTES {
            return Err(refuse(format!("a topic has 1 to {MAX_TOPIC_BYTES} bytes")));
        }
        let ident = IdentTopic::new(topic.clone());
        if !self.topics.contains(&ident.hash()) {
            if self.topics.len() >= MAX_TOPICS {
                return Err(refuse(format!(
                    "this node has joined {MAX_TOPICS} topics already, the most that one node may"
                )));
            }
            let joined = lent.intake.join(&ident);
            joined.map_err(|e| refuse(e.to_string()))?;
        }
        let (subscriber, subscription) = Subscriber::new(topic.clone());
        self.topics.listen(ident.hash(), &topic, subscriber);
        self.members.joined(&ident.hash(), &topic, lent);
        Ok(subscription)
    }

    /// Joins a topic of the configuration, and stays on it without listeners.
    pub(super) fn keep(&mut self, name: &str, lent: &mut Lent<'_>) {
        let topic = IdentTopic::new(name);
        if self.topics.contains(&topic.hash()) {
            self.topics.keep(topic.hash(), name.to_owned());
            return;
        }
        match lent.intake.join(&topic) {
            Ok(()) => {
                self.topics.keep(topic.hash(), name.to_owned());
                self.members.joined(&topic.hash(), name, lent);
            }
            Err(e) => log::warn!(topic:% = name, error:% = e; "cannot join topic"),
        }
    }

    /// The configuration names other topics than `before`.
    pub(super) fn adjust(&mut self, before: &[String], topics: &[String], lent: &mut Lent<'_>) {
        for name in before {
            if !topics.contains(name) {
                self.topics.release(&IdentTopic::new(name).hash());
            }
        }
        for name in topics {
            self.keep(name, lent);
        }
        self.leave_abandoned(lent);
    }

    /// Leaves the topics that nobody on this host wants any more.
    pub(super) fn leave_abandoned(&mut self, lent: &mut Lent<'_>) {
        for topic in self.topics.abandoned() {
            self.leave(topic, lent);
        }
    }

    /// Leaves the meshes of all topics, whose listeners hear what still comes.
    pub(super) fn leave_all(&mut self, lent: &mut Lent<'_>) {
        let topics: Vec<TopicHash> = self.topics.iter().map(|(h, _)| h.clone()).collect();
        for topic in topics {
            self.leave(topic, lent);
        }
    }

    fn leave(&mut self, topic: TopicHash, lent: &mut Lent<'_>) {
        self.members.left(&topic, lent);
        lent.intake.leave(&IdentTopic::new(topic.into_string()));
    }

    /// Hands a message to every listener of its topic; says how many there are.
    pub(super) fn deliver(
        &mut self,
        hash: &TopicHash,
        make: impl FnOnce(&str) -> Message,
    ) -> usize {
        let Some((name, subscribers)) = self.topics.listeners(hash) else {
            return 0;
        };
        let message = Arc::new(make(name));
        for subscriber in subscribers {
            subscriber.deliver(&message);
        }
        subscribers.len()
    }

    /// Whether a program on this host listens to a topic.
    pub(super) fn is_heard(&self, hash: &TopicHash) -> bool {
        self.topics.is_heard(hash)
    }

    /// Topics joined.
    pub(super) fn count(&self) -> usize {
        self.topics.len()
    }

    /// The names of the topics that are joined.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().map(|(_, name)| name)
    }

    /// The connected peers that are on a topic that is joined here.
    pub(super) fn peers(&self, intake: &Intake) -> HashSet<PeerId> {
        intake
            .all_peers()
            .filter(|(_, topics)| topics.iter().any(|t| self.topics.contains(t)))
            .map(|(peer, _)| *peer)
            .collect()
    }

    /// Each topic with its mesh, and the connected peers that are on it.
    pub(super) fn status(&self, intake: &Intake) -> Vec<TopicStatus> {
        let mut topics: Vec<TopicStatus> = self
            .topics
            .iter()
            .map(|(hash, name)| TopicStatus {
                topic: name.to_owned(),
                mesh_peers: intake.mesh_peers(hash).count() as u64,
                peers: intake
                    .all_peers()
                    .filter(|(_, t)| t.contains(&hash))
                    .count() as u64,
            })
            .collect();
        topics.sort_by(|a, b| a.topic.cmp(&b.topic));
        topics
    }
}
