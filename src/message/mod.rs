//! What travels between nodes of a network beside libp2p's own protocols.
//!
//! `proto/message.proto` is the definition; its field numbers never change. A
//! block goes inside the frames of [`crate::block::exchange`].
//!
//! | file | noun |
//! |---|---|
//! | [`envelope`] | the signed message: sealing it, and opening it step by step |
//! | [`statement`] | what a signature covers |
//! | [`provenance`] | what the publisher of a block says of it, and signs |
//! | [`publisher`] | the key that travels with a message, and its bounds |
//! | [`refusal`] | why a message is not taken, and the label that counts it |
//! | [`compression`] | Snappy: when it is tried, and unpacking within a limit |
//! | [`window`] | which numbers of one publisher were seen |
//! | [`windows`] | the bounded set of windows, and who loses his when it is full |
//! | `varint` | lengths and numbers on every wire |
//! | `keys` | publishers used lately, ready for the next signature check |
//! | [`sequence`] | this node's own numbers: which may be used |
//!
//! All is pure: time is an argument, and nothing waits. On it stand the services that
//! wait for the store, in [`crate::node::gossip::signed`].

pub mod compression;
pub mod envelope;
pub(crate) mod keys;
pub mod provenance;
pub mod publisher;
pub mod refusal;
pub mod sequence;
pub mod statement;
pub(crate) mod varint;
pub mod window;
pub mod windows;

pub use envelope::{Envelope, Limits, Opened, Packed, SealError, seal};
pub use refusal::Refusal;

/// The messages, generated from `proto/message.proto`.
pub(crate) mod pb {
    #![allow(missing_docs, unreachable_pub, dead_code, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/p2p.message.rs"));
}
