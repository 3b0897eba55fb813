//! Counts blocks and announcements.

use prometheus::{Error, IntCounterVec, IntGauge};

use crate::block::exchange::ServeError;
use crate::content::refusal::{Refusal, RefusalKind};
use crate::content::schedule::Outcome;
use crate::telemetry::Direction;
use crate::telemetry::{self, Registry, Traffic, touch};

/// The name of the exchange's messages in the metrics that several modules share.
const PROTOCOL: &str = "block";

/// The metrics of blocks and announcements. Recording never blocks.
#[derive(Debug)]
pub struct Metrics {
    /// The number of roots that are waiting to be announced to the DHT, including those
    /// under way.
    pub announcements_waiting: IntGauge,
    /// For how many seconds the most overdue of them has waited.
    pub announcements_lateness: IntGauge,
    /// Announcements that have ended, by `result` (`ok`, `unverified`, `failed`).
    pub announcements: IntCounterVec,
    /// Bytes of block payload moved by the exchange, by `direction`.
    pub block_bytes: IntCounterVec,
    /// Blocks from peers that were refused, by `reason` ([`RefusalKind`]).
    pub blocks_refused: IntCounterVec,
    /// Counters that are shared with other modules.
    pub traffic: Traffic,
}

impl telemetry::Register for Metrics {
    fn register(registry: &Registry) -> Result<Self, Error> {
        let metrics = Metrics {
            announcements_waiting: registry.gauge(
                "p2p_announcements_waiting",
                "Files of this host that wait to be announced to the DHT now, including those under way.",
            )?,
            announcements_lateness: registry.gauge(
                "p2p_announcements_lateness_seconds",
                "How long the most overdue announcement has waited; 0 when none waits.",
            )?,
            announcements: registry.counters(
                "p2p_announcements_total",
                "Announcements to the DHT that have ended since start, by result: ok, unverified (the peers that were told cannot say whether they hold the record, or were not asked), failed (no peer could be told, or too few accepted the record; it is tried again).",
                &["result"],
            )?,
            block_bytes: registry.counters(
                "p2p_block_bytes_total",
                "Bytes of block payload moved between peers since start, by direction.",
                &["direction"],
            )?,
            blocks_refused: registry.counters(
                "p2p_blocks_refused_total",
                "Blocks from peers refused since start, by reason.",
                &["reason"],
            )?,
            traffic: registry.traffic(),
        };
        touch(
            &metrics.blocks_refused,
            RefusalKind::ALL.map(RefusalKind::as_str),
        );
        touch(&metrics.announcements, Outcome::RESULTS);
        touch(&metrics.traffic.streams_refused, ServeError::REFUSALS);
        for direction in Direction::ALL.map(Direction::as_str) {
            let _ = metrics.block_bytes.with_label_values(&[direction]);
            metrics.traffic.touch(direction, PROTOCOL);
        }
        metrics.traffic.touch_processing(&[PROTOCOL]);
        Ok(metrics)
    }
}

impl Metrics {
    /// Counts a message of the exchange.
    pub(super) fn message(&self, direction: Direction) {
        self.traffic.message(direction, PROTOCOL);
    }

    /// Records that a want was answered this number of seconds after it had arrived.
    pub(super) fn answered_after(&self, seconds: f64) {
        let processing = &self.traffic.message_processing;
        processing.with_label_values(&[PROTOCOL]).observe(seconds);
    }

    /// Counts bytes of block payload.
    pub(super) fn moved(&self, direction: Direction, bytes: usize) {
        let moved = &self.block_bytes;
        moved
            .with_label_values(&[direction.as_str()])
            .inc_by(bytes as u64);
    }

    /// Counts an inbound stream that is not served, or no longer served, for this reason.
    pub(super) fn stream_refused(&self, reason: &'static str) {
        let refused = &self.traffic.streams_refused;
        refused.with_label_values(&[reason]).inc();
    }

    /// Counts an announcement that has ended.
    pub(super) fn announced(&self, outcome: Outcome) {
        let ended = &self.announcements;
        ended.with_label_values(&[outcome.result()]).inc();
    }

    /// Counts a block that was refused.
    pub(super) fn refused(&self, why: &Refusal) {
        let refused = &self.blocks_refused;
        refused.with_label_values(&[why.reason()]).inc();
    }
}
