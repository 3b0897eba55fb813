//! What nodes of a network send each other beside libp2p's own protocols.
//!
//! `proto/message.proto` is the definition; its field numbers never change. A
//! block goes inside the frames of [`crate::block::exchange`].
//!
//! | file | noun |
//! |---|---|
//! | [`envelope`] | the signed message, and opening it step by step |
//! | [`packed`] | a payload that is sealed in an envelope |
//! | [`limits`] | the bounds of a message |
//! | [`statement`] | what a signature covers |
//! | [`provenance`] | what the publisher of a block says of it, and signs |
//! | [`signer`] | signs the blocks of this node |
//! | [`publisher`] | the key that travels with a message, and its bounds |
//! | [`refusal`] | why a message is refused, and the label under which that is counted |
//! | [`compression`] | Snappy: when it is tried, and unpacking within a limit |
//! | [`window`] | which numbers of one publisher were seen |
//! | [`windows`] | the bounded set of windows, and which is dropped when it is full |
//! | `varint` | lengths and numbers on every wire |
//! | `keys` | decoded keys of recent publishers, for the next signature check |
//! | [`sequence`] | this node's own numbers: which may be used |
//!
//! Nothing here reads a clock or waits: time is an argument. The services that use this
//! and wait for the store are in [`crate::node::gossip::signed`].

pub mod compression;
pub mod envelope;
pub(crate) mod keys;
pub mod limits;
pub mod packed;
pub mod provenance;
pub mod publisher;
pub mod refusal;
pub mod sequence;
pub mod signer;
pub mod statement;
pub(crate) mod varint;
pub mod window;
pub mod windows;

pub use envelope::{Envelope, Opened};
pub use limits::Limits;
pub use packed::{Packed, SealError, seal};
pub use refusal::Refusal;

/// The messages, generated from `proto/message.proto`.
pub(crate) mod pb {
    #![allow(missing_docs, unreachable_pub, dead_code, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/p2p.message.rs"));
}
