//! The gossip topics that this node has joined, and who on this host listens.

use std::collections::HashMap;

use libp2p::gossipsub::TopicHash;

/// Topics joined at once. Each costs a mesh and its heartbeat's work; a program
/// that wants thousands of channels wants them inside one topic.
pub(crate) const MAX_TOPICS: usize = 256;

/// Longest topic name; a name travels with every message.
pub(crate) const MAX_TOPIC_BYTES: usize = 1024;

/// A program on this host that listens to a topic.
pub(crate) trait Listener {
    /// Whether it listens no more.
    fn is_gone(&self) -> bool;
}

#[derive(Debug)]
struct Topic<L> {
    name: String,
    /// Joined by configuration: stays without listeners.
    permanent: bool,
    listeners: Vec<L>,
}

/// See the module's documentation. `L` is a listener.
#[derive(Debug)]
pub(crate) struct Topics<L> {
    map: HashMap<TopicHash, Topic<L>>,
}

impl<L> Default for Topics<L> {
    fn default() -> Self {
        Topics {
            map: HashMap::new(),
        }
    }
}

impl<L: Listener> Topics<L> {
    /// Topics joined.
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether a topic is joined.
    pub(crate) fn contains(&self, topic: &TopicHash) -> bool {
        self.map.contains_key(topic)
    }

    /// Keeps a topic joined without listeners.
    pub(crate) fn keep(&mut self, hash: TopicHash, name: String) {
        self.map
            .entry(hash)
            .or_insert_with(|| Topic {
                name,
                permanent: true,
                listeners: Vec::new(),
            })
            .permanent = true;
    }

    /// The configuration names a topic no more: it goes with its last listener,
    /// at the next look for abandoned ones.
    pub(crate) fn release(&mut self, hash: &TopicHash) {
        if let Some(topic) = self.map.get_mut(hash) {
            topic.permanent = false;
        }
    }

    /// Adds a listener; the caller joins the mesh when the topic is new.
    pub(crate) fn listen(&mut self, hash: TopicHash, name: &str, listener: L) {
        self.map
            .entry(hash)
            .or_insert_with(|| Topic {
                name: name.to_owned(),
                permanent: false,
                listeners: Vec::new(),
            })
            .listeners
            .push(listener);
    }

    /// The name of a topic and those who listen to it; `None` when nobody does.
    pub(crate) fn listeners(&mut self, hash: &TopicHash) -> Option<(&str, &[L])> {
        let topic = self.map.get_mut(hash)?;
        topic.listeners.retain(|l| !l.is_gone());
        let listeners = topic.listeners.as_slice();
        (!listeners.is_empty()).then_some((&topic.name, listeners))
    }

    /// Whether somebody on this host listens to a topic.
    pub(crate) fn is_heard(&self, hash: &TopicHash) -> bool {
        let topic = self.map.get(hash);
        topic.is_some_and(|t| t.listeners.iter().any(|l| !l.is_gone()))
    }

    /// Drops listeners that have gone, and returns the topics that nobody wants any
    /// more, which are left.
    pub(crate) fn abandoned(&mut self) -> Vec<TopicHash> {
        let mut gone = Vec::new();
        for (hash, topic) in &mut self.map {
            topic.listeners.retain(|l| !l.is_gone());
            if topic.listeners.is_empty() && !topic.permanent {
                gone.push(hash.clone());
            }
        }
        for hash in &gone {
            self.map.remove(hash);
        }
        gone
    }

    /// Every topic, by hash and name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicHash, &str)> {
        self.map
            .iter()
            .map(|(hash, topic)| (hash, topic.name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use libp2p::gossipsub::IdentTopic;

    /// Listens until it is told to go.
    #[derive(Clone, Default)]
    struct Program(Rc<Cell<bool>>);

    impl Program {
        fn go(&self) {
            self.0.set(true);
        }
    }

    impl Listener for Program {
        fn is_gone(&self) -> bool {
            self.0.get()
        }
    }

    fn listen(topics: &mut Topics<Program>, hash: &TopicHash) -> Program {
        let program = Program::default();
        topics.listen(hash.clone(), hash.as_str(), program.clone());
        program
    }

    fn count(topics: &mut Topics<Program>, hash: &TopicHash) -> usize {
        topics.listeners(hash).map_or(0, |(_, all)| all.len())
    }

    #[test]
    fn a_topic_is_left_with_its_last_subscriber_unless_configured() {
        let mut topics = Topics::default();
        let (a, b) = (IdentTopic::new("a").hash(), IdentTopic::new("b").hash());
        topics.keep(b.clone(), "b".into());
        let first = listen(&mut topics, &a);
        let second = listen(&mut topics, &a);
        listen(&mut topics, &b).go();
        first.go();
        assert!(topics.abandoned().is_empty());
        assert!(topics.is_heard(&a) && !topics.is_heard(&b));
        second.go();
        assert_eq!(topics.abandoned(), vec![a]);
        assert_eq!(topics.len(), 1);
    }

    #[test]
    fn a_configured_topic_keeps_its_subscribers_when_it_comes_and_goes() {
        let mut topics = Topics::default();
        let hash = IdentTopic::new("a").hash();
        let here = listen(&mut topics, &hash);
        topics.keep(hash.clone(), "a".into());
        assert_eq!(count(&mut topics, &hash), 1);
        topics.release(&hash);
        assert!(topics.abandoned().is_empty());
        here.go();
        assert_eq!(count(&mut topics, &hash), 0);
        assert_eq!(topics.abandoned(), vec![hash]);
    }
}
