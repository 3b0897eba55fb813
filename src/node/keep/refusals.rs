//! Peers that refused to keep a connection with this node, so that it asks
//! others and does not come back to them at once.
//!
//! Pure: time and chance are arguments.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

/// How long a peer is left alone after its first refusal.
const FIRST: Duration = Duration::from_secs(60);

/// The longest time that it is left alone, after six refusals in a row. A full node
/// with ten thousand peers that all want to be kept is asked by three of them a second.
const LONGEST: Duration = Duration::from_secs(3600);

/// The number of peers that are remembered, with about 100 bytes each. A node looks for
/// tens of peers; more than this refuse it only if nearly all do.
const MOST: usize = 1_024;

#[derive(Clone, Copy, Debug)]
struct Refusal {
    times: u32,
    until: Instant,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<PeerId, Refusal>);

impl Refusals {
    /// `peer` refused at `now`. `chance` (0.0 to 1.0) shortens the pause by up to a half,
    /// so that nodes that were refused together do not return together.
    pub(super) fn refused(&mut self, peer: PeerId, now: Instant, chance: f64) {
        if self.0.len() >= MOST && !self.0.contains_key(&peer) {
            let first = self.0.iter().min_by_key(|(_, r)| r.until);
            if let Some(first) = first.map(|(peer, _)| *peer) {
                self.0.remove(&first);
            }
        }
        let refusal = self.0.entry(peer).or_insert(Refusal {
            times: 0,
            until: now,
        });
        let pause = FIRST
            .saturating_mul(1 << refusal.times.min(16))
            .min(LONGEST);
        refusal.times = refusal.times.saturating_add(1);
        refusal.until = now + pause.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0);
    }

    /// `peer` keeps a connection with this node.
    pub(super) fn agreed(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }

    /// Whether `peer` is left alone at `now`.
    pub(super) fn stands(&self, peer: &PeerId, now: Instant) -> bool {
        self.0.get(peer).is_some_and(|r| now < r.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_an_hour_and_end_with_an_agreement() {
        let (mut refusals, peer) = (Refusals::default(), PeerId::random());
        let mut now = Instant::now();
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = Duration::from_secs(60 * minutes);
            refusals.refused(peer, now, 0.0);
            assert!(refusals.stands(&peer, now + pause - Duration::from_millis(1)));
            now += pause;
            assert!(!refusals.stands(&peer, now));
        }
        refusals.refused(peer, now, 1.0);
        assert!(!refusals.stands(&peer, now + LONGEST / 2));
        refusals.agreed(&peer);
        refusals.refused(peer, now, 0.0);
        assert!(!refusals.stands(&peer, now + FIRST));
    }

    #[test]
    fn the_memory_is_bounded_and_loses_what_would_end_first() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let peers: Vec<PeerId> = (0..=MOST).map(|_| PeerId::random()).collect();
        for (n, peer) in peers.iter().enumerate() {
            refusals.refused(*peer, now + Duration::from_millis(n as u64), 0.0);
        }
        assert_eq!(refusals.0.len(), MOST);
        assert!(!refusals.0.contains_key(&peers[0]));
        assert!(refusals.0.contains_key(&peers[1]) && refusals.0.contains_key(&peers[MOST]));
    }
}
