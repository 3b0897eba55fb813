//! The gossip topics that this node has joined, and who on this host listens.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_std::channel::{Sender, unbounded};
use libp2p::gossipsub::TopicHash;

use super::handle::{GossipMessage, SUBSCRIPTION_QUEUE, Subscription};

/// Topics joined at once. Each costs a mesh and its heartbeat's work; a program
/// that wants thousands of channels wants them inside one topic.
pub(super) const MAX_TOPICS: usize = 256;

/// Longest topic name; a name travels with every message.
pub(super) const MAX_TOPIC_BYTES: usize = 1024;

#[derive(Debug)]
struct Subscriber {
    queue: Sender<Arc<GossipMessage>>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Topic {
    name: String,
    /// Joined by configuration: stays without subscribers.
    permanent: bool,
    subscribers: Vec<Subscriber>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Topics {
    map: HashMap<TopicHash, Topic>,
}

impl Topics {
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn contains(&self, topic: &TopicHash) -> bool {
        self.map.contains_key(topic)
    }

    /// Keeps a topic joined without subscribers.
    pub(super) fn keep(&mut self, hash: TopicHash, name: String) {
        self.map
            .entry(hash)
            .or_insert_with(|| Topic {
                name,
                permanent: true,
                subscribers: Vec::new(),
            })
            .permanent = true;
    }

    /// The configuration names a topic no more: it goes with its last subscriber,
    /// at the next look for abandoned ones.
    pub(super) fn release(&mut self, hash: &TopicHash) {
        if let Some(topic) = self.map.get_mut(hash) {
            topic.permanent = false;
        }
    }

    /// Adds a subscriber; the caller joins the mesh when the topic is new.
    pub(super) fn subscribe(&mut self, hash: TopicHash, name: String) -> Subscription {
        // Grows with what waits, up to the bound, which `deliver` keeps: the loop is
        // the only one that sends.
        let (queue, messages) = unbounded();
        let dropped = Arc::new(AtomicU64::new(0));
        let subscriber = Subscriber {
            queue,
            dropped: dropped.clone(),
        };
        self.map
            .entry(hash)
            .or_insert_with(|| Topic {
                name: name.clone(),
                permanent: false,
                subscribers: Vec::new(),
            })
            .subscribers
            .push(subscriber);
        Subscription {
            topic: name,
            messages,
            dropped,
        }
    }

    /// Hands a message to every subscriber of its topic; says how many there are.
    /// A full queue loses the message and counts it: the loop waits for nobody.
    pub(super) fn deliver(
        &mut self,
        hash: &TopicHash,
        make: impl FnOnce(&str) -> GossipMessage,
    ) -> usize {
        let Some(topic) = self.map.get_mut(hash) else {
            return 0;
        };
        topic.subscribers.retain(|s| !s.queue.is_closed());
        if topic.subscribers.is_empty() {
            return 0;
        }
        let message = Arc::new(make(&topic.name));
        for subscriber in &topic.subscribers {
            if subscriber.queue.len() >= SUBSCRIPTION_QUEUE {
                subscriber.dropped.fetch_add(1, Ordering::Relaxed);
            } else {
                // Who has gone in this moment hears nothing more.
                let _ = subscriber.queue.try_send(message.clone());
            }
        }
        topic.subscribers.len()
    }

    /// Whether somebody on this host listens to a topic.
    pub(super) fn is_heard(&self, hash: &TopicHash) -> bool {
        let listens = |s: &Subscriber| !s.queue.is_closed();
        let topic = self.map.get(hash);
        topic.is_some_and(|t| t.subscribers.iter().any(listens))
    }

    /// Drops subscribers that have gone, and returns the topics that nobody
    /// wants any more.
    pub(super) fn abandoned(&mut self) -> Vec<TopicHash> {
        let mut gone = Vec::new();
        for (hash, topic) in &mut self.map {
            topic.subscribers.retain(|s| !s.queue.is_closed());
            if topic.subscribers.is_empty() && !topic.permanent {
                gone.push(hash.clone());
            }
        }
        for hash in &gone {
            self.map.remove(hash);
        }
        gone
    }

    /// Every topic, by hash and name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&TopicHash, &str)> {
        self.map
            .iter()
            .map(|(hash, topic)| (hash, topic.name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::gossipsub::IdentTopic;

    fn message(topic: &str) -> GossipMessage {
        GossipMessage {
            from: None,
            data: vec![1].into(),
            seqno: None,
            topic: topic.into(),
            signature: None,
            key: None,
        }
    }

    #[test]
    fn a_slow_subscriber_loses_messages_and_others_do_not() {
        let mut topics = Topics::default();
        let hash = IdentTopic::new("t").hash();
        let slow = topics.subscribe(hash.clone(), "t".into());
        let quick = topics.subscribe(hash.clone(), "t".into());
        for _ in 0..SUBSCRIPTION_QUEUE + 5 {
            assert_eq!(topics.deliver(&hash, message), 2);
            quick.messages.try_recv().unwrap();
        }
        assert_eq!(slow.dropped(), 5);
        assert_eq!(quick.dropped(), 0);
    }

    #[test]
    fn a_topic_is_left_with_its_last_subscriber_unless_configured() {
        let mut topics = Topics::default();
        let (a, b) = (IdentTopic::new("a").hash(), IdentTopic::new("b").hash());
        topics.keep(b.clone(), "b".into());
        let first = topics.subscribe(a.clone(), "a".into());
        let second = topics.subscribe(a.clone(), "a".into());
        drop(topics.subscribe(b, "b".into()));
        drop(first);
        assert!(topics.abandoned().is_empty());
        drop(second);
        assert_eq!(topics.abandoned(), vec![a]);
        assert_eq!(topics.len(), 1);
    }

    #[test]
    fn a_configured_topic_keeps_its_subscribers_when_it_comes_and_goes() {
        let mut topics = Topics::default();
        let hash = IdentTopic::new("a").hash();
        let here = topics.subscribe(hash.clone(), "a".into());
        topics.keep(hash.clone(), "a".into());
        assert_eq!(topics.deliver(&hash, message), 1);
        topics.release(&hash);
        assert!(topics.abandoned().is_empty());
        drop(here);
        assert_eq!(topics.abandoned(), vec![hash]);
    }
}
