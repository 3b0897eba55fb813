//! The budgets of authors whose messages come through other peers.
//!
//! A message that its author sends to this node itself takes from the bucket of that peer.
//! Through other peers the author could send as many again, once for each of them. So
//! every accepted message counts against one bucket of its author (`P2P_RATE_BURST`, `P2P_RATE_FILL`),
//! whoever brought it, and what others bring of an author that has spent its
//! bucket is dropped. It costs nobody any reputation: a peer that passes a message on
//! cannot know what others did.
//!
//! Only accepted messages of this network's own topics count: those carry a number
//! that passes once, so nobody can spend an author's bucket by saying again what
//! the author said. On a plain topic an old message is as good as a new one, and
//! such a count would be a way to silence its author.

use std::collections::HashMap;
use std::time::Instant;

use libp2p::PeerId;

use crate::peers::bucket::{Bucket, Budget};

/// Authors in one generation; there are two, of some 100 bytes an author. More
/// than publish at once in any mesh that stays under the node's ceiling. An
/// author that is forgotten begins with a full bucket again, as any newly invented one does.
const GENERATION: usize = 4096;

/// The buckets of authors that were lately heard.
#[derive(Debug)]
pub(crate) struct Authors {
    budget: Budget,
    young: HashMap<PeerId, Bucket>,
    old: HashMap<PeerId, Bucket>,
}

impl Authors {
    pub(crate) fn new(budget: Budget) -> Self {
        Authors {
            budget,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// Another budget from now on.
    pub(crate) fn set_budget(&mut self, budget: Budget) {
        self.budget = budget;
    }

    /// Whether an author has anything left of its budget.
    pub(crate) fn may_speak(&self, author: &PeerId, now: Instant) -> bool {
        let bucket = self.young.get(author).or_else(|| self.old.get(author));
        bucket.is_none_or(|bucket| bucket.tokens(self.budget, now) > 0)
    }

    /// Counts an accepted message.
    pub(crate) fn spoke(&mut self, author: &PeerId, now: Instant) {
        if !self.young.contains_key(author) {
            if self.young.len() >= GENERATION {
                self.old = std::mem::take(&mut self.young);
            }
            let bucket = self.old.remove(author);
            let bucket = bucket.unwrap_or_else(|| Bucket::full(self.budget, now));
            self.young.insert(*author, bucket);
        }
        if let Some(bucket) = self.young.get_mut(author) {
            bucket.charge(1, self.budget, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const BUDGET: Budget = Budget {
        burst: 200,
        fill: 100,
    };

    #[test]
    fn an_author_has_one_bucket_whoever_brings_it() {
        let (t, author) = (Instant::now(), PeerId::random());
        let mut authors = Authors::new(BUDGET);
        let mut accepted = 0;
        for n in 0..10_000 {
            let now = t + Duration::from_millis(n);
            if authors.may_speak(&author, now) {
                authors.spoke(&author, now);
                accepted += 1;
            }
        }
        assert!((1199..=1201).contains(&accepted), "{accepted}");
        assert!(authors.may_speak(&PeerId::random(), t));
    }

    #[test]
    fn authors_are_bounded_and_one_that_speaks_is_not_forgotten() {
        let (t, author) = (Instant::now(), PeerId::random());
        let mut authors = Authors::new(BUDGET);
        for n in 0..3 * GENERATION {
            if n % 1000 == 0 {
                for _ in 0..200 {
                    authors.spoke(&author, t);
                }
            }
            authors.spoke(&PeerId::random(), t);
            assert!(authors.young.len() + authors.old.len() <= 2 * GENERATION);
        }
        assert!(!authors.may_speak(&author, t));
    }
}
