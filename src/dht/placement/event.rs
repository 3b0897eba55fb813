//! What a placement asks for, and what becomes of it.

use libp2p::PeerId;
use libp2p::kad::RecordKey;

use super::Outcome;

/// What is to be done, or has happened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<I> {
    /// Send the record to the peer.
    Tell {
        /// Whom.
        peer: PeerId,
        /// The placement.
        id: I,
        /// What is provided.
        key: RecordKey,
    },
    /// Ask the peer who provides the key.
    Ask {
        /// Whom.
        peer: PeerId,
        /// The placement.
        id: I,
        /// What is provided.
        key: RecordKey,
    },
    /// Connect to the peer.
    Dial(PeerId),
    /// So many peers of the placement have been told; no others will be.
    Told(I, usize),
    /// Nobody needs to wait for the placement any more.
    Done(I, Outcome),
}
