//! What has changed in a schedule, for its caller to store or to report.

use cid::Cid;

/// The changes that have to be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unsaved {
    /// When roots were announced, in milliseconds since 1970.
    pub(crate) announced: Vec<(Cid, u64)>,
    /// Roots that are no longer here.
    pub(crate) gone: Vec<Cid>,
}

/// What [`Schedule::sync`](super::Schedule::sync) has found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Synced {
    /// Roots that were not known yet.
    pub(crate) new: Vec<Cid>,
    /// Roots that are no longer here.
    pub(crate) gone: Vec<Cid>,
}
