//! Ceilings for what the whole node sends and receives, shared between peers.
//!
//! Every stream of every connection passes `accounting` (below libp2p), where its bytes
//! are counted and, under a ceiling, charged. The streams of content and of
//! programs pass `streams` too (above libp2p), where they wait for their turn
//! *before* they move bytes. While a stream is not read, the flow control of yamux or
//! QUIC slows the sender; while it is not written, the local writer waits.
//!
//! | file | noun |
//! |---|---|
//! | `class` | what a stream is for |
//! | `queue` | the token bucket, and which peer is next; pure |
//! | `shaper` | one direction: the queue, its lock, its one timer |
//!
//! Only the payload of streams counts. What the ciphers, the multiplexers, TCP and IP
//! add (some percent) is not included, and neither is what a peer sends ahead within the
//! receive windows of its streams, once for each stream.
//!
//! A relayed connection runs inside a stream of the connection with the relay,
//! where its bytes are charged; its own streams wait for their turn and are not
//! charged again.
//!
//! Without a ceiling, the default, all of this is two loads and two adds
//! for each read and write.

mod class;
mod queue;
mod shaper;

use std::sync::Arc;

use prometheus::IntCounter;

use crate::node::Metrics;
use crate::telemetry::Direction;

pub(crate) use class::Class;
pub(super) use shaper::{Shaper, Turn};

/// Both directions. Clones are handles to the same ceilings.
#[derive(Clone, Debug)]
pub(super) struct Bandwidth(Arc<Both>);

#[derive(Debug)]
struct Both {
    up: Arc<Shaper>,
    down: Arc<Shaper>,
    moved: [[IntCounter; 2]; 2],
}

impl Bandwidth {
    /// Ceilings in bytes a second; `None` is none.
    pub(super) fn new(upload: Option<u64>, download: Option<u64>, metrics: &Metrics) -> Self {
        let counters = |vec: &prometheus::IntCounterVec| {
            Direction::ALL.map(|direction| {
                Class::ALL.map(|class| vec.with_label_values(&[direction.as_str(), class.as_str()]))
            })
        };
        let [waits_in, waits_out] = counters(&metrics.bandwidth_waits);
        Bandwidth(Arc::new(Both {
            up: Shaper::new(upload, waits_out),
            down: Shaper::new(download, waits_in),
            moved: counters(&metrics.bandwidth_bytes),
        }))
    }

    /// Changes the ceilings from now on.
    pub(super) fn adjust(&self, upload: Option<u64>, download: Option<u64>) {
        self.0.up.set_rate(upload);
        self.0.down.set_rate(download);
    }

    /// The ceiling of a direction.
    pub(super) fn shaper(&self, direction: Direction) -> &Arc<Shaper> {
        match direction {
            Direction::In => &self.0.down,
            Direction::Out => &self.0.up,
        }
    }

    /// Bytes that passed since the start.
    pub(super) fn moved(&self, direction: Direction) -> u64 {
        let counters = match direction {
            Direction::In => &self.0.moved[0],
            Direction::Out => &self.0.moved[1],
        };
        counters.iter().map(IntCounter::get).sum()
    }

    /// Counts bytes that passed.
    pub(super) fn count(&self, direction: Direction, class: Class, bytes: usize) {
        let direction = match direction {
            Direction::In => 0,
            Direction::Out => 1,
        };
        self.0.moved[direction][class as usize].inc_by(bytes as u64);
    }
}
