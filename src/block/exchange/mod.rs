//! The block exchange: requests for blocks go out and blocks come in over one long-lived
//! stream.
//!
//! The protocol is defined in `proto/exchange.proto`. [`frame`] writes and reads the
//! messages on a stream, [`serve`] is the answering side, and `session` is the asking
//! side of one stream. Which block to ask of which peer is decided in [`super::fetch`].

pub mod frame;
pub mod serve;
pub(crate) mod session;
pub(crate) mod session_error;

pub use serve::{Limits, ServeError, Server};

use libp2p::StreamProtocol;

/// The maximum number of unanswered wants on one stream. At 1 MiB per block this is far
/// more than a path can hold, and 256 CIDs take 30 KiB at the server.
pub const MAX_WANTS: usize = 256;

/// The longest request frame. 256 wants of 50 bytes and as many cancels fit four times.
pub const MAX_REQUEST_FRAME: usize = 64 << 10;

/// How many bytes a response frame may hold in addition to the block's bytes. The hash,
/// the times, the longest key and the longest signature (`message::publisher`) take 1.2
/// KiB.
pub const FRAME_OVERHEAD: usize = 2 << 10;

/// Returns the exchange's protocol id on the network of this name.
///
/// # Errors
/// Returns an error when the name cannot be part of a protocol id.
pub fn protocol(network: &str) -> Result<StreamProtocol, libp2p::swarm::InvalidProtocol> {
    StreamProtocol::try_from_owned(format!("/{network}/block/1.0.0"))
}

#[allow(missing_docs, unreachable_pub, clippy::all)]
pub(crate) mod pb {
    // The generated code expects the other package beside its own.
    pub(crate) use crate::message::pb as message;
    pub mod exchange {
        include!(concat!(env!("OUT_DIR"), "/p2p.exchange.rs"));
    }
}

#[cfg(test)]
mod tests;
