//! How many received a published message.

/// How many received a published message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The number of connected peers for which it was queued. These are all that
    /// subscribe to the topic, except for those with a very low gossip score.
    pub peers: u64,
    /// The number of programs on the daemon's host that subscribe to the topic.
    pub listeners: u64,
}
