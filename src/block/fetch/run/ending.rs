//! Decides when a fetch ends without the content, and why.

use std::mem;
use std::time::{Duration, Instant};

use super::super::FetchError;
use super::super::leader_failure::LeaderFailure;
use super::super::share::Share;
use super::Run;
use crate::block::network::Network;
use crate::content::fetch::Reason;

/// The part of its patience after which a fetch ends when no peer has the content. By
/// default this is ten seconds: in that time an announcement that was just made arrives,
/// and a node that has just started has met its neighbours. A caller that wants to wait
/// for longer sets a longer patience.
pub(super) const GRACE: u32 = 6;

/// How long a fetch goes on when the time of a block is over at all peers that have it.
/// This is enough for another search, and for a retry of peers that could not be reached.
pub(super) const OUTDATED_WAIT: Duration = Duration::from_secs(5);

impl<N: Network> Run<N> {
    /// If this fetch leads, tells its followers why it ends.
    pub(super) fn give_up(&self, reason: &Reason, is_final: bool) {
        if self.leads
            && let Some(share) = &self.share
        {
            share.give_up(LeaderFailure {
                reason: reason.clone(),
                last: self.last_problem.clone(),
                connected: self.ever_connected,
                is_final,
            });
        }
    }

    /// Returns the error after nothing has arrived for `waited`. `connected` says whether
    /// there was a peer to ask.
    pub(super) fn gave_up(
        &mut self,
        reason: Reason,
        connected: bool,
        waited: Duration,
        now: Instant,
    ) -> FetchError {
        let total = self.plan.total();
        // If not even the root has arrived from a peer, no provider was found.
        if total.is_none() || !connected {
            return self.no_providers(reason, now);
        }
        FetchError::Stalled {
            cid: self.root,
            done: self.plan.done(),
            total,
            waited,
            last: mem::take(&mut self.last_problem),
        }
    }

    /// Returns an error when waiting cannot help.
    pub(super) fn end_if_final(&self, now: Instant) -> Result<(), FetchError> {
        let grace = self.options.patience / GRACE;
        let waited = now.duration_since(self.started);
        let searching = self.plan.total().is_none()
            && (self.providers.values()).all(|p| !p.named && !p.holds)
            && self.leads;
        let quiet = now.duration_since(self.last_lead) >= grace / 2;
        if !searching || waited < grace || !quiet || !self.plan.needs_providers() {
            return Ok(());
        }
        let reason = self.reason(now);
        if !reason.is_final() {
            return Ok(());
        }
        self.give_up(&reason, true);
        Err(self.no_providers(reason, now))
    }

    pub(super) fn reason(&self, now: Instant) -> Reason {
        let unsearched = self.unsearched.clone();
        let mut reason = Reason::new(self.elapsed(now), self.searches, unsearched);
        self.candidates.tally(&mut reason);
        reason
    }

    /// Returns the reason as it is known to the fetch that asks the network.
    pub(super) fn known_reason(&self, now: Instant) -> Reason {
        let led = self.share.as_ref().filter(|_| !self.leads);
        let led = led.and_then(Share::reason);
        led.unwrap_or_else(|| self.reason(now))
    }

    fn no_providers(&self, reason: Reason, now: Instant) -> FetchError {
        FetchError::NoProviders {
            cid: self.root,
            waited: self.elapsed(now),
            reason: Box::new(reason),
            last: self.local_problem.clone(),
        }
    }

    /// Returns whether nothing is on its way, and no one is left to be asked for what is
    /// missing.
    pub(super) fn nobody_is_asked(&self) -> bool {
        self.search.is_none()
            && self.at_disk.is_none()
            && self.plan.has_missing()
            && self
                .providers
                .values()
                .all(|provider| provider.connected && !provider.owes())
    }
}
