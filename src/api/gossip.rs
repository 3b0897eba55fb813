//! Gossip, as programs on this host send and receive it.

use bytes::Bytes;
use libp2p::PeerId;

/// How many received a published message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The number of connected peers for which it was queued. These are all that
    /// subscribe to the topic, except for those with a very low gossip score.
    pub peers: u64,
    /// The number of programs on the daemon's host that subscribe to the topic.
    pub listeners: u64,
}

/// One gossip message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The peer that published it; `None` when it is not signed.
    pub from: Option<PeerId>,
    /// Its payload; on a topic of this network, what was in the envelope, unpacked.
    pub data: Bytes,
    /// The publisher's sequence number, if the message has one; on a topic of this
    /// network, that of its envelope.
    pub seqno: Option<u64>,
    /// The topic on which it was published.
    pub topic: String,
}
