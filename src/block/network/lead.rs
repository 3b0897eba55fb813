//! A result of a search for providers.

use libp2p::PeerId;

/// A result of a search for providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lead {
    /// A peer that is connected. It is a guess that it has the content.
    Connected(PeerId),
    /// A peer that the DHT names as a provider.
    Named(PeerId),
    /// The DHT could not be searched, for this reason.
    Unsearched(String),
}
