//! The walks of Kademlia through its buckets, led where [`walk`] says.
//!
//! libp2p-kad begins a walk by itself when it meets its first peers, and nothing turns
//! that off; the event loop begins others. Each is a `Bootstrap` query: it looks up the
//! own id, and then twenty peers in each further bucket. Here it ends after the first of
//! these steps, and a few peers of each far bucket are looked up in its place, one
//! bucket after the other.

use std::ops::Range;

use libp2p::PeerId;
use libp2p::kad::{KBucketKey, ProgressStep, QueryId, QueryResult};

use super::Kad;
use crate::node::place::walk;

/// What is left of the walk under way.
pub(super) struct Walks {
    local: KBucketKey<PeerId>,
    /// Far buckets that are still to be visited; the farthest is next.
    far: Range<u32>,
    /// The look-up in the one that is being visited.
    visit: Option<QueryId>,
}

impl Walks {
    /// Those of the node `local`; none is under way.
    pub(super) fn new(local: PeerId) -> Self {
        Walks {
            local: local.into(),
            far: 0..0,
            visit: None,
        }
    }

    /// A query has made a step: goes on with the walk that it belongs to, if any.
    pub(super) fn step(
        &mut self,
        kad: &mut Kad,
        id: QueryId,
        result: &QueryResult,
        step: &ProgressStep,
    ) {
        if let QueryResult::Bootstrap(_) = result {
            // It has begun with its next bucket, and comes here again for each.
            if let Some(mut rest) = kad.query_mut(&id) {
                rest.finish();
            }
            if step.count.get() > 1 {
                return;
            }
            let buckets = kad.kbuckets();
            let met = buckets.map(|b| (b.range().0.ilog2().unwrap_or(0), b.num_entries()));
            self.far = walk::far(met);
        } else if step.last && self.visit == Some(id) {
            self.visit = None;
        } else {
            return;
        }
        if self.visit.is_none() {
            let mut far = self.far.by_ref().rev();
            let id = far.find_map(|bucket| walk::id_in(bucket, &self.local, PeerId::random));
            self.visit = id.map(|id| kad.get_n_closest_peers(id, walk::FAR));
        }
    }
}
