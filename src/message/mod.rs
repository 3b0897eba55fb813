//! What travels between nodes of a network beside libp2p's own protocols.
//!
//! `proto/message.proto` is the definition; its field numbers never change. A
//! block goes inside the frames of [`crate::block::exchange`]. No I/O here.
//!
//! | file | noun |
//! |---|---|
//! | [`compression`] | Snappy: when it is tried, and unpacking within a limit |

pub mod compression;

/// The messages, generated from `proto/message.proto`.
pub(crate) mod pb {
    #![allow(missing_docs, unreachable_pub, dead_code, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/p2p.message.rs"));
}
