//! Why a tree cannot be fetched from anyone.

use cid::Cid;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The size of a child differs from what its parent says.
    #[error(
        "the tree contradicts itself: block {cid} has {actual} bytes of content where its parent says {stated}"
    )]
    Sizes {
        /// The child.
        cid: Cid,
        /// The size that the parent states, in bytes.
        stated: u64,
        /// The real size in bytes.
        actual: u64,
    },
    /// The content is larger than the caller wants.
    #[error("{cid} has {size} bytes, over the limit of {max}")]
    TooLarge {
        /// The content that was being fetched.
        cid: Cid,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The tree exceeds the bounds on depth or width.
    #[error("the tree of {cid} is too deep or too wide to be a file that an importer makes")]
    TooDeep {
        /// The content that was being fetched.
        cid: Cid,
    },
}
