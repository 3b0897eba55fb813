//! The search for providers.

use std::time::{Duration, Instant};

use super::Run;
use super::active::MAX_ACTIVE;
use crate::block::network::Network;

/// Time until the next search for providers; doubles up to [`MAX_SEARCH_WAIT`].
/// While the content comes from somebody it is never shorter than
/// [`FED_SEARCH_WAIT`].
pub(super) const SEARCH_WAIT: Duration = Duration::from_millis(250);

const FED_SEARCH_WAIT: Duration = Duration::from_secs(5);

const MAX_SEARCH_WAIT: Duration = Duration::from_secs(30);

impl<N: Network> Run<N> {
    /// A search came to its end.
    pub(super) fn searched(&mut self, now: Instant) {
        self.search = None;
        if self.unsearched.is_none() {
            self.searches += 1;
        }
        let wait = match self.is_fed() {
            true => self.search_wait.max(FED_SEARCH_WAIT),
            false => self.search_wait,
        };
        self.next_search = now + wait;
        self.search_wait = (self.search_wait * 2).min(MAX_SEARCH_WAIT);
    }

    pub(super) fn wants_search(&self) -> bool {
        // The search goes on while there may be more to find.
        self.proven() < MAX_ACTIVE
    }

    /// Whether the content comes, from somebody.
    fn is_fed(&self) -> bool {
        self.proven() > 0
            && self
                .plan
                .head()
                .is_none_or(|cid| !self.plan.is_missing(&cid))
    }
}
