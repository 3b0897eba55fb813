//! The search for providers.

use std::time::{Duration, Instant};

use super::Run;
use super::active::MAX_ACTIVE;
use crate::block::network::Network;

/// The time until the next search for providers. It doubles with each search, up to
/// [`MAX_SEARCH_WAIT`].
pub(super) const SEARCH_WAIT: Duration = Duration::from_millis(250);

/// The shortest time until the next search while some provider delivers the content.
const CALM_SEARCH_WAIT: Duration = Duration::from_secs(5);

/// The longest time until the next search.
const MAX_SEARCH_WAIT: Duration = Duration::from_secs(30);

impl<N: Network> Run<N> {
    /// Handles the end of a search.
    pub(super) fn searched(&mut self, now: Instant) {
        self.search = None;
        if self.unsearched.is_none() {
            self.searches += 1;
        }
        let wait = match self.content_comes() {
            true => self.search_wait.max(CALM_SEARCH_WAIT),
            false => self.search_wait,
        };
        self.next_search = now + wait;
        self.search_wait = (self.search_wait * 2).min(MAX_SEARCH_WAIT);
    }

    pub(super) fn wants_search(&self) -> bool {
        // The search goes on while there may be more providers to find.
        self.proven() < MAX_ACTIVE
    }

    /// Returns whether some provider delivers, and the next block is here or on its way.
    fn content_comes(&self) -> bool {
        self.proven() > 0
            && self
                .plan
                .head()
                .is_none_or(|cid| !self.plan.is_missing(&cid))
    }
}
