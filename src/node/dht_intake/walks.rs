//! The walks of Kademlia through its buckets, led where [`walk`] says.
//!
//! libp2p-kad begins a walk by itself when it meets its first peers, and nothing turns
//! that off; the event loop begins others. Each is a `Bootstrap` query: it looks up the
//! own id, and then twenty peers in each further bucket. Here it ends after the first of
//! these steps, and a few peers of each far bucket are looked up in its place, one
//! bucket after the other.
//!
//! A look-up begins with the closest peers that are known. When hardly any of these
//! lives, the look-up of the own id has not found its neighbours, and is made once more
//! after the visits, which have brought others.

use std::ops::Range;

use libp2p::PeerId;
use libp2p::kad::{K_VALUE, KBucketKey, ProgressStep, QueryId, QueryResult, QueryStats};

use super::Kad;
use crate::node::place::walk;

/// Peers that must have answered a look-up of the own id: half of those that it asks.
const ENOUGH: u32 = K_VALUE.get() as u32 / 2;

/// What is left of the walk under way.
pub(super) struct Walks {
    local: KBucketKey<PeerId>,
    /// Far buckets that are still to be visited; the farthest is next.
    far: Range<u32>,
    /// Whether the own id is looked up again after them.
    again: bool,
    /// The look-up that is under way: in a far bucket, or of the own id again.
    visit: Option<QueryId>,
}

impl Walks {
    /// Those of the node `local`; none is under way.
    pub(super) fn new(local: PeerId) -> Self {
        Walks {
            local: local.into(),
            far: 0..0,
            again: false,
            visit: None,
        }
    }

    /// A query has made a step: goes on with the walk that it belongs to, if any.
    /// Answers whether anybody else needs to hear of this step. The first of a walk is
    /// its last for everybody else, and those that only end it are nobody's.
    pub(super) fn step(
        &mut self,
        kad: &mut Kad,
        id: QueryId,
        result: &QueryResult,
        stats: &QueryStats,
        step: &mut ProgressStep,
    ) -> bool {
        if let QueryResult::Bootstrap(_) = result {
            // It has begun with its next bucket, and comes here again for each.
            if let Some(mut rest) = kad.query_mut(&id) {
                rest.finish();
            }
            if step.count.get() > 1 {
                return false;
            }
            step.last = true;
            let buckets = kad.kbuckets();
            let met = buckets.map(|b| (b.range().0.ilog2().unwrap_or(0), b.num_entries()));
            self.far = walk::far(met);
            self.again = !self.far.is_empty() && stats.num_successes() < ENOUGH;
        } else if step.last && self.visit == Some(id) {
            self.visit = None;
        } else {
            return true;
        }
        if self.visit.is_none() {
            let mut far = self.far.by_ref().rev();
            let id = far.find_map(|bucket| walk::id_in(bucket, &self.local, PeerId::random));
            self.visit = match id {
                Some(id) => Some(kad.get_n_closest_peers(id, walk::FAR)),
                None if std::mem::take(&mut self.again) => {
                    Some(kad.get_closest_peers(*self.local.preimage()))
                }
                None => None,
            };
        }
        true
    }
}
