//! Why the leader of a shared fetch gave up.

use std::time::Duration;

use crate::content::fetch::Reason;

/// Why a leader gave up.
#[derive(Debug, Clone)]
pub(crate) struct LeaderFailure {
    pub(crate) reason: Reason,
    /// The last problem that it had with a provider.
    pub(crate) last: String,
    /// Whether it was connected to any peer that it could ask.
    pub(crate) connected: bool,
    /// Whether waiting longer could not have helped. Otherwise its patience was over.
    pub(crate) is_final: bool,
}

impl LeaderFailure {
    /// Returns whether a follower that has waited for `waited` ends with the leader. It
    /// does so after half of its `patience`, or after half of its `grace` when waiting
    /// cannot help. In this way many fetches of content that no peer has do not wait one
    /// after the other.
    pub(crate) fn ends_those_who_waited(
        &self,
        waited: Duration,
        patience: Duration,
        grace: Duration,
    ) -> bool {
        let whole = if self.is_final { grace } else { patience };
        waited >= whole / 2
    }
}
