//! A leaf or a subtree at the frontier of a plan.

use cid::Cid;

use crate::content::fetch::charged_bytes::ChargedBytes;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) what: What,
    /// The number of bytes of content; `None` for the root until it is here.
    pub(super) size: Option<u64>,
    pub(super) depth: usize,
}

#[derive(Debug)]
pub(super) enum What {
    Block(Cid),
    /// Content that was in an inner node itself.
    Inline(ChargedBytes),
}
