//! The last hour of the node, for the status page: a ring of samples, and the latest
//! status that the event loop has reported.
//!
//! These are collected all the time rather than when a page is requested. So a page never
//! waits for the event loop, even when that is stuck, and a hundred visitors cost the
//! loop no more than one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_std::future::timeout;
use async_std::task::spawn_blocking;
use futures::StreamExt;
use prometheus::IntCounterVec;
use prometheus::core::Collector;

use crate::api::{LimitStatus, Status};
use crate::node::Handle;
use crate::node::bandwidth::Class;
use crate::store::Store;
use crate::telemetry::Direction;
use crate::web::metrics::Metrics;

/// The time between two samples.
pub const EVERY: Duration = Duration::from_secs(5);

/// The number of samples kept, which cover an hour and take some 100 KiB.
pub const KEPT: usize = 720;

/// How long the event loop may take to report its status. A loop that needs longer has a
/// problem, and the page shows what it reported last.
const PATIENCE: Duration = Duration::from_secs(2);

/// What can be refused or fail; each is a row of the page. The order is that of
/// [`Totals::refused`].
pub const REFUSALS: [&str; 7] = [
    "Connections",
    "Streams",
    "Gossip messages",
    "DHT records",
    "Blocks",
    "Dials of this node that failed",
    "Bans made",
];

/// Counters at one moment, counted since the start of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connected peers at that moment.
    pub peers: u64,
    /// Bytes of streams received.
    pub bytes_in: u64,
    /// Bytes of streams sent.
    pub bytes_out: u64,
    /// The number of refusals and failures, in the order of [`REFUSALS`].
    pub refused: [u64; REFUSALS.len()],
}

impl Totals {
    /// Reads the current values from the metrics.
    pub fn read(metrics: &Metrics) -> Self {
        let moved = |direction: Direction| {
            Class::ALL
                .iter()
                .map(|class| {
                    let bytes = &metrics.node.bandwidth_bytes;
                    let labels = [direction.as_str(), class.as_str()];
                    bytes.with_label_values(&labels).get()
                })
                .sum()
        };
        Totals {
            peers: metrics.node.connected_peers.get().try_into().unwrap_or(0),
            bytes_in: moved(Direction::In),
            bytes_out: moved(Direction::Out),
            refused: [
                sum(&metrics.node.connections_refused),
                sum(&metrics.node.traffic.streams_refused),
                sum(&metrics.node.messages_refused)
                    + dropped(metrics)
                    + metrics.policy.over_budget.get(),
                metrics.node.dht_records_refused.get(),
                sum(&metrics.block.blocks_refused) + sum(&metrics.store.store_refused),
                metrics.node.dial_failures.get(),
                metrics.policy.blacklist.get(),
            ],
        }
    }
}

/// Returns how many gossip messages were dropped. Copies of messages that are here
/// already are not counted, since gossip always produces them.
fn dropped(metrics: &Metrics) -> u64 {
    let dropped = counts(&metrics.node.gossip_dropped);
    dropped
        .filter(|(why, _)| why != "copy")
        .map(|(_, n)| n)
        .sum()
}

/// Returns the sum over all labels.
fn sum(counters: &IntCounterVec) -> u64 {
    counts(counters).map(|(_, count)| count).sum()
}

/// Returns the counters of a vector with one label, by the label's values.
pub(super) fn counts(counters: &IntCounterVec) -> impl Iterator<Item = (String, u64)> {
    let families = counters.collect().into_iter();
    families.flat_map(|family| {
        let metrics = family.get_metric().iter();
        metrics
            .map(|metric| {
                let label = metric.get_label().first();
                let label = label.map_or_else(String::new, |l| l.value().to_owned());
                // The counters hold whole numbers, far below the limit up to which a
                // float is exact.
                (label, metric.get_counter().get_value() as u64)
            })
            .collect::<Vec<_>>()
    })
}

/// One sample.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When it was taken.
    pub at: Instant,
    /// What was counted then.
    pub totals: Totals,
}

#[derive(Debug, Default)]
struct Kept {
    samples: VecDeque<Sample>,
    status: Option<Arc<Status>>,
    store: Option<LimitStatus>,
}

/// The figures of the last hour. Share it behind an [`Arc`].
#[derive(Debug, Default)]
pub struct LastHour {
    kept: Mutex<Kept>,
}

/// The part of it that the page shows.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The samples of the last hour, oldest first.
    pub samples: Vec<Sample>,
    /// The latest status from the event loop.
    pub status: Option<Arc<Status>>,
    /// How full the store is. The event loop does not know this.
    pub store: Option<LimitStatus>,
}

impl LastHour {
    /// Creates an empty history.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // The data is valid between any two statements, so that a panic cannot leave it
        // half changed.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes samples until the node has stopped.
    pub async fn run(self: Arc<Self>, node: Handle, store: Store, metrics: Arc<Metrics>) {
        let first = futures::stream::once(std::future::ready(Instant::now()));
        let mut ticks = first.chain(async_io::Timer::interval(EVERY));
        while let Some(now) = ticks.next().await {
            let status = match timeout(PATIENCE, node.status()).await {
                Ok(Ok(status)) => Some(*status),
                // The node is stopping. The page reports that until the process ends.
                Ok(Err(_)) => return,
                Err(_) => None,
            };
            let store = store.clone();
            let store = spawn_blocking(move || store.limit()).await;
            self.record(now, Totals::read(&metrics), status, Some(store));
        }
    }

    /// Adds a sample. When the event loop did not answer, its last status is kept.
    pub fn record(
        &self,
        at: Instant,
        totals: Totals,
        status: Option<Status>,
        store: Option<LimitStatus>,
    ) {
        let mut kept = self.lock();
        if kept.samples.len() >= KEPT {
            kept.samples.pop_front();
        }
        kept.samples.push_back(Sample { at, totals });
        if let Some(status) = status {
            kept.status = Some(Arc::new(status));
        }
        kept.store = store;
    }

    /// Returns everything that is known.
    pub fn view(&self) -> View {
        let kept = self.lock();
        View {
            samples: kept.samples.iter().copied().collect(),
            status: kept.status.clone(),
            store: kept.store.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_an_hour_and_no_more() {
        let last_hour = LastHour::new();
        let start = Instant::now();
        for n in 0..2 * KEPT as u64 {
            let totals = Totals {
                peers: n,
                ..Totals::default()
            };
            last_hour.record(start + EVERY * n as u32, totals, None, None);
        }
        let view = last_hour.view();
        assert_eq!(view.samples.len(), KEPT);
        assert_eq!(EVERY * KEPT as u32, Duration::from_secs(3600));
        let first = view.samples.first().unwrap();
        assert_eq!(first.totals.peers, KEPT as u64);
    }

    #[test]
    fn totals_follow_the_metrics_over_all_labels() {
        let metrics = Metrics::new().unwrap();
        assert_eq!(Totals::read(&metrics), Totals::default());
        metrics.node.connected_peers.set(3);
        for limit in ["bans", "other"] {
            metrics
                .node
                .connections_refused
                .with_label_values(&[limit])
                .inc();
        }
        for (class, bytes) in [("own", 5), ("bulk", 7)] {
            let moved = &metrics.node.bandwidth_bytes;
            moved.with_label_values(&["in", class]).inc_by(bytes);
        }
        metrics.node.dial_failures.inc_by(4);
        let totals = Totals::read(&metrics);
        assert_eq!(
            (totals.peers, totals.bytes_in, totals.bytes_out),
            (3, 12, 0)
        );
        assert_eq!(totals.refused, [2, 0, 0, 0, 0, 4, 0]);
    }
}
