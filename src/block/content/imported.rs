//! The result of an import.

use cid::Cid;

use super::super::network::ProvideError;

/// The result of an import. The content is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Its address.
    pub cid: Cid,
    /// The number of bytes of content.
    pub size: u64,
    /// The number of leaves and inner nodes, each counted once.
    pub blocks: u64,
    /// Why the announcement failed, if the import waited for it.
    pub announce_error: Option<ProvideError>,
    /// The number of roots of this host that no peer has been told of yet; 0 when peers
    /// have been told of this one.
    pub announcing: usize,
}
