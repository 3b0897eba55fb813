//! A gossip message, as programs on this host receive it.

use bytes::Bytes;
use libp2p::PeerId;

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
