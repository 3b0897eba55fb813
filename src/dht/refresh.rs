//! When to walk the DHT in order to refresh the routing table.
//!
//! A walk costs handshakes, for this node and for those that it meets: a look-up
//! of the own id asks the twenty closest peers, of which some eight are connected,
//! so about twelve; a visit of the far buckets asks about six for each of
//! log2 (n / 20) of them ([`super::walk`]). The walk of libp2p-kad asks twenty for each
//! of log2 n, which in a network of 100 nodes is nearly everybody, 90; one every five
//! minutes, as is its default, would be 18 a node and minute there.
//!
//! But a table does not age by itself. Every query corrects the entries that it uses;
//! a node that joins the network looks up its own id, and so contacts those who should
//! know it; and the neighbours that a node keeps are known to be alive, so that its
//! first step always works. So a node with steady neighbours looks up its own id every
//! three hours and visits the far buckets once a day:
//! 12/180 + 18/1440 = 0.08 handshakes a minute in a network of 100, and
//! 12/180 + 72/1440 = 0.12 in one of a million (twelve far buckets at most).
//!
//! A node that has lost its neighbours, or that finds nobody to dial, walks soon, and
//! waits longer each time that does not help.

use std::time::{Duration, Instant};

/// The time between two look-ups of the node's own id.
const NEAR_EVERY: Duration = Duration::from_secs(3 * 3600);

/// The time between two visits of the far buckets.
const ALL_EVERY: Duration = Duration::from_secs(24 * 3600);

/// The first pause after a walk that was made because peers were missing.
const SOON: Duration = Duration::from_secs(15);

/// The longest such pause. A small network has no more peers than its nodes have found.
const LATE: Duration = Duration::from_secs(1800);

/// How far to walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walk {
    /// Only to the node's own id.
    Near,
    /// To the node's own id, and then through the far buckets.
    All,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Refresh {
    near: Instant,
    all: Instant,
    /// When the next walk may be made because peers are missing.
    want: Instant,
    wants: u32,
}

/// Shortens a duration by up to a quarter.
fn spread(full: Duration, chance: f64) -> Duration {
    full.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 4.0)
}

impl Refresh {
    /// For a node that starts at `now`. Kademlia walks the DHT by itself when it meets
    /// its first peers.
    pub(crate) fn new(now: Instant, mut chance: impl FnMut() -> f64) -> Self {
        Refresh {
            near: now + spread(NEAR_EVERY, chance()),
            all: now + spread(ALL_EVERY, chance()),
            want: now + SOON,
            wants: 0,
        }
    }

    /// What to do at `now`. `wanting` is whether there are fewer neighbours than there
    /// should be and no peers left to dial.
    pub(crate) fn due(
        &mut self,
        wanting: bool,
        now: Instant,
        mut chance: impl FnMut() -> f64,
    ) -> Option<Walk> {
        if !wanting {
            self.wants = 0;
        } else if now >= self.want {
            let pause = SOON.saturating_mul(1 << self.wants.min(16)).min(LATE);
            self.wants = self.wants.saturating_add(1);
            self.want = now + spread(pause, chance());
            self.near = now + spread(NEAR_EVERY, chance());
            return Some(Walk::Near);
        }
        if now >= self.all {
            self.all = now + spread(ALL_EVERY, chance());
            self.near = now + spread(NEAR_EVERY, chance());
            return Some(Walk::All);
        }
        if now >= self.near {
            self.near = now + spread(NEAR_EVERY, chance());
            return Some(Walk::Near);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_node_walks_eight_times_a_day() {
        let start = Instant::now();
        let mut refresh = Refresh::new(start, || 0.0);
        let mut walks = Vec::new();
        for minute in 0..=48 * 60 {
            let now = start + Duration::from_secs(60 * minute);
            if let Some(walk) = refresh.due(false, now, || 0.0) {
                walks.push((minute / 60, walk));
            }
        }
        assert_eq!(walks.len(), 16);
        assert_eq!(walks[..2], [(3, Walk::Near), (6, Walk::Near)]);
        assert_eq!((walks[7], walks[15]), ((24, Walk::All), (48, Walk::All)));
    }

    #[test]
    fn a_node_that_wants_peers_walks_soon_and_ever_later() {
        let start = Instant::now();
        let mut refresh = Refresh::new(start, || 0.0);
        assert_eq!(refresh.due(true, start, || 0.0), None);
        let mut now = start + SOON;
        for pause in [15, 30, 60, 120, 240, 480, 960, 1800, 1800] {
            assert_eq!(refresh.due(true, now, || 0.0), Some(Walk::Near));
            let pause = Duration::from_secs(pause);
            assert_eq!(refresh.due(true, now + pause / 2, || 0.0), None);
            now += pause;
        }
        // It helped; the next time it is soon again.
        assert_eq!(refresh.due(false, now, || 0.0), None);
        assert_eq!(refresh.due(true, now, || 0.0), Some(Walk::Near));
        assert_eq!(refresh.due(true, now + SOON, || 0.0), Some(Walk::Near));
    }
}
