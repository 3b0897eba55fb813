//! Every metric of the node, made and registered in one place.
//!
//! Names, types and units follow the Prometheus conventions: counters end in
//! `_total`, times are in seconds, sizes in bytes. No label ever holds a peer
//! id, an address or a topic that a remote chose: a remote that can mint label
//! values can grow Prometheus without bound.

use std::sync::Arc;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::admission::Conduct;
use crate::admission::refusal::Refusal;

/// Which way a message, byte or connection went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a remote to this node.
    In,
    /// From this node to a remote.
    Out,
}

impl Direction {
    /// The label value: `in` or `out`.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
        }
    }
}

/// The node's metrics. Cheap to clone behind an [`Arc`]; recording never blocks.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Connections opened since start, both directions.
    pub connections_opened: IntCounter,
    /// Connections open now.
    pub connections_active: IntGauge,
    /// Peers with at least one connection now.
    pub connected_peers: IntGauge,
    /// 1 while the event loop makes progress, 0 when it is stuck; set when asked for.
    pub live: IntGauge,
    /// 1 while the node is ready, 0 while it starts, drains or is stuck; set when asked for.
    pub ready: IntGauge,
    /// Connections open now that peers made.
    pub connections_inbound: IntGauge,
    /// Connections open now that this node made.
    pub connections_outbound: IntGauge,
    /// Connections allowed, both directions: what is in force.
    pub connections_limit: IntGauge,
    /// Inbound connections allowed.
    pub connections_inbound_limit: IntGauge,
    /// Outbound connections allowed.
    pub connections_outbound_limit: IntGauge,
    /// Resident bytes above which new connections are refused; 0 without.
    pub memory_limit: IntGauge,
    /// Bytes of disk that the store may take.
    pub store_limit: IntGauge,
    /// DHT values kept at most, and as many keys with provider records.
    pub dht_records_limit: IntGauge,
    /// Circuits that the relay server allows; 0 without one.
    pub relay_connections_limit: IntGauge,
    /// Reservations that the relay server allows; 0 without one.
    pub relay_reservations_limit: IntGauge,
    /// Ceilings of bandwidth by `direction`; 0 without.
    pub bandwidth_limit: IntGaugeVec,
    /// Whether the last reload of the configuration was applied.
    pub config_last_reload_successful: IntGauge,
    /// When the configuration was last applied.
    pub config_last_reload_success_timestamp: IntGauge,
    /// Connected peers whose connection is kept although nothing uses it.
    pub connections_kept: IntGauge,
    /// Of `P2P_MIN_PEERS`, those that are missing although peers are known.
    pub connections_missing: IntGauge,
    /// Connections closed since start, by `cause` ([`CLOSE_CAUSES`]).
    pub connections_closed: IntCounterVec,
    /// Connections refused by this node, by `limit` (the name of the limit that refused).
    pub connections_refused: IntCounterVec,
    /// Inbound streams reset because there was no place for them, by `reason` ([`STREAM_REFUSALS`]).
    pub streams_refused: IntCounterVec,
    /// Streams that peers opened faster than the pace, which wait in their multiplexer.
    pub streams_paced: IntCounter,
    /// Reads of the node's own protocols put off because the peer's budget of bytes was spent.
    pub peer_bytes_waits: IntCounter,
    /// Streams closed because nothing moved on them for P2P_STREAM_IDLE_TIMEOUT.
    pub streams_idle_closed: IntCounter,
    /// Bytes of streams moved, by `direction` and `class` (`own`, `bulk`).
    pub bandwidth_bytes: IntCounterVec,
    /// Reads and writes that waited for their turn at a ceiling, by `direction` and `class`.
    pub bandwidth_waits: IntCounterVec,
    /// Seconds a DHT query took, by `kind`.
    pub dht_query_duration: HistogramVec,
    /// DHT queries finished, by `kind` ([`DHT_QUERY_KINDS`]) and `result` ([`DHT_QUERY_RESULTS`]).
    pub dht_queries: IntCounterVec,
    /// Peers in the DHT routing table now.
    pub dht_routing_table_peers: IntGauge,
    /// Records (values and provider records) stored for the DHT now, by `kind`.
    pub dht_records: IntGaugeVec,
    /// DHT records of others that were not stored.
    pub dht_records_refused: IntCounter,
    /// Roots that wait to be announced to the DHT, those under way included.
    pub announcements_waiting: IntGauge,
    /// Seconds for which the most overdue of them has waited.
    pub announcements_lateness: IntGauge,
    /// Announcements that have ended, by `result` (`ok`, `unverified`, `failed`).
    pub announcements: IntCounterVec,
    /// Gossip messages received and accepted.
    pub gossip_messages_received: IntCounter,
    /// Verdicts on gossip messages that gossipsub took in, by `result`
    /// (`accepted`, `rejected`, `ignored`, `queue_full`, `own`).
    pub gossip_validation: IntCounterVec,
    /// Gossip dropped before gossipsub kept anything of it, by `reason`.
    pub gossip_dropped: IntCounterVec,
    /// Gossip that a connected peer did not take in time and has lost by that.
    pub gossip_unsent: IntCounter,
    /// Messages of this host that waited for the pace before they were published.
    pub gossip_publishes_paced: IntCounter,
    /// Messages of this host that wait now, for a peer that hears them or for the pace.
    pub gossip_publishes_waiting: IntGauge,
    /// Peers in the gossip meshes of all topics now, each counted once.
    pub gossip_peers: IntGauge,
    /// Topics that this node has joined.
    pub topics: IntGauge,
    /// Connected peers that subscribe to a topic of this node, each counted once:
    /// whom a mesh could be made of.
    pub gossip_candidates: IntGauge,
    /// Fewest peers of a topic's mesh before more are grafted, as `P2P_GOSSIP_D` makes it.
    pub gossip_mesh_low: IntGauge,
    /// Most peers of a topic's mesh before some are pruned, as `P2P_GOSSIP_D` makes it.
    pub gossip_mesh_high: IntGauge,
    /// Circuits through this node's relay server now.
    pub relay_connections_active: IntGauge,
    /// Reservations held at this node's relay server now.
    pub relay_reservations_active: IntGauge,
    /// Requests of others to this node's relay server, by `kind` (`reservation`,
    /// `circuit`) and `result` (`accepted`, `denied`).
    pub relay_requests: IntCounterVec,
    /// Ways in for others now, by `method`: `direct` is 1 when an address of this
    /// node was confirmed dialable, `relay` counts reservations held at relays.
    /// A node where both are 0 is reached by nobody whom it did not dial.
    pub nat_traversal: IntGaugeVec,
    /// NAT traversal attempts, by `method` (`autonat`: a test of an address by a
    /// dial back; `relay`: a reservation asked for; `dcutr`: a hole punched) and
    /// `result` (`ok`, `failed`).
    pub nat_traversal_attempts: IntCounterVec,
    /// Messages by `direction` (`in`, `out`) and `protocol` (`gossip`, `dht`, `block`, `identify`, `ping`, `control`).
    pub messages: IntCounterVec,
    /// Signed messages of gossip refused, by `reason` ([`crate::message::refusal::LABELS`]).
    pub messages_refused: IntCounterVec,
    /// Publishers of signed messages whose replay windows are kept now.
    pub message_publishers: IntGauge,
    /// Accepted messages that could not be recorded on disk.
    pub message_marks_unrecorded: IntCounter,
    /// Seconds from a message's arrival to the end of its handling, by `protocol`:
    /// `gossip` to its verdict, queue and worker with it; `dht` in the event loop;
    /// `block` from a want's arrival to the last byte of its answer; `control`
    /// the whole of a request of a program, which may be a walk through the DHT or
    /// the import of a file, and says nothing of the node's own speed.
    pub message_processing: HistogramVec,
    /// Dials that failed since start.
    pub dial_failures: IntCounter,
    /// Peers and networks put on the blacklist since start.
    pub blacklist: IntCounter,
    /// Bans held now.
    pub bans_active: IntGauge,
    /// Offences of peers, by `conduct` (the names of [`crate::admission::Conduct`]).
    pub misbehaviour: IntCounterVec,
    /// Requests for budget that were refused and what they were for dropped. Bytes
    /// over budget are not: see `peer_bytes_waits`.
    pub over_budget: IntCounter,
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
    /// Bytes of block payload moved by the exchange, by `direction`.
    pub block_bytes: IntCounterVec,
    /// Blocks from peers that were refused, by `reason` ([`BLOCK_REFUSALS`]).
    pub blocks_refused: IntCounterVec,
    /// Requests on the control socket, by `kind`.
    pub control_requests: IntCounterVec,
    /// Clients connected to the control socket now.
    pub control_clients: IntGauge,
    /// Clients of the control socket refused or cut off, by `cause` (`too_many`, `stalled`, `malformed`).
    pub control_clients_dropped: IntCounterVec,
    /// Ping round trips in seconds.
    pub ping_rtt: Histogram,
}

impl Metrics {
    /// Makes and registers every metric, with the standard `process_*` ones beside them.
    ///
    /// # Errors
    /// When a name is registered twice or breaks the naming rules, which is a
    /// mistake in this file and shows in every test.
    pub fn new() -> Result<Arc<Self>, prometheus::Error> {
        let registry = Registry::new();
        let maker = Maker {
            registry: &registry,
        };
        let metrics = Metrics {
            connections_opened: maker.counter(
                "libp2p_connections_opened_total",
                "Connections opened since start, inbound and outbound.",
            )?,
            connections_active: maker
                .gauge("libp2p_connections_active", "Connections established now.")?,
            connected_peers: maker.gauge(
                "p2p_connected_peers",
                "Peers with at least one connection now.",
            )?,
            live: maker.gauge(
                "p2p_live",
                "1 while the event loop makes progress, 0 when it is stuck, as /health/live says.",
            )?,
            ready: maker.gauge(
                "p2p_ready",
                "1 while the node is ready, 0 while it starts, drains or is stuck, as /health/ready says.",
            )?,
            connections_inbound: maker.gauge(
                "p2p_connections_inbound",
                "Connections established now that peers made.",
            )?,
            connections_outbound: maker.gauge(
                "p2p_connections_outbound",
                "Connections established now that this node made.",
            )?,
            connections_limit: maker.gauge(
                "p2p_connections_limit",
                "Connections allowed, both directions: P2P_MAX_CONNECTIONS as far as descriptors reach.",
            )?,
            connections_inbound_limit: maker.gauge(
                "p2p_connections_inbound_limit",
                "Inbound connections allowed, also under the total.",
            )?,
            connections_outbound_limit: maker.gauge(
                "p2p_connections_outbound_limit",
                "Outbound connections allowed, also under the total.",
            )?,
            memory_limit: maker.gauge(
                "p2p_memory_limit_bytes",
                "Resident memory above which new connections are refused; 0 without a limit.",
            )?,
            store_limit: maker.gauge(
                "p2p_store_limit_bytes",
                "Disk space that blocks may take.",
            )?,
            dht_records_limit: maker.gauge(
                "p2p_dht_records_limit",
                "DHT values kept at most, and as many keys with provider records.",
            )?,
            relay_connections_limit: maker.gauge(
                "p2p_relay_connections_limit",
                "Circuits that the relay server allows; 0 without a relay server.",
            )?,
            relay_reservations_limit: maker.gauge(
                "p2p_relay_reservations_limit",
                "Reservations that the relay server allows; 0 without a relay server.",
            )?,
            bandwidth_limit: maker.gauges(
                "p2p_bandwidth_limit_bytes_per_second",
                "Ceiling of bytes of streams a second; 0 without one.",
                &["direction"],
            )?,
            config_last_reload_successful: maker.gauge(
                "p2p_config_last_reload_successful",
                "Whether the last reading of the configuration, at start or at reload, was applied (1) or refused (0).",
            )?,
            config_last_reload_success_timestamp: maker.gauge(
                "p2p_config_last_reload_success_timestamp_seconds",
                "When the configuration was last applied, at start or at reload.",
            )?,
            connections_missing: maker.gauge(
                "libp2p_connections_missing",
                "Connections that this node lacks of P2P_MIN_PEERS now, as far as it knows peers that it could keep instead: 0 in a network that has no more peers.",
            )?,
            connections_kept: maker.gauge(
                "libp2p_connections_kept",
                "Connected peers whose connection is kept although nothing uses it: for the floor of this node (P2P_MIN_PEERS), for P2P_PEERING, or because the peer asked for it.",
            )?,
            connections_closed: maker.counters(
                "libp2p_connections_closed_total",
                "Connections closed since start, by cause: idle on this side, local (a limit, a ban, a command, the end), ping (no answer), remote (the peer said goodbye), error (it broke).",
                &["cause"],
            )?,
            connections_refused: maker.counters(
                "p2p_connections_refused_total",
                "Connections refused by this node's own limits, by limit.",
                &["limit"],
            )?,
            streams_refused: maker.counters(
                "p2p_streams_refused_total",
                "Inbound streams reset since start because there was no place for them, by reason.",
                &["reason"],
            )?,
            streams_paced: maker.counter(
                "p2p_streams_paced_total",
                "Streams since start that a peer opened faster than its pace, which made its next ones wait.",
            )?,
            peer_bytes_waits: maker.counter(
                "p2p_peer_bytes_waits_total",
                "Reads of the node's own protocols since start that were put off because the peer had spent its budget of bytes.",
            )?,
            streams_idle_closed: maker.counter(
                "p2p_streams_idle_closed_total",
                "Streams closed since start because nothing moved on them for P2P_STREAM_IDLE_TIMEOUT.",
            )?,
            bandwidth_bytes: maker.counters(
                "p2p_bandwidth_bytes_total",
                "Bytes of streams moved since start, by direction and class (own: the node's protocols; bulk: content and programs).",
                &["direction", "class"],
            )?,
            bandwidth_waits: maker.counters(
                "p2p_bandwidth_waits_total",
                "Reads and writes since start that waited for their turn at P2P_MAX_UPLOAD_RATE or P2P_MAX_DOWNLOAD_RATE, by direction and class.",
                &["direction", "class"],
            )?,
            dht_query_duration: maker.histograms(
                "libp2p_dht_query_duration_seconds",
                "Seconds from start to end of a DHT query, by kind.",
                &["kind"],
                // A query in one data centre takes milliseconds, a walk through the
                // public DHT seconds; the alert threshold (5 s) is an edge of a bucket.
                vec![
                    0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
                ],
            )?,
            dht_queries: maker.counters(
                "libp2p_dht_queries_total",
                "DHT queries finished, by kind and result.",
                &["kind", "result"],
            )?,
            dht_routing_table_peers: maker.gauge(
                "libp2p_dht_routing_table_peers",
                "Peers in the DHT routing table now.",
            )?,
            dht_records: maker.gauges(
                "libp2p_dht_records",
                "Records stored here for the DHT now, by kind; without the files of this host itself.",
                &["kind"],
            )?,
            dht_records_refused: maker.counter(
                "p2p_dht_records_refused_total",
                "Records that others asked this node to hold for the DHT and that it refused, since start.",
            )?,
            announcements_waiting: maker.gauge(
                "p2p_announcements_waiting",
                "Files of this host that wait to be announced to the DHT now, those under way included.",
            )?,
            announcements_lateness: maker.gauge(
                "p2p_announcements_lateness_seconds",
                "For how long the most overdue announcement has waited; 0 when none waits.",
            )?,
            announcements: maker.counters(
                "p2p_announcements_total",
                "Announcements to the DHT that have ended since start, by result: ok, unverified (peers were told that cannot say whether they hold the record, or were not asked), failed (nobody could be told, or too few took the record; it is tried again).",
                &["result"],
            )?,
            gossip_messages_received: maker.counter(
                "libp2p_gossipsub_messages_received_total",
                "Gossip messages received and delivered since start.",
            )?,
            gossip_validation: maker.counters(
                "p2p_gossip_validation_total",
                "Verdicts on gossip messages since start, by result.",
                &["result"],
            )?,
            gossip_dropped: maker.counters(
                "p2p_gossip_dropped_total",
                "Gossip messages dropped since start, by reason: at arrival, or (unrecorded) passed on to peers but handed to no program on this host, since the disk does not answer.",
                &["reason"],
            )?,
            gossip_unsent: maker.counter(
                "p2p_gossip_unsent_total",
                "Gossip that a peer's connection did not take in time and that was dropped for that peer, since start.",
            )?,
            gossip_publishes_paced: maker.counter(
                "p2p_gossip_publishes_paced_total",
                "Messages of programs on this host that waited for the pace before they were published, since start.",
            )?,
            gossip_publishes_waiting: maker.gauge(
                "p2p_gossip_publishes_waiting",
                "Messages of programs on this host that wait now, for a peer that hears them or for the pace.",
            )?,
            gossip_peers: maker.gauge(
                "libp2p_gossipsub_peers",
                "Peers in the gossip meshes of this node's topics now, each counted once.",
            )?,
            topics: maker.gauge("p2p_topics", "Gossip topics that this node has joined.")?,
            gossip_candidates: maker.gauge(
                "p2p_gossip_candidates",
                "Connected peers that subscribe to a topic of this node now, each counted once.",
            )?,
            gossip_mesh_low: maker.gauge(
                "p2p_gossip_mesh_low",
                "Peers below which a topic's mesh takes more in, after P2P_GOSSIP_D.",
            )?,
            gossip_mesh_high: maker.gauge(
                "p2p_gossip_mesh_high",
                "Peers above which a topic's mesh lets some go, after P2P_GOSSIP_D.",
            )?,
            relay_connections_active: maker.gauge(
                "libp2p_relay_connections_active",
                "Circuits carried by this node's relay server now.",
            )?,
            relay_reservations_active: maker.gauge(
                "libp2p_relay_reservations_active",
                "Reservations held at this node's relay server now.",
            )?,
            relay_requests: maker.counters(
                "p2p_relay_requests_total",
                "Requests to this node's relay server since start, by kind and result.",
                &["kind", "result"],
            )?,
            nat_traversal: maker.gauges(
                "libp2p_nat_traversal",
                "Ways in for others now, by method: direct is 1 when an address was confirmed dialable, relay counts reservations held at relays.",
                &["method"],
            )?,
            nat_traversal_attempts: maker.counters(
                "libp2p_nat_traversal_attempts_total",
                "NAT traversal attempts since start, by method and result.",
                &["method", "result"],
            )?,
            messages: maker.counters(
                "p2p_messages_total",
                "Messages handled since start, by direction and protocol.",
                &["direction", "protocol"],
            )?,
            messages_refused: maker.counters(
                "p2p_messages_refused_total",
                "Signed messages of gossip that were not taken since start, by reason.",
                &["reason"],
            )?,
            message_publishers: maker.gauge(
                "p2p_message_publishers",
                "Publishers of signed messages whose replay windows are kept now.",
            )?,
            message_marks_unrecorded: maker.counter(
                "p2p_message_marks_unrecorded_total",
                "Signed messages accepted since start that could not be recorded on disk, so that a restart would take them again.",
            )?,
            message_processing: maker.histograms(
                "p2p_message_processing_seconds",
                "Seconds from a message's arrival to the end of its handling, by protocol.",
                &["protocol"],
                // Most messages take microseconds; the alert threshold (1 s) is an edge.
                vec![0.00005, 0.0002, 0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0],
            )?,
            dial_failures: maker.counter(
                "p2p_peer_dial_failures_total",
                "Dials that failed since start.",
            )?,
            blacklist: maker.counter(
                "p2p_blacklist_total",
                "Peers and networks put on the blacklist since start.",
            )?,
            bans_active: maker.gauge("p2p_bans_active", "Peers and networks banned now.")?,
            misbehaviour: maker.counters(
                "p2p_misbehaviour_total",
                "Offences of peers since start, by conduct.",
                &["conduct"],
            )?,
            over_budget: maker.counter(
                "p2p_over_budget_total",
                "Messages dropped since start because their sender was over its budget.",
            )?,
            store_blocks: maker.gauge("p2p_store_blocks", "Blocks in the store now.")?,
            store_bytes: maker.gauge(
                "p2p_store_bytes",
                "Bytes of block payload in the store now.",
            )?,
            store_disk_bytes: maker.gauge(
                "p2p_store_disk_bytes",
                "Bytes of disk that the block store takes now; P2P_STORE_MAX_BYTES bounds them.",
            )?,
            store_refused: maker.counters(
                "p2p_store_refused_total",
                "Blocks that the store could not take since start, by reason (full: its own cap; disk_full: the file system).",
                &["reason"],
            )?,
            filesystem_available: maker.gauge(
                "p2p_data_filesystem_available_bytes",
                "Bytes that the node may still write to the file system of its data folder.",
            )?,
            filesystem_size: maker.gauge(
                "p2p_data_filesystem_size_bytes",
                "Bytes of the file system of the data folder.",
            )?,
            store_removed: maker.counters(
                "p2p_store_blocks_removed_total",
                "Blocks removed from the store since start, by cause.",
                &["cause"],
            )?,
            block_bytes: maker.counters(
                "p2p_block_bytes_total",
                "Bytes of block payload moved between peers since start, by direction.",
                &["direction"],
            )?,
            blocks_refused: maker.counters(
                "p2p_blocks_refused_total",
                "Blocks from peers refused since start, by reason.",
                &["reason"],
            )?,
            control_requests: maker.counters(
                "p2p_control_requests_total",
                "Requests on the control socket since start, by kind.",
                &["kind"],
            )?,
            control_clients: maker.gauge(
                "p2p_control_clients",
                "Clients connected to the control socket now.",
            )?,
            control_clients_dropped: maker.counters(
                "p2p_control_clients_dropped_total",
                "Clients of the control socket refused or cut off since start, by cause.",
                &["cause"],
            )?,
            ping_rtt: maker.histogram(
                "libp2p_ping_rtt_seconds",
                "Round trip of libp2p pings.",
                vec![0.0005, 0.002, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0],
            )?,
            registry: registry.clone(),
        };
        maker
            .gauges(
                "p2p_build_info",
                "1, with the version of the program as its label.",
                &["version"],
            )?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        registry.register(Box::new(super::process::Process::new()))?;
        metrics.touch_labels();
        Ok(Arc::new(metrics))
    }

    /// Shows every known label value from the start, at zero: a counter that
    /// appears with its first event hides that event from `rate()`.
    fn touch_labels(&self) {
        fn touch(counters: &IntCounterVec, values: &[&str]) {
            for value in values {
                let _ = counters.with_label_values(&[value]);
            }
        }
        touch(&self.connections_closed, &CLOSE_CAUSES);
        touch(&self.connections_refused, &Refusal::LIMITS);
        touch(&self.streams_refused, &STREAM_REFUSALS);
        touch(&self.gossip_validation, &GOSSIP_VERDICTS);
        touch(&self.gossip_dropped, &crate::node::GOSSIP_DROPPED);
        touch(&self.messages_refused, &crate::message::refusal::LABELS);
        touch(&self.blocks_refused, &BLOCK_REFUSALS);
        touch(&self.store_removed, &["expired", "evicted", "removed"]);
        touch(
            &self.control_clients_dropped,
            &["too_many", "stalled", "malformed"],
        );
        touch(&self.control_requests, &crate::control::REQUEST_KINDS);
        for conduct in Conduct::ALL.into_iter().filter(|c| c.is_offence()) {
            touch(&self.misbehaviour, &[conduct.name()]);
        }
        for method in ["direct", "relay"] {
            let _ = self.nat_traversal.with_label_values(&[method]);
        }
        for kind in ["reservation", "circuit"] {
            for result in ["accepted", "denied"] {
                let _ = self.relay_requests.with_label_values(&[kind, result]);
            }
        }
        for method in ["autonat", "relay", "dcutr"] {
            for result in ["ok", "failed"] {
                let _ = self
                    .nat_traversal_attempts
                    .with_label_values(&[method, result]);
            }
        }
        for direction in [Direction::In, Direction::Out].map(Direction::as_str) {
            let _ = self.block_bytes.with_label_values(&[direction]);
            for class in ["own", "bulk"] {
                let _ = self.bandwidth_bytes.with_label_values(&[direction, class]);
                let _ = self.bandwidth_waits.with_label_values(&[direction, class]);
            }
            for protocol in ["gossip", "dht", "block", "identify", "control"] {
                let _ = self.messages.with_label_values(&[direction, protocol]);
            }
        }
        // Those of others are answered below this program and not told.
        let _ = self.messages.with_label_values(&["out", "ping"]);
        for protocol in ["gossip", "dht", "block", "control"] {
            let _ = self.message_processing.with_label_values(&[protocol]);
        }
        for kind in DHT_QUERY_KINDS {
            let _ = self.dht_query_duration.with_label_values(&[kind]);
            for result in DHT_QUERY_RESULTS {
                let _ = self.dht_queries.with_label_values(&[kind, result]);
            }
        }
        for kind in ["value", "provider"] {
            let _ = self.dht_records.with_label_values(&[kind]);
        }
        touch(&self.store_refused, &["full", "disk_full"]);
        touch(&self.announcements, &["ok", "unverified", "failed"]);
    }

    /// Counts one message of `protocol` that went `direction`.
    pub fn message(&self, direction: Direction, protocol: &'static str) {
        self.messages
            .with_label_values(&[direction.as_str(), protocol])
            .inc();
    }

    /// The whole registry in the Prometheus text format, version 0.0.4.
    ///
    /// # Errors
    /// When a metric cannot be encoded; the text so far is dropped.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut out = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        String::from_utf8(out).map_err(|e| prometheus::Error::Msg(e.to_string()))
    }
}

/// Label values of `cause` on closed connections. `idle`: nothing needed it.
/// `local`: this node ended it (a limit, a ban, an operator, its own stop).
/// `ping`: it answered no ping. `remote`: the peer ended it and said so. `error`: it
/// broke.
pub const CLOSE_CAUSES: [&str; 5] = ["idle", "local", "ping", "remote", "error"];

/// Label values of `reason` on refused streams. `queue_full`: who handles the
/// protocol here takes them too slowly. `surplus`: over P2P_MAX_INBOUND_STREAMS of
/// a connection (QUIC refuses those below and does not tell). `exchange_busy`: all
/// places of the block exchange are taken, for the peer or at all.
/// `exchange_displaced`: its place there went to a peer of better standing.
/// `handlers_full`: too many are being carried to programs on this host.
pub const STREAM_REFUSALS: [&str; 5] = [
    "queue_full",
    "surplus",
    "exchange_busy",
    "exchange_displaced",
    "handlers_full",
];

/// Label values of `result` on verdicts on gossip.
pub const GOSSIP_VERDICTS: [&str; 5] = ["accepted", "rejected", "ignored", "queue_full", "own"];

/// Label values of `reason` on refused blocks; `block::refusal` says what they mean.
pub const BLOCK_REFUSALS: [&str; 9] = [
    "malformed",
    "version",
    "oversized",
    "bomb",
    "wrong_hash",
    "unsigned",
    "wrong_signature",
    "expired",
    "future",
];

/// Label values of `kind` on the DHT query metrics. `bootstrap` is the look-up of the
/// own id with which a walk begins, `refresh` is any other look-up that the node makes
/// for its own routing table.
pub const DHT_QUERY_KINDS: [&str; 8] = [
    "bootstrap",
    "refresh",
    "closest_peers",
    "get_providers",
    "provide",
    "get_value",
    "put_value",
    "republish",
];

/// Label values of `result` on finished DHT queries.
pub const DHT_QUERY_RESULTS: [&str; 3] = ["ok", "not_found", "timeout"];

/// Makes a metric and registers it in one step, so that none is forgotten.
struct Maker<'a> {
    registry: &'a Registry,
}

impl Maker<'_> {
    fn keep<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        metric: C,
    ) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.keep(IntCounter::new(name, help)?)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.keep(IntGauge::new(name, help)?)
    }

    fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: Vec<f64>,
    ) -> Result<Histogram, prometheus::Error> {
        self.keep(Histogram::with_opts(
            HistogramOpts::new(name, help).buckets(buckets),
        )?)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: Vec<f64>,
    ) -> Result<HistogramVec, prometheus::Error> {
        self.keep(HistogramVec::new(
            HistogramOpts::new(name, help).buckets(buckets),
            labels,
        )?)
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

    /// A label that takes what a remote chose makes a series for each stranger,
    /// and a Prometheus that runs out of memory.
    #[test]
    fn every_label_is_of_a_kind_whose_values_are_fixed() {
        let metrics = Metrics::new().unwrap();
        let families = metrics.registry.gather();
        let names: std::collections::BTreeSet<_> = families
            .iter()
            .flat_map(|family| family.get_metric())
            .flat_map(|metric| metric.get_label())
            .map(|label| label.name().to_owned())
            .collect();
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
