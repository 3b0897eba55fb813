//! Moves the bytes of content: files become blocks in the store, blocks are exchanged
//! between peers, and the DHT is told what is here.
//!
//! | file | noun |
//! |---|---|
//! | [`content`] | the interface for the daemon and the control socket |
//! | `announcing` | announces content to the DHT, and remembers it in the store |
//! | `stat` | finds out which parts of a tree are here |
//! | [`import`] | turns a stream of bytes into a tree in the store |
//! | [`fetch`] | turns a tree into a stream of bytes, from the store and from peers |
//! | [`network`] | what the exchange needs of a network |
//! | [`exchange`] | the protocol: serving a stream, and asking over one |
//! | `metrics` | counts blocks and announcements |
//!
//! Plans and schedules are made in [`crate::content`]; this module moves the bytes.
//!
//! # The life of a block
//!
//! `put` signs every block with the node's identity: hash, time, time to live
//! ([`crate::message::provenance`]). The store keeps this statement with the block. A
//! node that fetches the block keeps it, and serves it with the statement that its
//! publisher signed, so that a block expires at the same moment everywhere. Fetched
//! content stays in the store until the time of its root block is over. If there are two
//! statements about one block, the one that lives longer counts. An expired block is not
//! served, and a fetch takes it from peers again, since someone may have put it anew.
//!
//! A block may be in the store without a statement, because it is from an older version
//! of this program or was put while the clock was not set. Such a block is signed when it
//! is served, for as long as the root that it belongs to lives.
//!
//! | what arrives | reason | the sender |
//! |---|---|---|
//! | bytes or hash of another block | `wrong_hash` | is expelled and reported |
//! | no signature, or not its publisher's | `unsigned`, `wrong_signature` | the same |
//! | more bytes than P2P_MAX_BLOCK_BYTES, or declared to unpack to more | `oversized`, `bomb` | the same |
//! | fields that are not valid | `malformed` | the same |
//! | its time is over, or begins more than five minutes from now | `expired`, `future` | is not asked for it again in this fetch |
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
