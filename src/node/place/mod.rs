//! A node's place in its network: a few connections that live although nobody
//! uses them.
//!
//! | file | noun |
//! |---|---|
//! | [`floor`] | which of the connected peers are kept (`P2P_MIN_PEERS`) |
//! | `worth` | what a peer is worth beside those that are kept |
//! | `ranking` | peers one after another, when each choice changes what others are worth |
//! | [`search`] | whom to dial while there are too few |
//! | [`lost`] | neighbours that fell silent, tried again for long |
//! | [`refresh`] | when to walk the DHT |
//! | [`walk`] | where to |
//!
//! The loop looks at it once a second, does what they say, and agrees with the
//! peers through [`super::keep`].
//!
//! # Why eight
//!
//! A floor of F gives a node F connections that are kept at least, those that others
//! asked for included ([`floor`]), and 2 F at most on average, when none of its own
//! are among those that others asked for. Measured with `benches/quiet.py` on 30
//! daemons of which two are bootstrap nodes, five minutes each: 4 to 16 with F = 4
//! (median 6), 8 to 25 with F = 8 (median 11), and 16 to 29, which is everybody, with
//! F = 16 (median 24); after the first minute nobody made a connection in any of the
//! three. Taking F, and 64 KiB for a connection over TCP on one side
//! (`benches/README.md`):
//!
//! | F | loses all when 3 of 10 nodes die, 0.3^F | of 10,000 nodes | memory, F to 2 F |
//! |---|---|---|---|
//! | 4 | 1 in 123 | 57 of the 7,000 that live | 0.25 to 0.5 MiB |
//! | 8 | 1 in 15,000 | none or one | 0.5 to 1 MiB |
//! | 16 | 1 in 230,000,000 | none | 1 to 2 MiB |
//!
//! So eight is the least with which such a blow leaves nobody alone in a network of
//! the size that this one is made for; who is alone is back within seconds, so that
//! the one in 15,000 does no harm, and dozens at once would come to the bootstrap
//! nodes together. Sixteen doubles the memory and the pings, four a minute each way
//! on each connection, for a chance that is small already. What makes the first
//! look-up fast is one living neighbour; the rest is reserve.
//!
//! # What ten thousand quiet nodes cost a bootstrap node
//!
//! - Connections: it keeps 150 of them at most with default limits
//!   ([`super::keep`]), and these let it go when they have found others.
//! - Handshakes: a node with its floor looks up its own id eight times a day, at
//!   twelve handshakes, and visits the far buckets once ([`refresh`], [`walk`]), at
//!   some six for each of log2 (10,000 / 20) = 9: 12/180 + 54/1440 = 0.10 handshakes a
//!   minute. All of 10,000 nodes together make 1,000 a minute, and these are spread
//!   over all nodes that serve the DHT. If one bootstrap node were on the way of each
//!   walk, that were 10,000 * 9 a day, one a second, of the 64 that it takes by default.
//! - A node that finds nobody but a full bootstrap node comes back to it after a
//!   minute at first and after five in the end: 10,000 / 300 s = 33 a second, half
//!   of what it takes, in the worst of cases.

pub(super) mod floor;
pub(super) mod lost;
mod ranking;
pub(super) mod refresh;
pub(super) mod search;
pub(super) mod walk;
mod worth;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::PeerId;

/// For how long it counts that a peer came back.
const RETURNED: Duration = Duration::from_secs(600);

/// A peer counts as a neighbour whose loss matters when its connection stood for
/// so long, or was kept.
pub(super) const SETTLED: Duration = Duration::from_secs(60);

/// What the loop keeps of all this.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) lost: lost::Lost,
    pub(super) search: search::Search,
    pub(super) refresh: refresh::Refresh,
    /// Connected peers that had been lost; bounded by what `lost` holds in this time.
    returned: HashMap<PeerId, Instant>,
    /// Whom the floor holds, bounded by it: those whose loss matters.
    pub(super) held: HashSet<PeerId>,
    /// How many neighbours were missing when it was last looked at.
    pub(super) missing: usize,
    /// How many connected peers the floor could not hold then: they had refused.
    pub(super) refused: usize,
}

impl Place {
    pub(super) fn new(now: Instant) -> Self {
        Place {
            lost: lost::Lost::default(),
            search: search::Search::default(),
            refresh: refresh::Refresh::new(now, rand::random),
            returned: HashMap::new(),
            held: HashSet::new(),
            missing: 0,
            refused: 0,
        }
    }

    /// A connection with `peer` stands.
    pub(super) fn connected(&mut self, peer: &PeerId, now: Instant) {
        self.search.connected(peer);
        if self.lost.found(peer) {
            self.returned.insert(*peer, now);
        }
    }

    /// Whether `peer` was lost and came back a short while ago.
    pub(super) fn is_returned(&self, peer: &PeerId) -> bool {
        self.returned.contains_key(peer)
    }

    /// Forgets who came back long ago.
    pub(super) fn tend(&mut self, now: Instant) {
        self.returned
            .retain(|_, at| now.saturating_duration_since(*at) < RETURNED);
    }
}
