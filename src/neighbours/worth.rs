//! What a peer is worth in addition to those that are already kept.

use std::collections::HashMap;
use std::time::Duration;

use ipnet::IpNet;

use super::neighbour::Neighbour;

/// Points, then age.
pub(super) type Worth = (i32, Duration);

/// The peers that are kept, as far as the worth of others depends on them.
#[derive(Debug)]
pub(super) struct Kept {
    floor: usize,
    count: usize,
    near: usize,
    subnets: HashMap<IpNet, i32>,
    /// How often the worth of a peer was asked for.
    #[cfg(test)]
    pub(super) asked: std::cell::Cell<usize>,
}

impl Kept {
    /// No peer is kept yet, by a node with this floor.
    pub(super) fn under(floor: usize) -> Self {
        Kept {
            floor,
            count: 0,
            near: 0,
            subnets: HashMap::new(),
            #[cfg(test)]
            asked: std::cell::Cell::new(0),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn add(&mut self, peer: &Neighbour) {
        self.count += 1;
        self.near += usize::from(peer.near);
        if let Some(subnet) = peer.subnet {
            *self.subnets.entry(subnet).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, peer: &Neighbour) {
        self.count -= 1;
        self.near -= usize::from(peer.near);
        if let Some(same) = peer.subnet.and_then(|s| self.subnets.get_mut(&s)) {
            *same -= 1;
        }
    }

    /// What it would be worth to keep `peer` as well. This never increases while others
    /// are added.
    pub(super) fn worth(&self, peer: &Neighbour) -> Worth {
        self.points(peer, self.near, self.same(peer))
    }

    /// What `peer`, which is one of them, is worth in addition to the others. This never
    /// decreases while others are removed.
    pub(super) fn worth_within(&self, peer: &Neighbour) -> Worth {
        let near = self.near - usize::from(peer.near);
        let same = self.same(peer) - i32::from(peer.subnet.is_some());
        self.points(peer, near, same)
    }

    /// How many are in the same subnet.
    fn same(&self, peer: &Neighbour) -> i32 {
        let same = peer.subnet.and_then(|s| self.subnets.get(&s));
        same.copied().unwrap_or(0)
    }

    fn points(&self, peer: &Neighbour, near: usize, same: i32) -> Worth {
        #[cfg(test)]
        self.asked.set(self.asked.get() + 1);
        let minutes = peer.age.as_secs() / 60;
        let points = 8 * i32::from(peer.returned)
            + match minutes {
                0 => 0,
                1..10 => 1,
                10..60 => 2,
                _ => 3,
            }
            + 2 * i32::from(peer.dialed)
            + 2 * i32::from(peer.gossip)
            + match (peer.near, near < self.floor.div_ceil(2)) {
                (true, true) => 2,
                (true, false) => -2,
                _ => 0,
            }
            - 4 * same;
        (points, peer.age)
    }
}
