//! The metrics of all modules, registered together.
//!
//! Each module owns what it counts (in its file `metrics.rs`). No decision of the node
//! depends on a metric; only the status page and the diagnosis read them, to inform
//! people.

use std::sync::Arc;

use prometheus::{Error, IntGauge};

use crate::telemetry::{Register as _, Registry};
use crate::{block, control, node, store};

/// See the module's documentation.
#[derive(Debug)]
pub struct Metrics {
    /// The registry with all metrics, from which they are scraped.
    pub registry: Registry,
    /// The metrics of connections, streams, the DHT, gossip, relaying and NAT traversal,
    /// and those that several modules share.
    pub node: Arc<node::Metrics>,
    /// The metrics of offences, budgets and bans.
    pub policy: Arc<node::PeerMetrics>,
    /// The metrics of blocks and announcements.
    pub block: Arc<block::Metrics>,
    /// The metrics of the store and its disk.
    pub store: Arc<store::Metrics>,
    /// The metrics of programs on this host.
    pub control: Arc<control::Metrics>,
    /// 1 while the event loop makes progress, 0 when it is stuck. It is set when it is
    /// read.
    pub live: IntGauge,
    /// 1 while the node is ready, 0 while it starts, drains or is stuck. It is set when
    /// it is read.
    pub ready: IntGauge,
    /// Whether the last reload of the configuration was applied.
    pub config_last_reload_successful: IntGauge,
    /// When the configuration was last applied.
    pub config_last_reload_success_timestamp: IntGauge,
}

impl Metrics {
    /// Creates and registers all metrics.
    ///
    /// # Errors
    /// Returns an error when a name is registered twice or breaks the naming rules, which
    /// is a mistake in the program and appears in every test.
    pub fn new() -> Result<Arc<Self>, Error> {
        let registry = Registry::new()?;
        Ok(Arc::new(Metrics {
            node: Arc::new(node::Metrics::register(&registry)?),
            policy: Arc::new(node::PeerMetrics::register(&registry)?),
            block: Arc::new(block::Metrics::register(&registry)?),
            store: Arc::new(store::Metrics::register(&registry)?),
            control: Arc::new(control::Metrics::register(&registry)?),
            live: registry.gauge(
                "p2p_live",
                "1 while the event loop makes progress, 0 when it is stuck, as /health/live says.",
            )?,
            ready: registry.gauge(
                "p2p_ready",
                "1 while the node is ready, 0 while it starts, drains or is stuck, as /health/ready says.",
            )?,
            config_last_reload_successful: registry.gauge(
                "p2p_config_last_reload_successful",
                "Whether the last reading of the configuration, at start or at reload, was applied (1) or refused (0).",
            )?,
            config_last_reload_success_timestamp: registry.gauge(
                "p2p_config_last_reload_success_timestamp_seconds",
                "When the configuration was last applied, at start or at reload.",
            )?,
            registry,
        }))
    }

    /// Returns all metrics in the Prometheus text format, version 0.0.4.
    ///
    /// # Errors
    /// Returns an error when a metric cannot be encoded; the text so far is dropped.
    pub fn render(&self) -> Result<String, Error> {
        self.registry.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_the_contract_is_rendered_from_the_start() {
        let text = Metrics::new().unwrap().render().unwrap();
        for name in [
            "libp2p_connections_opened_total",
            "libp2p_connections_active",
            "libp2p_dht_query_duration_seconds_bucket",
            "libp2p_gossipsub_messages_received_total",
            "libp2p_gossipsub_peers",
            "libp2p_relay_connections_active",
            "libp2p_nat_traversal",
            "process_resident_memory_bytes",
            "p2p_messages_total{direction=\"in\",protocol=\"gossip\"}",
            "p2p_message_processing_seconds_bucket",
            "p2p_peer_dial_failures_total",
            "p2p_blacklist_total",
        ] {
            assert!(text.contains(name), "{name} is missing from:\n{text}");
        }
    }

    /// If a label could take a value that a remote peer chose, there would be a series
    /// for each stranger, and Prometheus would run out of memory.
    #[test]
    fn every_label_is_of_a_kind_whose_values_are_fixed() {
        let names = Metrics::new().unwrap().registry.label_names();
        let fixed = [
            "cause",
            "class",
            "conduct",
            "direction",
            "kind",
            "limit",
            "method",
            "protocol",
            "reason",
            "result",
            "task",
            "version",
        ];
        let others: Vec<_> = names.iter().filter(|n| !fixed.contains(&&***n)).collect();
        assert!(
            others.is_empty(),
            "new labels {others:?}: may a remote choose a value?"
        );
        assert!(names.contains("reason"), "nothing was gathered: {names:?}");
    }
}
