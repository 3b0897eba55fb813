//! Why the DHT could not be told of content.

use cid::Cid;

/// The reason in a [`ProvideError`] when no DHT peer is known.
pub(crate) const NO_DHT_PEER: &str =
    "no DHT peer is known; check P2P_BOOTSTRAP_PEERS and `p2p-node peers`";

/// Why the DHT could not be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot announce {cid} to the DHT: {reason}")]
pub struct ProvideError {
    /// The content that was to be announced.
    pub cid: Cid,
    /// Whether no DHT peer is known, so that nothing else can be announced either.
    pub alone: bool,
    /// What went wrong, in one line.
    pub reason: String,
}
