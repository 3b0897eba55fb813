//! Gossip, as programs on this host send and receive it.

use bytes::Bytes;
use libp2p::PeerId;

/// How many received a published message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Connected peers that it was queued for: all that subscribe to the topic, but
    /// for those whose gossip score is very low.
    pub peers: u64,
    /// Programs on the daemon's host that subscribe to the topic.
    pub listeners: u64,
}

/// One gossip message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who published it; `None` when it is not signed.
    pub from: Option<PeerId>,
    /// Its payload.
    pub data: Bytes,
    /// The publisher's sequence number, as its bytes.
    pub seqno: Bytes,
    /// The topic that it was published on.
    pub topic: String,
}
