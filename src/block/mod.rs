//! Content: blocks, their addresses, the trees that files are, and the exchange
//! of them between peers.
//!
//! | file | noun |
//! |---|---|
//! | [`address`] | the CID of a block; whether bytes are that block |
//! | [`dag`] | nodes of a file's tree: dag-pb and UnixFS |
//! | [`layout`] | the balanced tree over a file's chunks |
//! | [`content`] | the one door for the daemon and the control socket |
//! | `announce` | when which content is announced to the DHT |
//! | `announcing` | the same carried out: the store that remembers it, the network that is told |
//! | `stat` | what of a tree is here |
//! | [`import`] | a stream of bytes becomes a tree in the store |
//! | [`fetch`] | a tree becomes a stream of bytes, from the store and from peers |
//! | [`network`] | what the exchange needs of a network |
//! | [`exchange`] | the wire: serving a stream, asking over one |
//! | [`refusal`] | why a block that a peer sent is refused |
//! | `metrics` | what is counted of blocks and announcements |
//!
//! [`address`], [`dag`], [`layout`], [`refusal`] and `announce` are pure.
//!
//! # A block on its way
//!
//! `put` signs every block with the node's identity: hash, time, time to live
//! ([`crate::message::provenance`]). The store keeps that with the block, and
//! whoever fetches it keeps and serves it on as its publisher signed it, so a
//! block ends at the same moment everywhere. What is fetched lives in the store
//! until its publisher's time for the root block is over; of two statements on
//! one block the one that lives longer counts. What is over is not served, and a
//! fetch takes it from peers anew, since somebody may have put it again.
//!
//! A block that the store has without a statement (of an older version of this
//! program, or put by a clock that was not set) is signed when it is served, for
//! as long as the root that holds it lives.
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

pub mod address;
mod announce;
mod announcing;
pub mod content;
pub mod dag;
pub mod exchange;
pub mod fetch;
pub mod import;
pub mod layout;
mod metrics;
pub mod network;
pub mod refusal;
mod stat;

pub use content::Content;
pub use metrics::Metrics;
pub use network::Network;

#[cfg(test)]
mod testing;
