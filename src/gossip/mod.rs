//! What is decided of gossip: what is taken of whom, what a message's verdict means, what
//! this host publishes when, and whom it looks for to hear it.
//!
//! Nothing here reads a clock, a socket or a disk, and nothing is counted for metrics:
//! time and what happens come as arguments, and decisions are the results. The room
//! `node::gossip` applies them to gossipsub.
//!
//! | file | noun |
//! |---|---|
//! | `topics` | the topics that are joined, and who on this host listens |
//! | `network_topics` | which topics are this network's own, whose messages travel in envelopes |
//! | `quotas` | what one peer and all together may bring |
//! | `ceiling` | the node's ceiling, and how those who send share it |
//! | `authors` | what authors say through others |
//! | `seen` | messages whose verdict is known |
//! | `dropped` | where gossip ends that does not go on |
//! | `refused` | why a message on this network's topics is not accepted, and what follows |
//! | `scoring` | the parameters of peer scoring, each with its reason |
//! | `pace` | how fast this host publishes |
//! | `line` | messages of this host that wait for the pace |
//! | `unheard` | messages of this host that nobody would hear yet |
//! | `members` | who else is on this node's topics: found, remembered, kept |

pub(crate) mod authors;
pub(crate) mod ceiling;
pub(crate) mod dropped;
pub(crate) mod line;
pub(crate) mod members;
pub(crate) mod network_topics;
pub(crate) mod pace;
pub(crate) mod quotas;
pub(crate) mod refused;
pub(crate) mod scoring;
pub(crate) mod seen;
pub(crate) mod topics;
pub(crate) mod unheard;

use crate::message::limits::{Limits, MAX_OVERHEAD};

pub(crate) use dropped::Dropped;
pub(crate) use network_topics::NetworkTopics;

/// Largest frame of gossip taken: 1 MiB, as go-libp2p's pubsub has it, so that the
/// two accept each other's messages, and what is around the message.
///
/// A longer one is refused when more than this has come of it. That costs its
/// sender the stream, and gossipsub takes five streams of a connection and no
/// more; reputation it cannot cost, for gossipsub's handler tells nobody of it.
pub(crate) const MAX_GOSSIP_BYTES: usize = (1 << 20) + (64 << 10);

/// Most bytes of one published message: a frame of 1 MiB without what is around
/// the message (names, key and signature, some 2 KiB at most), and without one
/// read of the frame that follows: rust peers count that in (libp2p-gossipsub
/// 0.50) and drop the stream.
pub(crate) const MAX_PUBLISH_BYTES: usize = (1 << 20) - (16 << 10);

/// Heartbeats for which gossipsub keeps messages for those who ask for them, its
/// default; three of them it announces.
pub(crate) const HISTORY: usize = 5;

/// Ids in one list of announced or wanted messages. A list takes some 50 bytes
/// an id, and other rust nodes refuse control messages over 16 KiB; and what one
/// answer brings (this many messages) fits the burst that a peer may send
/// (P2P_RATE_BURST).
pub(crate) const MAX_IDS: usize = 128;

/// Messages that wait for one peer: half a second of all that this node may pass
/// on. Each may be a MiB, so a longer queue would let a peer that never reads hold
/// gigabytes.
pub(crate) const QUEUE: usize = 512;

/// Bounds of an envelope and its payload. A payload is as long as one that does
/// not get smaller by packing may be, so that what can be published does not
/// depend on how well it packs, and a subscriber's queue holds no more than it
/// would on a plain topic.
pub(crate) fn envelope_limits() -> Limits {
    Limits::of_payload(MAX_PUBLISH_BYTES - MAX_OVERHEAD)
}

/// Bounds of the mesh around its degree D, in the proportions of the gossipsub
/// specification (6, 5 to 12): a quarter fewer before grafting, half more before
/// pruning, and at least two outbound peers so that inbound strangers alone
/// cannot make up a mesh.
pub(crate) fn mesh_bounds(d: usize) -> (usize, usize, usize) {
    let low = (d * 3 / 4).max(1);
    let high = (d * 3).div_ceil(2).max(d + 1);
    let outbound_min = 2.min(d / 2).min(low.saturating_sub(1));
    (low, high, outbound_min)
}
