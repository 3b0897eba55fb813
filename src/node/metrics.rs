//! What is counted of connections, streams, the DHT, gossip, relaying and NAT traversal.

use prometheus::{
    Error, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};

use super::bandwidth::Class;
use crate::gossip::Dropped;
use crate::message::refusal;
use crate::peers::refusal::Refusal;
use crate::peers::relief::Worth;
use crate::telemetry::Direction;
use crate::telemetry::{self, Registry, Traffic, touch};
use crate::transport::HANDSHAKE_REASONS;

/// Returns a number of things as a gauge shows it.
pub(in crate::node) fn as_gauge(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The name of the look-ups that this node makes for its own routing table. They come
/// across peers that have disappeared for good more often than others, and nobody waits
/// for them.
pub(crate) const REFRESH: &str = "refresh";

/// The metrics of this room. Recording never blocks.
#[derive(Debug)]
pub struct Metrics {
    /// Connections opened since start, both directions.
    pub connections_opened: IntCounter,
    /// Connections open now.
    pub connections_active: IntGauge,
    /// Peers with at least one connection now.
    pub connected_peers: IntGauge,
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
    /// Maximum number of DHT values stored here, and of keys with provider records.
    pub dht_records_limit: IntGauge,
    /// Circuits that the relay server allows; 0 without one.
    pub relay_connections_limit: IntGauge,
    /// Reservations that the relay server allows; 0 without one.
    pub relay_reservations_limit: IntGauge,
    /// Ceilings of bandwidth by `direction`; 0 without.
    pub bandwidth_limit: IntGaugeVec,
    /// Connected peers whose connection is kept although nothing uses it.
    pub connections_kept: IntGauge,
    /// Of `P2P_MIN_PEERS`, those that are missing although peers are known.
    pub connections_missing: IntGauge,
    /// Connections closed since start, by `cause` (`CLOSE_CAUSES`).
    pub connections_closed: IntCounterVec,
    /// Connections refused by this node, by `limit` (the name of the limit that refused).
    pub connections_refused: IntCounterVec,
    /// Connections cut off before their handshake was complete, by `reason` (`bytes`,
    /// `reads`, `deadline`).
    pub handshakes_cut_off: IntCounterVec,
    /// Streams that peers opened faster than the pace, which wait in their multiplexer.
    pub streams_paced: IntCounter,
    /// Peers disconnected because the process was above its memory limit, by how much
    /// they matter.
    pub closed_for_memory: IntCounterVec,
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
    /// DHT queries finished, by `kind` (`DHT_QUERY_KINDS`) and `result` (`DHT_QUERY_RESULTS`).
    pub dht_queries: IntCounterVec,
    /// Peers in the DHT routing table now.
    pub dht_routing_table_peers: IntGauge,
    /// Records (values and provider records) stored for the DHT now, by `kind`.
    pub dht_records: IntGaugeVec,
    /// DHT records of others that were not stored.
    pub dht_records_refused: IntCounter,
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
    /// Dials that failed since start.
    pub dial_failures: IntCounter,
    /// Ping round trips in seconds.
    pub ping_rtt: Histogram,
    /// Signed messages of gossip refused, by `reason` ([`crate::message::refusal::LABELS`]).
    pub messages_refused: IntCounterVec,
    /// Publishers of signed messages whose replay windows are kept now.
    pub message_publishers: IntGauge,
    /// Accepted messages that could not be recorded on disk.
    pub message_marks_unrecorded: IntCounter,
    /// What other rooms count on too.
    pub traffic: Traffic,
}

impl telemetry::Register for Metrics {
    fn register(registry: &Registry) -> Result<Self, Error> {
        let metrics = Metrics {
            connections_opened: registry.counter(
                "libp2p_connections_opened_total",
                "Connections opened since start, inbound and outbound.",
            )?,
            connections_active: registry
                .gauge("libp2p_connections_active", "Connections established now.")?,
            connected_peers: registry.gauge(
                "p2p_connected_peers",
                "Peers with at least one connection now.",
            )?,
            connections_inbound: registry.gauge(
                "p2p_connections_inbound",
                "Connections established now that peers made.",
            )?,
            connections_outbound: registry.gauge(
                "p2p_connections_outbound",
                "Connections established now that this node made.",
            )?,
            connections_limit: registry.gauge(
                "p2p_connections_limit",
                "Maximum number of connections, both directions: P2P_MAX_CONNECTIONS, or fewer when there are not enough file descriptors.",
            )?,
            connections_inbound_limit: registry.gauge(
                "p2p_connections_inbound_limit",
                "Maximum number of inbound connections, within the total.",
            )?,
            connections_outbound_limit: registry.gauge(
                "p2p_connections_outbound_limit",
                "Maximum number of outbound connections, within the total.",
            )?,
            memory_limit: registry.gauge(
                "p2p_memory_limit_bytes",
                "Resident memory above which new connections are refused; 0 without a limit.",
            )?,
            dht_records_limit: registry.gauge(
                "p2p_dht_records_limit",
                "Maximum number of DHT values stored here, and of keys with provider records.",
            )?,
            relay_connections_limit: registry.gauge(
                "p2p_relay_connections_limit",
                "Maximum number of circuits of the relay server; 0 without a relay server.",
            )?,
            relay_reservations_limit: registry.gauge(
                "p2p_relay_reservations_limit",
                "Maximum number of reservations at the relay server; 0 without a relay server.",
            )?,
            bandwidth_limit: registry.gauges(
                "p2p_bandwidth_limit_bytes_per_second",
                "Limit of the bytes of streams a second; 0 without one.",
                &["direction"],
            )?,
            connections_kept: registry.gauge(
                "libp2p_connections_kept",
                "Connected peers whose connection is kept although nothing uses it: for the floor of this node (P2P_MIN_PEERS), for P2P_PEERING, or because the peer asked for it.",
            )?,
            connections_missing: registry.gauge(
                "libp2p_connections_missing",
                "Connections missing to reach P2P_MIN_PEERS now, as far as more peers are known that could be kept; 0 in a network that has no more peers.",
            )?,
            connections_closed: registry.counters(
                "libp2p_connections_closed_total",
                "Connections closed since start, by cause: idle (on this side), local (a limit, a ban, a command, the end of the node), ping (no answer), remote (the peer closed it in order), error (the connection broke).",
                &["cause"],
            )?,
            connections_refused: registry.counters(
                "p2p_connections_refused_total",
                "Connections refused by this node's own limits, by limit.",
                &["limit"],
            )?,
            handshakes_cut_off: registry.counters(
                "p2p_handshakes_cut_off_total",
                "Connections cut off since start before their handshake was complete, by reason: bytes or reads (it read more than any handshake needs), deadline.",
                &["reason"],
            )?,
            closed_for_memory: registry.counters(
                "p2p_closed_for_memory_total",
                "Peers disconnected since start because the process was above P2P_MAX_MEMORY, by how much they matter: stranger, known (it behaved well), used (this node keeps it or a program uses it).",
                &["class"],
            )?,
            streams_paced: registry.counter(
                "p2p_streams_paced_total",
                "Streams since start that a peer opened faster than its pace, so that its next ones had to wait.",
            )?,
            peer_bytes_waits: registry.counter(
                "p2p_peer_bytes_waits_total",
                "Reads of the node's own protocols since start that were delayed because the peer had used up its budget of bytes.",
            )?,
            streams_idle_closed: registry.counter(
                "p2p_streams_idle_closed_total",
                "Streams closed since start because no data moved on them for P2P_STREAM_IDLE_TIMEOUT.",
            )?,
            bandwidth_bytes: registry.counters(
                "p2p_bandwidth_bytes_total",
                "Bytes of streams moved since start, by direction and class (own: the node's protocols; bulk: content and programs).",
                &["direction", "class"],
            )?,
            bandwidth_waits: registry.counters(
                "p2p_bandwidth_waits_total",
                "Reads and writes since start that waited because of P2P_MAX_UPLOAD_RATE or P2P_MAX_DOWNLOAD_RATE, by direction and class.",
                &["direction", "class"],
            )?,
            dht_query_duration: registry.histograms(
                "libp2p_dht_query_duration_seconds",
                "Seconds from start to end of a DHT query, by kind.",
                &["kind"],
                // A query in one data centre takes milliseconds, a walk through the
                // public DHT seconds; the alert threshold (5 s) is an edge of a bucket.
                vec![
                    0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
                ],
            )?,
            dht_queries: registry.counters(
                "libp2p_dht_queries_total",
                "DHT queries finished, by kind and result.",
                &["kind", "result"],
            )?,
            dht_routing_table_peers: registry.gauge(
                "libp2p_dht_routing_table_peers",
                "Peers in the DHT routing table now.",
            )?,
            dht_records: registry.gauges(
                "libp2p_dht_records",
                "Records stored here for the DHT now, by kind, without the files of this host itself.",
                &["kind"],
            )?,
            dht_records_refused: registry.counter(
                "p2p_dht_records_refused_total",
                "Records that others asked this node to store for the DHT and that it refused, since start.",
            )?,
            gossip_messages_received: registry.counter(
                "libp2p_gossipsub_messages_received_total",
                "Gossip messages received and delivered since start.",
            )?,
            gossip_validation: registry.counters(
                "p2p_gossip_validation_total",
                "Gossip messages validated since start, by result.",
                &["result"],
            )?,
            gossip_dropped: registry.counters(
                "p2p_gossip_dropped_total",
                "Gossip messages dropped since start, by reason: at arrival, or (unrecorded) forwarded to peers but delivered to no program on this host, because the disk does not answer.",
                &["reason"],
            )?,
            gossip_unsent: registry.counter(
                "p2p_gossip_unsent_total",
                "Gossip messages dropped for a peer since start because its connection did not accept them in time.",
            )?,
            gossip_publishes_paced: registry.counter(
                "p2p_gossip_publishes_paced_total",
                "Messages of programs on this host that waited for the pace before they were published, since start.",
            )?,
            gossip_publishes_waiting: registry.gauge(
                "p2p_gossip_publishes_waiting",
                "Messages of programs on this host that wait now, for a peer that subscribes to their topic or for the pace.",
            )?,
            gossip_peers: registry.gauge(
                "libp2p_gossipsub_peers",
                "Peers in the gossip meshes of this node's topics now, each counted once.",
            )?,
            topics: registry.gauge("p2p_topics", "Gossip topics that this node has joined.")?,
            gossip_candidates: registry.gauge(
                "p2p_gossip_candidates",
                "Connected peers that subscribe to a topic of this node now, each counted once.",
            )?,
            gossip_mesh_low: registry.gauge(
                "p2p_gossip_mesh_low",
                "Number of peers below which a topic's mesh adds peers, derived from P2P_GOSSIP_D.",
            )?,
            gossip_mesh_high: registry.gauge(
                "p2p_gossip_mesh_high",
                "Number of peers above which a topic's mesh removes peers, derived from P2P_GOSSIP_D.",
            )?,
            relay_connections_active: registry.gauge(
                "libp2p_relay_connections_active",
                "Circuits carried by this node's relay server now.",
            )?,
            relay_reservations_active: registry.gauge(
                "libp2p_relay_reservations_active",
                "Reservations held at this node's relay server now.",
            )?,
            relay_requests: registry.counters(
                "p2p_relay_requests_total",
                "Requests to this node's relay server since start, by kind and result.",
                &["kind", "result"],
            )?,
            nat_traversal: registry.gauges(
                "libp2p_nat_traversal",
                "How other peers can reach this node now, by method: direct is 1 when an address was confirmed as dialable, relay is the number of reservations held at relays.",
                &["method"],
            )?,
            nat_traversal_attempts: registry.counters(
                "libp2p_nat_traversal_attempts_total",
                "NAT traversal attempts since start, by method and result.",
                &["method", "result"],
            )?,
            dial_failures: registry.counter(
                "p2p_peer_dial_failures_total",
                "Dials that failed since start.",
            )?,
            ping_rtt: registry.histogram(
                "libp2p_ping_rtt_seconds",
                "Round-trip time of libp2p pings.",
                vec![0.0005, 0.002, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0],
            )?,
            messages_refused: registry.counters(
                "p2p_messages_refused_total",
                "Signed gossip messages refused since start, by reason.",
                &["reason"],
            )?,
            message_publishers: registry.gauge(
                "p2p_message_publishers",
                "Publishers of signed messages whose replay windows are kept now.",
            )?,
            message_marks_unrecorded: registry.counter(
                "p2p_message_marks_unrecorded_total",
                "Signed messages accepted since start that could not be recorded on disk, so that they would be accepted again after a restart.",
            )?,
            traffic: registry.traffic(),
        };
        touch(&metrics.connections_closed, CLOSE_CAUSES);
        touch(&metrics.closed_for_memory, Worth::ALL.map(Worth::name));
        touch(&metrics.connections_refused, Refusal::LIMITS);
        touch(&metrics.handshakes_cut_off, HANDSHAKE_REASONS);
        touch(&metrics.gossip_validation, GOSSIP_VERDICTS);
        touch(&metrics.gossip_dropped, Dropped::ALL.map(Dropped::as_str));
        touch(&metrics.messages_refused, refusal::LABELS);
        for method in ["direct", "relay"] {
            let _ = metrics.nat_traversal.with_label_values(&[method]);
        }
        for kind in ["reservation", "circuit"] {
            for result in ["accepted", "denied"] {
                let _ = metrics.relay_requests.with_label_values(&[kind, result]);
            }
        }
        for method in ["autonat", "relay", "dcutr"] {
            for result in ["ok", "failed"] {
                let _ = metrics
                    .nat_traversal_attempts
                    .with_label_values(&[method, result]);
            }
        }
        for direction in Direction::ALL.map(Direction::as_str) {
            for class in Class::ALL.map(Class::as_str) {
                let _ = metrics
                    .bandwidth_bytes
                    .with_label_values(&[direction, class]);
                let _ = metrics
                    .bandwidth_waits
                    .with_label_values(&[direction, class]);
            }
            for protocol in ["gossip", "dht", "identify"] {
                metrics.traffic.touch(direction, protocol);
            }
        }
        // Those of others are answered below this program and not told.
        metrics.traffic.touch("out", "ping");
        metrics.traffic.touch_processing(&["gossip", "dht"]);
        for kind in DHT_QUERY_KINDS {
            let _ = metrics.dht_query_duration.with_label_values(&[kind]);
            for result in DHT_QUERY_RESULTS {
                let _ = metrics.dht_queries.with_label_values(&[kind, result]);
            }
        }
        for kind in ["value", "provider"] {
            let _ = metrics.dht_records.with_label_values(&[kind]);
        }
        Ok(metrics)
    }
}

/// Label values of `cause` on closed connections. `idle`: nothing needed it.
/// `local`: this node ended it (a limit, a ban, an operator, its own stop).
/// `ping`: it answered no ping. `remote`: the peer ended it and said so. `error`: it
/// broke.
const CLOSE_CAUSES: [&str; 5] = ["idle", "local", "ping", "remote", "error"];

/// Label values of `result` on verdicts on gossip.
const GOSSIP_VERDICTS: [&str; 5] = ["accepted", "rejected", "ignored", "queue_full", "own"];

/// Label values of `kind` on the DHT query metrics. `bootstrap` is the look-up of the
/// own id with which a walk begins, `refresh` is any other look-up that the node makes
/// for its own routing table.
const DHT_QUERY_KINDS: [&str; 8] = [
    "bootstrap",
    REFRESH,
    "closest_peers",
    "get_providers",
    "provide",
    "get_value",
    "put_value",
    "republish",
];

/// Label values of `result` on finished DHT queries.
const DHT_QUERY_RESULTS: [&str; 3] = ["ok", "not_found", "timeout"];
