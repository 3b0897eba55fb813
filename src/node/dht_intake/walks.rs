//! The walks of Kademlia through its buckets, led where [`crate::dht::walk`] says.
//!
//! libp2p-kad begins a walk by itself when it meets its first peers, and nothing turns
//! that off; the event loop begins others. Each is a `Bootstrap` query: it looks up the
//! node's own id, and then twenty peers in each further bucket. Here it ends after the
//! first of these steps, and the look-ups that [`Walk`] asks for are made instead, one
//! after another.

use libp2p::PeerId;
use libp2p::kad::{ProgressStep, QueryId, QueryResult, QueryStats};

use super::Kad;
use crate::dht::walk::{FAR, Step, Walk};

/// The walk under way.
pub(super) struct Walks {
    local: PeerId,
    walk: Walk,
    /// The look-up that is under way: in a far bucket, or of the own id again.
    look_up: Option<QueryId>,
}

impl Walks {
    /// Those of the node `local`; none is under way.
    pub(super) fn new(local: PeerId) -> Self {
        Walks {
            local,
            walk: Walk::new(local),
            look_up: None,
        }
    }

    /// A query has made a step: goes on with the walk that it belongs to, if any.
    /// Returns whether anybody else needs to hear of this step. To everybody else, the
    /// first step of a walk is its last, and the steps that only end the query that
    /// began it are not reported.
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
            self.walk.begin(met, stats.num_successes());
        } else if step.last && self.look_up == Some(id) {
            self.look_up = None;
        } else {
            return true;
        }
        if self.look_up.is_none() {
            let next = self.walk.next(PeerId::random);
            self.look_up = next.map(|step| match step {
                Step::Visit(id) => kad.get_n_closest_peers(id, FAR),
                Step::Again => kad.get_closest_peers(self.local),
            });
        }
        true
    }
}
