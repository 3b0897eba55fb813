//! Waits for another fetch of the same content, and stores blocks for which others wait.

use std::mem;
use std::time::{Duration, Instant};

use super::super::FetchError;
use super::super::share::Share;
use super::Run;
use super::ending::GRACE;
use crate::block::network::Network;

/// The shortest time between two checkpoints for other fetches of the same content.
pub(super) const SHARE_WAIT: Duration = Duration::from_millis(250);

/// The same, as a multiple of the time that a checkpoint takes, because it waits for the
/// disk.
pub(super) const SHARE_PART: u32 = 4;

/// The number of missing blocks that are looked up again when another fetch has stored
/// some. It brings them in about the same order.
const LOOK_AGAIN: usize = 1024;

impl<N: Network> Run<N> {
    /// Tells the others whether this fetch waits for blocks of the leader, and lets
    /// another one lead when this one has nothing to ask for.
    pub(super) fn update_waiting(&mut self) {
        let waits = !self.leads && self.plan.has_missing();
        if waits != self.waits
            && let Some(share) = &self.share
        {
            self.waits = waits;
            share.wait(waits);
        }
        let idle = !self.plan.needs_providers()
            && self.at_disk.is_none()
            && self.deliveries.is_empty()
            && self.since_checkpoint == 0;
        // Others wait for blocks that this fetch does not need.
        if self.leads && idle && self.share.as_ref().is_some_and(Share::pass_on) {
            self.leads = false;
        }
    }

    /// Handles the news that another fetch of the same content has stored some of it, or
    /// has ended.
    pub(super) fn leader_news(&mut self, now: Instant) -> Result<(), FetchError> {
        let Some(share) = &self.share else {
            return Ok(());
        };
        let patience = self.options.patience;
        if let Some(failure) = share.leader_failure() {
            // A leader that has waited in vain has received nothing since it started.
            let since = match failure.is_final {
                true => self.started,
                false => self.progress,
            };
            let waited = now.duration_since(since);
            let concerns = !failure.is_final || self.plan.total().is_none();
            if concerns && failure.ends_those_who_waited(waited, patience, patience / GRACE) {
                self.last_problem = failure.last;
                return Err(self.gave_up(failure.reason, failure.connected, waited, now));
            }
        }
        self.waits = false;
        self.progress = now;
        let led = mem::replace(&mut self.leads, share.leads());
        // A fetch that begins to lead first looks for all of the rest in the store.
        let all = self.leads && !led;
        self.plan
            .look_again(if all { usize::MAX } else { LOOK_AGAIN });
        Ok(())
    }

    /// Returns whether to store what has arrived, because others are waiting for it.
    pub(super) fn must_store_for_others(&self, now: Instant) -> bool {
        self.since_checkpoint > 0
            && now >= self.next_share
            && self.share.as_ref().is_some_and(Share::is_waited_for)
    }
}
