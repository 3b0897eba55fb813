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
//! | `stat` | what of a tree is here |
//! | [`import`] | a stream of bytes becomes a tree in the store |
//! | [`fetch`] | a tree becomes a stream of bytes, from the store and from peers |
//! | [`network`] | what the exchange needs of a network |
//! | [`exchange`] | the wire: serving a stream, asking over one |
//!
//! [`address`], [`dag`], [`layout`] and `announce` are pure.

pub mod address;
mod announce;
pub mod content;
pub mod dag;
pub mod exchange;
pub mod fetch;
pub mod import;
pub mod layout;
pub mod network;
mod stat;

pub use content::Content;
pub use network::Network;

#[cfg(test)]
mod testing;
