//! The values above or below which a figure is a finding.
//!
//! The values in the table of alerts are defined only here. A test compares
//! `packaging/prometheus/` with them, so that the alerts of a host and `p2p-node diag`
//! never contradict each other.

use std::time::Duration;

/// The part of a limit in use (connections, relay circuits, descriptors, DHT records)
/// above which little room is left.
pub const LIMIT_SHARE: f64 = 0.80;

/// The part of a limit in use above which almost no room is left.
pub const LIMIT_USED_UP: f64 = 0.95;

/// The part of the memory limit in use above which it is worth a look. The thresholds are
/// lower than for other limits because memory does not become free as connections do.
pub const MEMORY_SHARE: f64 = 0.70;
/// The part of the memory limit in use above which it is a problem.
pub const MEMORY_HIGH: f64 = 0.80;

/// The 99th percentile of DHT queries, in seconds, above which they are slow.
pub const DHT_P99_SLOW: f64 = 2.0;
/// The 99th percentile of DHT queries, in seconds, above which they are too slow.
pub const DHT_P99_SECONDS: f64 = 5.0;

/// The number of queries that have to be slow before the percentile counts. Of ten
/// queries, a single one is the 99th percentile.
pub const DHT_SLOW_QUERIES: u64 = 3;

/// The 99th percentile of message processing, in seconds, above which it is slow.
pub const PROCESSING_P99_SECONDS: f64 = 1.0;

/// The 99th percentile, in seconds, from which on processing does not keep up. It is the
/// highest bound of the histogram.
pub const PROCESSING_P99_STUCK: f64 = 5.0;

/// The number of peers in the meshes below which messages get lost.
pub const MESH_LEAST: u64 = 4;

/// The number of peers in the meshes below which it matters when one peer leaves. The
/// degree should be 6 to 8.
pub const MESH_THIN: u64 = 6;

/// The number of peers in the meshes above which every message is sent more often than
/// needed.
pub const MESH_MOST: u64 = 20;

/// How long an announcement may be overdue. Records are renewed after nine hours and live
/// for at least a day, so that two hours leave time to act. Announcing 100,000 new files
/// takes over an hour.
pub const ANNOUNCEMENT_LATE: Duration = Duration::from_secs(7200);

/// The number of failed dials per minute above which the known addresses are bad.
pub const DIAL_FAILURES_A_MINUTE: f64 = 10.0;

/// The number of new bans per minute above which it looks like an attack.
pub const BANS_A_MINUTE: f64 = 20.0;

/// The processor time in cores above which the node is busy. One core moves hundreds of
/// MiB of content per second, so that more than this for minutes is not ordinary work.
pub const CPU_CORES: f64 = 0.80;

/// Gossip heartbeats that are more frequent than this waste processor time.
pub const HEARTBEAT_LEAST: Duration = Duration::from_secs(1);

/// The number of bootstrap peers below which it matters when one of them is down.
pub const BOOTSTRAP_LEAST: usize = 3;

/// The part of the store's cap in use above which blocks that nobody pinned will soon be
/// removed.
pub const STORE_SHARE: f64 = 0.95;

/// The part of the disk that is free below which it is nearly full. This does not apply
/// when [`DISK_PLENTY`] is free, because a tenth of a large disk is plenty.
pub const DISK_SHARE: f64 = 0.10;
/// The number of free bytes that is always enough.
pub const DISK_PLENTY: u64 = 10 << 30;

/// The number of free bytes of the disk below which blocks are refused. Soon after, the
/// state cannot be saved either.
pub const DISK_LEAST: u64 = 256 << 20;

/// The lag of the event loop above which something delays it. Its heartbeat is once a
/// second.
pub const LOOP_LAG: Duration = Duration::from_secs(3);

/// The difference between clocks above which blocks of others are refused: five minutes,
/// as defined in the rule for signed blocks.
pub const CLOCK_STEP: Duration = Duration::from_secs(300);

/// The time that "lately" covers, as in the alert rules. (For DHT queries the rules use
/// twice this time, since there are few of them.)
pub const LATELY: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares every value that the alert rules share with this file.
    #[test]
    fn the_alert_rules_have_the_same_figures() {
        let rules = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/packaging/prometheus/p2p-node.rules.yml"
        ));
        let p99 = "instance:libp2p_dht_query_duration_seconds:p99_10m";
        let dht = |q: f64, slow: u64| {
            let over = format!("instance:libp2p_dht_queries_over_{q}s:increase10m");
            vec![
                format!("{p99} > {q}\n"),
                // increase() extrapolates, so that three may become slightly less.
                format!("{over} > {}\n", slow as f64 - 0.5),
            ]
        };
        let above = |what: &str, share: f64| vec![format!("{what} > {share}")];
        let used = |what: &str| {
            let what = format!("instance:{what}:ratio");
            [above(&what, LIMIT_SHARE), above(&what, LIMIT_USED_UP)].concat()
        };
        let processing = "instance_protocol:p2p_message_processing_seconds:p99_5m";
        let memory = "instance:process_resident_memory:ratio";
        let same = [
            used("libp2p_connections_active"),
            used("libp2p_relay_connections"),
            used("process_fds"),
            above(memory, MEMORY_SHARE),
            above(memory, MEMORY_HIGH),
            dht(DHT_P99_SLOW, DHT_SLOW_QUERIES),
            dht(DHT_P99_SECONDS, DHT_SLOW_QUERIES),
            above(processing, PROCESSING_P99_SECONDS),
            vec![format!("{processing} >= {PROCESSING_P99_STUCK}\n")],
            vec![
                format!("libp2p_gossipsub_peers{{job=\"p2p-node\"}} < {MESH_LEAST}\n"),
                format!("libp2p_gossipsub_peers{{job=\"p2p-node\"}} > {MESH_MOST}\n"),
                format!("60 * instance:p2p_peer_dial_failures:rate5m > {DIAL_FAILURES_A_MINUTE}\n"),
                format!("offset 1m > {BANS_A_MINUTE}\n"),
                format!(
                    "p2p_announcements_lateness_seconds{{job=\"p2p-node\"}} > {}\n",
                    ANNOUNCEMENT_LATE.as_secs()
                ),
                format!("_available:ratio < {DISK_SHARE}\n"),
                format!("_available_bytes{{job=\"p2p-node\"}} < {DISK_PLENTY}\n"),
                format!("_available_bytes{{job=\"p2p-node\"}} < {DISK_LEAST}\n"),
                format!("p2p_store_disk:ratio > {STORE_SHARE}\n"),
            ],
        ]
        .concat();
        for part in same {
            assert!(rules.contains(&part), "the rules do not hold {part:?}");
        }
    }
}
