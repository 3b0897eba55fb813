//! What each provider did, and the totals of the fetch.

use std::mem;
use std::time::Instant;

use libp2p::PeerId;

use super::super::{ProviderStats, Summary};
use super::Run;
use crate::block::network::Network;

/// The maximum number of providers that the summary names.
const MAX_STATS: usize = 64;

impl<N: Network> Run<N> {
    pub(super) fn stats(&mut self, peer: PeerId) -> &mut ProviderStats {
        if self.stats.len() >= MAX_STATS && !self.stats.contains_key(&peer) {
            return &mut self.other_stats;
        }
        self.stats.entry(peer).or_default()
    }

    pub(super) fn summary(&mut self, now: Instant) -> Summary {
        // Content of a single block has no parent that says how long it is.
        if self.received == 0 && self.local == 0 {
            self.local = self.plan.done();
        }
        Summary {
            cid: self.root,
            size: self.plan.done(),
            blocks: self.plan.nodes(),
            received: self.received,
            local: self.local,
            wasted: self.wasted,
            providers: mem::take(&mut self.stats),
            peak_memory: self.memory.peak(),
            elapsed: self.elapsed(now),
        }
    }
}
