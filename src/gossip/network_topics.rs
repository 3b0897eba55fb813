//! Which topics are this network's own.
//!
//! A topic whose name begins with `/<P2P_NETWORK>/` is one of this network's own:
//! what is published on it is sealed ([`crate::message::envelope`]), and nobody
//! sees it before its signature, its number and its size were found right. All
//! others belong to whatever application uses them, and travel as that
//! application writes them.

/// The topics of one network.
#[derive(Clone, Debug)]
pub(crate) struct NetworkTopics {
    prefix: String,
}

impl NetworkTopics {
    /// Those of `network`.
    pub(crate) fn of(network: &str) -> Self {
        NetworkTopics {
            prefix: format!("/{network}/"),
        }
    }

    /// Whether this topic is one of them, so that its messages travel in envelopes.
    pub(crate) fn contains(&self, topic: &str) -> bool {
        topic.starts_with(&self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_topics_below_the_name_of_the_network_are_its_own() {
        let topics = NetworkTopics::of("net");
        assert!(topics.contains("/net/chat"));
        assert!(topics.contains("/net/"));
        for other in [
            "/net",
            "/network/chat",
            "net/chat",
            "chat",
            "/x/net/chat",
            "",
        ] {
            assert!(!topics.contains(other), "{other}");
        }
    }
}
