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
//! These are pure: time is an argument, and nothing waits. On them stand the
//! services that wait for the store:
//!
//! | file | noun |
//! |---|---|
//! | [`sealer`] | from a payload to an envelope, for whoever publishes |
//! | [`numbers`] | the numbers for it, reserved on disk ahead of use |
//! | [`opener`] | from an envelope to a message that was never seen, for gossip |
//! | [`recorder`] | what was accepted, written down before it is delivered |

pub mod compression;
pub mod envelope;
mod keys;
pub mod numbers;
pub mod opener;
pub mod provenance;
pub mod publisher;
pub mod recorder;
pub mod refusal;
pub mod sealer;
pub mod sequence;
pub mod statement;
pub(crate) mod varint;
pub mod window;
pub mod windows;

pub use envelope::{Envelope, Limits, Opened, Packed, SealError, seal};
pub use numbers::Numbers;
pub use opener::Opener;
pub use refusal::Refusal;
pub use sealer::Sealer;

/// The messages, generated from `proto/message.proto`.
pub(crate) mod pb {
    #![allow(missing_docs, unreachable_pub, dead_code, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/p2p.message.rs"));
}
