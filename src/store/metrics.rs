//! What is counted of the store and of the disk under it.

use prometheus::{Error, IntCounterVec, IntGauge};

use crate::telemetry::{self, Registry, touch};

/// The metrics of this room. Recording never blocks.
#[derive(Debug)]
pub struct Metrics {
    /// Bytes of disk that the store may take.
    pub store_limit: IntGauge,
    /// Blocks in the store now.
    pub store_blocks: IntGauge,
    /// Bytes of block payload in the store now.
    pub store_bytes: IntGauge,
    /// Bytes of disk that the store takes, what it has not yet given back included.
    pub store_disk_bytes: IntGauge,
    /// Blocks that the store could not take, by `reason` (`full`, `disk_full`).
    pub store_refused: IntCounterVec,
    /// Bytes free for the node on the file system of its data.
    pub filesystem_available: IntGauge,
    /// Bytes of the file system of its data.
    pub filesystem_size: IntGauge,
    /// Blocks removed from the store, by `cause` (`expired`, `evicted`, `removed`).
    pub store_removed: IntCounterVec,
}

impl telemetry::Register for Metrics {
    fn register(registry: &Registry) -> Result<Self, Error> {
        let metrics = Metrics {
            store_limit: registry.gauge(
                "p2p_store_limit_bytes",
                "Disk space that blocks may take.",
            )?,
            store_blocks: registry.gauge("p2p_store_blocks", "Blocks in the store now.")?,
            store_bytes: registry.gauge(
                "p2p_store_bytes",
                "Bytes of block payload in the store now.",
            )?,
            store_disk_bytes: registry.gauge(
                "p2p_store_disk_bytes",
                "Bytes of disk that the block store takes now, which P2P_STORE_MAX_BYTES limits.",
            )?,
            store_refused: registry.counters(
                "p2p_store_refused_total",
                "Blocks that the store could not accept since start, by reason (full: its own cap; disk_full: the file system).",
                &["reason"],
            )?,
            filesystem_available: registry.gauge(
                "p2p_data_filesystem_available_bytes",
                "Bytes that the node may still write to the file system of its data folder.",
            )?,
            filesystem_size: registry.gauge(
                "p2p_data_filesystem_size_bytes",
                "Bytes of the file system of the data folder.",
            )?,
            store_removed: registry.counters(
                "p2p_store_blocks_removed_total",
                "Blocks removed from the store since start, by cause.",
                &["cause"],
            )?,
        };
        touch(&metrics.store_removed, ["expired", "evicted", "removed"]);
        touch(&metrics.store_refused, ["full", "disk_full"]);
        Ok(metrics)
    }
}
