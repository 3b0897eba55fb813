//! Why a tree cannot be fetched, whoever has it.

use cid::Cid;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A child has another size than its parent says.
    #[error(
        "the tree contradicts itself: block {cid} has {actual} bytes of content where its parent says {stated}"
    )]
    Sizes {
        /// The child.
        cid: Cid,
        /// What the parent says, in bytes.
        stated: u64,
        /// What it is, in bytes.
        actual: u64,
    },
    /// The content is larger than the caller wants.
    #[error("{cid} has {size} bytes, over the limit of {max}")]
    TooLarge {
        /// What was being fetched.
        cid: Cid,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The tree breaks the bounds on depth or width.
    #[error("the tree of {cid} is too deep or too wide to be a file that an importer makes")]
    TooDeep {
        /// What was being fetched.
        cid: Cid,
    },
}
