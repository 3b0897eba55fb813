//! What a program on this host asks to be published.

use crate::api::Published;
use crate::gossip::line::Client;
use crate::message::Packed;
use crate::node::reply::Reply;

/// What a program on this host asks to be published.
pub(in crate::node) struct Publish {
    /// On which topic.
    pub(in crate::node) topic: String,
    pub(in crate::node) content: Content,
    /// Whose message it is.
    pub(in crate::node) client: Client,
    /// Where the answer goes.
    pub(in crate::node) reply: Reply<Published>,
}

/// What is published.
pub(in crate::node) enum Content {
    /// What gossipsub carries.
    Plain(Vec<u8>),
    /// What is sealed into an envelope when its turn has come.
    Packed {
        /// The payload.
        packed: Packed,
        /// The bytes of the envelope, at most.
        envelope: usize,
    },
}

impl Content {
    /// The bytes that gossipsub carries, at most.
    pub(in crate::node) fn size(&self) -> usize {
        match self {
            Content::Plain(data) => data.len(),
            Content::Packed { envelope, .. } => *envelope,
        }
    }
}
