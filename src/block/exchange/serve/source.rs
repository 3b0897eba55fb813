//! Where the server gets blocks from.

use bytes::Bytes;
use cid::Cid;

use crate::message::provenance::Provenance;

/// A block to serve, with what its publisher says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its bytes.
    pub data: Bytes,
    /// Its publisher's statement, whose time is not over.
    pub provenance: Provenance,
}

/// Where the server gets blocks from. Calls block; they are made off the event
/// loop.
pub trait Source: Clone + Send + Sync + 'static {
    /// The block, when it is here and its time is not over.
    ///
    /// # Errors
    /// When it cannot be read; one line for the log.
    fn block(&self, cid: &Cid) -> Result<Option<Stored>, String>;

    /// Whether [`Source::block`] would give the block, without reading it.
    ///
    /// # Errors
    /// As [`Source::block`].
    fn has(&self, cid: &Cid) -> Result<bool, String>;
}
