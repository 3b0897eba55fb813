//! The bytes of content: files become blocks in the store, blocks travel between peers,
//! and the DHT is told what is here.
//!
//! | file | noun |
//! |---|---|
//! | [`content`] | the one door for the daemon and the control socket |
//! | `announcing` | announcements to the DHT: the store that remembers them, the network that is told |
//! | `stat` | what of a tree is here |
//! | [`import`] | a stream of bytes becomes a tree in the store |
//! | [`fetch`] | a tree becomes a stream of bytes, from the store and from peers |
//! | [`network`] | what the exchange needs of a network |
//! | [`exchange`] | the wire: serving a stream, asking over one |
//! | `metrics` | what is counted of blocks and announcements |
//!
//! Decisions are made in [`crate::content`]; this room moves the bytes.
//!
//! # A block on its way
//!
//! `put` signs every block with the node's identity: hash, time, time to live
//! ([`crate::message::provenance`]). The store keeps this statement with the block. A
//! node that fetches the block keeps it and serves it with the statement that its
//! publisher signed, so that a block expires at the same moment everywhere. What is
//! fetched stays in the store until the time of its root block is over. Of two
//! statements about one block, the one that lives longer counts. An expired block is not
//! served, and a fetch takes it from peers again, since somebody may have put it anew.
//!
//! A block that the store has without a statement (of an older version of this
//! program, or put by a clock that was not set) is signed when it is served, for
//! as long as the root that it belongs to lives.
//!
//! | what comes | reason | the sender |
//! |---|---|---|
//! | bytes or hash of another block | `wrong_hash` | is expelled and reported |
//! | no signature, or not its publisher's | `unsigned`, `wrong_signature` | the same |
//! | more bytes than P2P_MAX_BLOCK_BYTES, or declared to unpack to more | `oversized`, `bomb` | the same |
//! | fields that make no sense | `malformed` | the same |
//! | its time is over, or not begun by more than five minutes | `expired`, `future` | is not asked for it again in this fetch |
//! | rules of another version | `version` | the same |
//!
//! Each is counted in `p2p_blocks_refused_total`.

mod announcing;
pub mod content;
pub mod exchange;
pub mod fetch;
pub mod import;
mod metrics;
pub mod network;
mod stat;

pub use content::Content;
pub use metrics::Metrics;
pub use network::Network;
pub use stat::Stat;

#[cfg(test)]
mod testing;
