//! What was imported.

use cid::Cid;

use super::super::network::ProvideError;

/// What was imported. It is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Its address.
    pub cid: Cid,
    /// Bytes of content.
    pub size: u64,
    /// Leaves and inner nodes, each counted once.
    pub blocks: u64,
    /// Why the announcement that was waited for failed.
    pub announce_error: Option<ProvideError>,
    /// Roots of this host of which no peer was told yet; 0 when this one is told.
    pub announcing: usize,
}
