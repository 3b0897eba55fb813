//! The block exchange: wants out, blocks in, over one long-lived stream.
//!
//! `proto/exchange.proto` is the protocol. [`frame`] puts messages on a stream
//! and takes them off it, [`serve`] is the answering side, `session` the asking
//! side of one stream; which block to ask of whom is decided in
//! [`super::fetch`].

pub mod frame;
pub mod serve;
pub(crate) mod session;

pub use serve::{Limits, ServeError, Server};

use libp2p::StreamProtocol;

/// Wants that may be unanswered on one stream. At 1 MiB a block this is far
/// more than a path can hold, and 256 CIDs are 30 KiB at the server.
pub const MAX_WANTS: usize = 256;

/// Longest request frame: 256 wants of 50 bytes and as many cancels fit four
/// times.
pub const MAX_REQUEST_FRAME: usize = 64 << 10;

/// What a response frame may hold beside the block's bytes: hash, times, the
/// longest key and the longest signature (`message::publisher`) are 1.2 KiB.
pub const FRAME_OVERHEAD: usize = 2 << 10;

/// The exchange's protocol id on the network of that name.
///
/// # Errors
/// When the name cannot be part of a protocol id.
pub fn protocol(network: &str) -> Result<StreamProtocol, libp2p::swarm::InvalidProtocol> {
    StreamProtocol::try_from_owned(format!("/{network}/block/1.0.0"))
}

#[allow(missing_docs, unreachable_pub, clippy::all)]
pub(crate) mod pb {
    // The generated code looks for the other package beside its own.
    pub(crate) use crate::message::pb as message;
    pub mod exchange {
        include!(concat!(env!("OUT_DIR"), "/p2p.exchange.rs"));
    }
}

#[cfg(test)]
mod tests;
