//! Why a block is not a node of a file.

use super::MAX_LINKS;
use crate::content::address::AddressError;

/// Why a block is not a node of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DagError {
    /// The encoding is not valid.
    #[error("not a valid dag-pb or UnixFS node: {0}")]
    Malformed(&'static str),
    /// It is a UnixFS object of another kind.
    #[error("it is a {0}, and only files can be fetched; fetch one of its files by its own CID")]
    NotAFile(&'static str),
    /// The node has more children than this node reads.
    #[error(
        "the node has more than {MAX_LINKS} links; import the file again with fewer links a node"
    )]
    TooManyLinks,
    /// The sizes that a node states contradict each other.
    #[error("the node's sizes do not add up: {0}")]
    Sizes(&'static str),
    /// It has a child that cannot be followed.
    #[error("one of its links cannot be followed: {0}")]
    Link(#[from] AddressError),
}
