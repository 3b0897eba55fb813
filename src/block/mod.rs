//! Content: blocks, their addresses, the trees that files are, and the exchange
//! of them between peers.
//!
//! | file | noun |
//! |---|---|
//! | [`address`] | the CID of a block; whether bytes are that block |
//! | [`dag`] | nodes of a file's tree: dag-pb and UnixFS |
//! | [`layout`] | the balanced tree over a file's chunks |
//! | [`network`] | what the exchange needs of a network |
//! | [`exchange`] | the wire: serving a stream, asking over one |
//!
//! [`address`], [`dag`] and [`layout`] are pure.

pub mod address;
pub mod dag;
pub mod exchange;
pub mod layout;
pub mod network;

#[cfg(test)]
mod testing;
