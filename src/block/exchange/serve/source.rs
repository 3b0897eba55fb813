//! The source of the blocks that the server sends.

use bytes::Bytes;
use cid::Cid;

use crate::message::provenance::Provenance;

/// A block to serve, with what its publisher states about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its bytes.
    pub data: Bytes,
    /// The statement of its publisher, whose time is not over.
    pub provenance: Provenance,
}

/// The source of the blocks that the server sends. Its methods block, and are called
/// outside the event loop.
pub trait Source: Clone + Send + Sync + 'static {
    /// Returns the block, if it is here and its time is not over.
    ///
    /// # Errors
    /// Returns an error when it cannot be read, as one line for the log.
    fn block(&self, cid: &Cid) -> Result<Option<Stored>, String>;

    /// Returns whether [`Source::block`] would return the block, without reading it.
    ///
    /// # Errors
    /// Returns an error in the same cases as [`Source::block`].
    fn has(&self, cid: &Cid) -> Result<bool, String>;
}
