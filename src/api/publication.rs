//! What the publisher of content states about it.

use std::time::SystemTime;

use libp2p::PeerId;

/// What the publisher of content states about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The peer that signed it.
    pub publisher: PeerId,
    /// When it was put, according to its publisher's clock.
    pub at: SystemTime,
    /// Until when it is served.
    pub until: SystemTime,
}
