//! Why content could not be read or removed.

use cid::Cid;

use crate::content::address::AddressError;
use crate::store;

/// Why content could not be read or removed.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The CID is not that of a file.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// There is nothing to remove.
    #[error("{0} is not in the store; `p2p-node ls` lists what is")]
    NotHere(Cid),
    /// The content is here but is not a file.
    #[error("cannot read {cid}: {reason}")]
    Unreadable {
        /// The content.
        cid: Cid,
        /// The reason, in one line.
        reason: String,
    },
}
