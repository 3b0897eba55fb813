//! Where a walk through the DHT leads.
//!
//! A node that joins looks up its own id, and so meets the twenty peers closest to
//! it: everybody in the buckets before the one in which the twentieth lies, and some of
//! that one. The buckets beyond hold half of the network, a quarter, an eighth and so
//! on. For each of them, and for that of the twentieth if few in it were asked, the node
//! looks up an id that lies in it, until [`FAR`] peers have answered.
//!
//! A look-up begins with the closest peers that are known. When hardly any of these is
//! alive, the look-up of the node's own id has not found its neighbours, and is made once
//! more after the visits, which have brought others.
//!
//! libp2p-kad asks twenty peers of each of these buckets as well. Among 300 nodes
//! that is some 150 handshakes for each that enters, nearly as many as there are
//! nodes, and 300 nodes that start at once spend two minutes of two processors on
//! them. A bucket needs one live peer for queries to pass through it; the others
//! are there so that it outlives them. Queries bring more as they pass, and whoever
//! asks this node comes into its table too.

use std::num::NonZeroUsize;
use std::ops::Range;

use libp2p::PeerId;
use libp2p::kad::{K_VALUE, KBucketKey};

/// The number of peers that answer before a look-up in a far bucket ends: one that is
/// enough, and three that may leave before the next walk.
pub(crate) const FAR: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// The number of the farthest bucket; the closest has number 0.
const FARTHEST: u32 = 255;

/// The number of far buckets that are visited, the farthest first. Finding an id in the
/// twelfth takes about 4,096 hashes, or 1.5 ms in a debug build, during which the event loop
/// does nothing else. The buckets closer than that together contain one in 4,096 of the
/// network, and the look-up of the node's own id passes through them. This also bounds the
/// look-ups that peers can cause by deliberately choosing ids next to this node's.
const DEEPEST: u32 = 12;

/// The number of ids that are tried for one bucket: four times as many as the twelfth needs
/// on average, so that it is missed in one of fifty walks, and the others hardly ever.
const TRIES: usize = 4 << DEEPEST;

/// Peers that must have answered a look-up of the own id: half of those that it asks.
const ENOUGH: u32 = K_VALUE.get() as u32 / 2;

/// The look-up with which a walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Look up this id in a far bucket, until [`FAR`] peers have answered.
    Visit(PeerId),
    /// Look up the node's own id again.
    Again,
}

/// What is left of the walk under way.
#[derive(Debug)]
pub(crate) struct Walk {
    local: KBucketKey<PeerId>,
    /// Far buckets that are still to be visited; the farthest is next.
    far: Range<u32>,
    /// Whether the own id is looked up again after them.
    again: bool,
}

impl Walk {
    /// That of the node `local`; none is under way.
    pub(crate) fn new(local: PeerId) -> Self {
        Walk {
            local: local.into(),
            far: 0..0,
            again: false,
        }
    }

    /// A look-up of the own id has ended, in which `answered` peers answered. `buckets`
    /// are those with anybody in them, as for [`far`]. What was left of a walk before
    /// is given up.
    pub(crate) fn begin(&mut self, buckets: impl IntoIterator<Item = (u32, usize)>, answered: u32) {
        self.far = far(buckets);
        self.again = !self.far.is_empty() && answered < ENOUGH;
    }

    /// The next look-up; `None` when the walk has ended.
    pub(crate) fn next(&mut self, mut random: impl FnMut() -> PeerId) -> Option<Step> {
        let mut far = self.far.by_ref().rev();
        let id = far.find_map(|bucket| id_in(bucket, &self.local, &mut random));
        match id {
            Some(id) => Some(Step::Visit(id)),
            None => std::mem::take(&mut self.again).then_some(Step::Again),
        }
    }
}

/// The buckets to visit after the look-up of the node's own id, the farthest last.
/// `buckets` are those that are not empty, the closest first, each with its number
/// and the number of its peers.
fn far(buckets: impl IntoIterator<Item = (u32, usize)>) -> Range<u32> {
    let mut met = 0;
    for (bucket, peers) in buckets {
        let closer = met;
        met += peers;
        if met >= K_VALUE.get() {
            let touched = K_VALUE.get() - closer;
            let first = bucket + u32::from(touched >= FAR.get());
            return first.max(FARTHEST + 1 - DEEPEST)..FARTHEST + 1;
        }
    }
    // All peers have been met.
    0..0
}

/// An id that lies in `bucket` as seen from `local`, or `None` after [`TRIES`].
pub(crate) fn id_in(
    bucket: u32,
    local: &KBucketKey<PeerId>,
    random: impl FnMut() -> PeerId,
) -> Option<PeerId> {
    let mut ids = std::iter::repeat_with(random).take(TRIES);
    ids.find(|id| local.distance(&KBucketKey::from(*id)).ilog2() == Some(bucket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_met_all_visits_nothing_else() {
        assert_eq!(far([]), 0..0);
        assert_eq!(far([(250, 3), (253, 5), (255, 11)]), 0..0);
    }

    #[test]
    fn buckets_beyond_the_twentieth_peer_are_visited() {
        // The twentieth is in 252, so no peer farther away was asked.
        let buckets = [(249, 4), (251, 6), (252, 11), (255, 3)];
        assert_eq!(far(buckets), 253..256);
        assert_eq!(far([(254, 1), (255, 20)]), 256..256);
        assert!(far([(254, 1), (255, 20)]).is_empty());
    }

    #[test]
    fn a_bucket_of_which_hardly_anybody_was_asked_is_visited_too() {
        assert_eq!(far([(252, 16), (253, 20), (255, 3)]), 254..256);
        assert_eq!(far([(252, 17), (253, 20), (255, 3)]), 253..256);
    }

    #[test]
    fn neighbours_of_any_closeness_cause_a_bounded_number_of_look_ups() {
        let many = far([(3, 20), (255, 20)]);
        assert_eq!(many.len(), DEEPEST as usize);
        assert_eq!(many.end, 256);
    }

    #[test]
    fn a_walk_visits_the_farthest_first_and_ends_with_the_own_id_if_few_answered() {
        let local = PeerId::random();
        let key = KBucketKey::from(local);
        for (answered, again) in [(ENOUGH - 1, true), (ENOUGH, false)] {
            let mut walk = Walk::new(local);
            assert_eq!(walk.next(PeerId::random), None);
            walk.begin([(252, 20), (255, 20)], answered);
            for bucket in [255, 254, 253] {
                let Some(Step::Visit(id)) = walk.next(PeerId::random) else {
                    panic!("{bucket} is not visited");
                };
                assert_eq!(key.distance(&KBucketKey::from(id)).ilog2(), Some(bucket));
            }
            let last = walk.next(PeerId::random);
            assert_eq!(last, again.then_some(Step::Again));
            assert_eq!(walk.next(PeerId::random), None);
        }
    }

    #[test]
    fn an_id_is_found_in_every_bucket_that_is_visited() {
        let local = KBucketKey::from(PeerId::random());
        let first = FARTHEST + 1 - DEEPEST;
        for bucket in first..=FARTHEST {
            // At the deepest bucket, one miss is chance, but sixteen are not.
            let id = (0..16).find_map(|_| id_in(bucket, &local, PeerId::random));
            let id = id.unwrap();
            let distance = local.distance(&KBucketKey::from(id));
            assert_eq!(distance.ilog2(), Some(bucket));
        }
        // An id that chance never gives is given up.
        let same = *local.preimage();
        assert_eq!(id_in(FARTHEST, &local, || same), None);
    }
}
