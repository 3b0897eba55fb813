//! A node's place in its network: a few connections that are kept although nothing uses
//! them.
//!
//! | file | noun |
//! |---|---|
//! | [`floor`] | which of the connected peers are kept (`P2P_MIN_PEERS`) |
//! | [`neighbour`] | a connected peer, among which is chosen |
//! | `worth` | what a peer is worth beside those that are kept |
//! | `ranking` | peers in the order of a value that each choice changes |
//! | [`search`] | whom to dial while there are too few |
//! | [`lost`] | neighbours that fell silent, tried again for days |
//! | [`backoff`] | when to try something again |
//! | [`reported`] | which of the addresses under which others see this node are tested |
//!
//! When to walk the DHT to refresh its routing table is decided in
//! [`crate::dht::refresh`]. The event loop asks all of these once a second, does what
//! they say, and agrees with the peers through `node::keep`. Nothing here reads a clock
//! or does I/O: time and chance come as arguments.
//!
//! # Why eight
//!
//! With a floor of F a node keeps at least F connections, including those that others
//! asked for ([`floor`]), and 2 F at most on average, when none of its own are among
//! those that others asked for. Measured with `benches/quiet.py` on 30
//! daemons of which two are bootstrap nodes, five minutes each: 4 to 16 with F = 4
//! (median 6), 8 to 25 with F = 8 (median 11), and 16 to 29, which is everybody, with
//! F = 16 (median 24); after the first minute nobody made a connection in any of the
//! three. For F neighbours, and 64 KiB for a connection over TCP on one side
//! (`benches/README.md`):
//!
//! | F | loses all when 3 of 10 nodes die, 0.3^F | of 10,000 nodes | memory, F to 2 F |
//! |---|---|---|---|
//! | 4 | 1 in 123 | 57 of the 7,000 that live | 0.25 to 0.5 MiB |
//! | 8 | 1 in 15,000 | none or one | 0.5 to 1 MiB |
//! | 16 | 1 in 230,000,000 | none | 1 to 2 MiB |
//!
//! So eight is the least with which such a loss leaves nobody alone in a network of the
//! size that this one is made for. A node that is alone is back within seconds, so that
//! one in 15,000 does no harm; with a smaller floor, dozens would come to the bootstrap
//! nodes at once. Sixteen doubles the memory and the pings, four a minute each way on
//! each connection, for a chance that is small already. One neighbour that is alive
//! makes the first look-up fast; the others are a reserve.
//!
//! # What ten thousand quiet nodes cost a bootstrap node
//!
//! - Connections: it keeps 150 of them at most with default limits (`node::keep`), and
//!   these nodes let it go when they have found others.
//! - Handshakes: a node with its floor looks up its own id eight times a day, at
//!   twelve handshakes, and visits the far buckets once ([`crate::dht::refresh`]), at
//!   some six for each of log2 (10,000 / 20) = 9: 12/180 + 54/1440 = 0.10 handshakes a
//!   minute. All of 10,000 nodes together make 1,000 a minute, and these are spread
//!   over all nodes that serve the DHT. If each walk led
//!   past one bootstrap node, that would be 10,000 * 9 a day, one a second, of the 64
//!   that it takes by default.
//! - A node that finds nobody but a full bootstrap node comes back to it after a
//!   minute at first and after five minutes in the end: in the worst case that is
//!   10,000 / 300 s = 33 a second, half of what it takes.

pub(crate) mod backoff;
pub(crate) mod floor;
pub(crate) mod lost;
pub(crate) mod neighbour;
mod ranking;
pub(crate) mod reported;
pub(crate) mod search;
mod worth;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::PeerId;

use crate::dht::refresh::Refresh;

/// How long it counts that a peer came back.
const RETURNED: Duration = Duration::from_secs(600);

/// The loss of a peer that this node kept matters when the connection had been
/// established for so long.
pub(crate) const SETTLED: Duration = Duration::from_secs(60);

/// What is remembered of a node's neighbours.
#[derive(Debug)]
pub(crate) struct Neighbours {
    pub(crate) lost: lost::Lost,
    pub(crate) search: search::Search,
    pub(crate) refresh: Refresh,
    /// Connected peers that had been lost, and when they came back; bounded by how many
    /// `lost` holds in this time.
    returned: HashMap<PeerId, Instant>,
    /// The peers that are kept for the floor, bounded by it: those whose loss matters.
    pub(crate) kept: HashSet<PeerId>,
    /// How many neighbours were missing when this was last decided.
    pub(crate) missing: usize,
    /// How many connected peers could not be kept then because they had refused.
    pub(crate) refused: usize,
}

impl Neighbours {
    /// Those of a node that starts at `now`.
    pub(crate) fn new(now: Instant, chance: impl FnMut() -> f64) -> Self {
        Neighbours {
            lost: lost::Lost::default(),
            search: search::Search::default(),
            refresh: Refresh::new(now, chance),
            returned: HashMap::new(),
            kept: HashSet::new(),
            missing: 0,
            refused: 0,
        }
    }

    /// A connection with `peer` is established.
    pub(crate) fn connected(&mut self, peer: &PeerId, now: Instant) {
        self.search.connected(peer);
        if self.lost.found(peer) {
            self.returned.insert(*peer, now);
        }
    }

    /// Whether `peer` was lost and came back recently.
    pub(crate) fn is_returned(&self, peer: &PeerId) -> bool {
        self.returned.contains_key(peer)
    }

    /// Forgets the peers that came back long ago.
    pub(crate) fn tend(&mut self, now: Instant) {
        self.returned
            .retain(|_, at| now.saturating_duration_since(*at) < RETURNED);
    }
}
