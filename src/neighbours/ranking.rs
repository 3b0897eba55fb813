//! Peers in the order of a value that each choice may change.
//!
//! To look at all peers again after each choice takes steps in the square of their
//! number, and a node may have to choose hundreds from a thousand. But a choice changes
//! little. What the peers that are kept add to or take from the value of another is the
//! same for all that have its subnet and are as near as it is: within such a group the
//! order never changes. So only the first of each group is in a heap. Its value there
//! may be out of date; since values only ever get worse, a peer that is still the first
//! when its value is computed again is the first of all. A choice makes two groups out
//! of date, and once all that are near: n peers take some n log n steps.

use std::collections::{BinaryHeap, HashMap};

use super::neighbour::Neighbour;

/// See the module's documentation. `V` is the value; the greatest is chosen first.
pub(super) struct Ranking<'a, V> {
    /// Each group has its first peer at the end.
    groups: Vec<Vec<&'a Neighbour>>,
    /// The value of the first peer of each group when it was last updated, and the group.
    heap: BinaryHeap<(V, usize)>,
}

impl<'a, V: Ord + Copy> Ranking<'a, V> {
    /// A ranking of these peers by `value`.
    pub(super) fn new(
        peers: impl Iterator<Item = &'a Neighbour>,
        value: impl Fn(&Neighbour) -> V,
    ) -> Self {
        let mut groups: HashMap<_, Vec<(V, &Neighbour)>> = HashMap::new();
        for peer in peers {
            let group = groups.entry((peer.subnet, peer.near)).or_default();
            group.push((value(peer), peer));
        }
        let mut ranking = Ranking {
            groups: Vec::with_capacity(groups.len()),
            heap: BinaryHeap::with_capacity(groups.len()),
        };
        for mut group in groups.into_values() {
            group.sort_by_key(|(value, _)| *value);
            if let Some((first, _)) = group.last() {
                ranking.heap.push((*first, ranking.groups.len()));
            }
            let group = group.into_iter().map(|(_, peer)| peer).collect();
            ranking.groups.push(group);
        }
        ranking
    }

    /// Takes out the first. The value of a peer may have become less since it was last
    /// computed, by the same amount for all of a group, and must not have become more.
    pub(super) fn next(&mut self, value: impl Fn(&Neighbour) -> V) -> Option<&'a Neighbour> {
        while let Some((before, at)) = self.heap.pop() {
            let group = &mut self.groups[at];
            let Some(first) = group.last().copied() else {
                continue;
            };
            let now = value(first);
            if now < before {
                self.heap.push((now, at));
                continue;
            }
            group.pop();
            if let Some(next) = group.last() {
                self.heap.push((value(next), at));
            }
            return Some(first);
        }
        None
    }
}
