//! Neighbours that vanished without a goodbye, which are tried again for days.
//!
//! When a network is split in two, the nodes of each half fill their floors from their
//! own side. Then no node lacks neighbours, and yet the halves have to find each other
//! when the split ends. So a node remembers the neighbours that fell silent, and
//! tries one of them every [`EVERY`]. In a network of 100 nodes of which each had
//! four neighbours across the split, all nodes try within 20 s of the end of any
//! split. A try at a host that is gone is one packet and its repetitions: 3 to 6
//! tries a minute for each node, at no cost to the peers that are alive.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

/// The longest time between two tries; `chance` makes it as little as half.
const EVERY: Duration = Duration::from_secs(20);

/// For how long a lost neighbour is tried. A week: nobody leaves a network split for
/// longer, and a host that is off for longer comes back by itself.
const FOR: Duration = Duration::from_secs(7 * 86_400);

/// Lost neighbours that are remembered: twice the default floor. The oldest gives way.
const MOST: usize = 16;

/// Addresses kept of each of them.
const ADDRESSES: usize = 4;

#[derive(Clone, Debug)]
struct LostPeer {
    peer: PeerId,
    addresses: Vec<Multiaddr>,
    since: Instant,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    /// The next to be tried first.
    list: VecDeque<LostPeer>,
    next: Option<Instant>,
}

impl Lost {
    /// `peer` fell silent at `now`. It is tried soon for the first time: most
    /// splits are short.
    pub(crate) fn add(
        &mut self,
        peer: PeerId,
        mut addresses: Vec<Multiaddr>,
        now: Instant,
        chance: f64,
    ) {
        if addresses.is_empty() {
            return;
        }
        addresses.truncate(ADDRESSES);
        self.list.retain(|m| m.peer != peer);
        if self.list.len() >= MOST {
            let oldest = self.list.iter().enumerate().min_by_key(|(_, m)| m.since);
            if let Some(oldest) = oldest.map(|(at, _)| at) {
                self.list.remove(oldest);
            }
        }
        self.list.push_front(LostPeer {
            peer,
            addresses,
            since: now,
        });
        if self.next.is_none_or(|next| next < now) {
            self.next = Some(now + EVERY.mul_f64(chance.clamp(0.0, 1.0)));
        }
    }

    /// `peer` is connected. Returns whether it was one of those that were lost.
    pub(crate) fn found(&mut self, peer: &PeerId) -> bool {
        let before = self.list.len();
        self.list.retain(|m| m.peer != *peer);
        self.list.len() < before
    }

    /// The peer to dial at `now`, and its addresses.
    pub(crate) fn due(&mut self, now: Instant, chance: f64) -> Option<(PeerId, Vec<Multiaddr>)> {
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        self.list
            .retain(|m| now.saturating_duration_since(m.since) < FOR);
        let first = self.list.pop_front()?;
        self.list.push_back(first.clone());
        self.next = Some(now + EVERY.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0));
        Some((first.peer, first.addresses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Vec<Multiaddr> {
        vec!["/ip4/192.0.2.1/tcp/4001".parse().unwrap()]
    }

    #[test]
    fn lost_ones_are_tried_in_turn_until_they_are_found() {
        let (mut lost, mut now) = (Lost::default(), Instant::now());
        let [a, b] = [PeerId::random(), PeerId::random()];
        assert_eq!(lost.due(now, 0.0), None);
        lost.add(a, address(), now, 0.0);
        lost.add(b, address(), now, 0.0);
        for peer in [b, a, b, a] {
            assert_eq!(lost.due(now, 0.0), Some((peer, address())));
            assert_eq!(lost.due(now + EVERY - Duration::from_millis(1), 0.0), None);
            now += EVERY;
        }
        assert!(lost.found(&a));
        assert!(!lost.found(&a));
        assert_eq!(lost.due(now, 1.0), Some((b, address())));
        assert_eq!(lost.due(now + EVERY / 2, 0.0), Some((b, address())));
        now += FOR;
        assert_eq!(lost.due(now, 0.0), None);
    }

    #[test]
    fn the_first_try_comes_soon_and_the_memory_is_bounded() {
        let (mut lost, now) = (Lost::default(), Instant::now());
        lost.add(PeerId::random(), address(), now, 0.5);
        assert_eq!(lost.due(now + EVERY / 4, 0.0), None);
        assert!(lost.due(now + EVERY / 2, 0.0).is_some());
        lost.add(PeerId::random(), Vec::new(), now, 0.0);
        assert_eq!(lost.list.len(), 1, "nobody can be tried without an address");
        let peers: Vec<PeerId> = (0..2 * MOST).map(|_| PeerId::random()).collect();
        for (n, peer) in peers.iter().enumerate() {
            let at = now + Duration::from_secs(n as u64);
            lost.add(*peer, vec![address().remove(0); 9], at, 0.0);
        }
        assert_eq!(lost.list.len(), MOST);
        assert!(lost.found(&peers[MOST]) && !lost.found(&peers[MOST - 1]));
        assert!(lost.list.iter().all(|m| m.addresses.len() == ADDRESSES));
    }
}
