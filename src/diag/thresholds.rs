//! From when on a figure is a finding.
//!
//! The figures of the table of alerts stand here and nowhere else in the program;
//! a test compares `packaging/prometheus/` with them, so that a host never hears
//! one thing from its alerts and another from `p2p-node diag`.

use std::time::Duration;

/// Part of a limit in use (connections, relay circuits, descriptors, DHT records)
/// above which there is little room left.
pub const LIMIT_SHARE: f64 = 0.80;

/// The same above which there is none to speak of.
pub const LIMIT_USED_UP: f64 = 0.95;

/// Part of the memory limit in use above which it is worth a look, and above which
/// it is a problem: memory does not come back as connections do.
pub const MEMORY_SHARE: f64 = 0.70;
/// See [`MEMORY_SHARE`].
pub const MEMORY_HIGH: f64 = 0.80;

/// Seconds of the 99th percentile of DHT queries above which they are slow, and
/// above which they are too slow.
pub const DHT_P99_SLOW: f64 = 2.0;
/// See [`DHT_P99_SLOW`].
pub const DHT_P99_SECONDS: f64 = 5.0;

/// Queries that have to be slow before the percentile counts: of ten queries one
/// is the 99th percentile.
pub const DHT_SLOW_QUERIES: u64 = 3;

/// Seconds of the 99th percentile of message processing above which it is slow.
pub const PROCESSING_P99_SECONDS: f64 = 1.0;

/// The same from which on it does not keep up: the highest bound of the histogram.
pub const PROCESSING_P99_STUCK: f64 = 5.0;

/// Peers in the meshes below which messages get lost.
pub const MESH_LEAST: u64 = 4;

/// Peers in the meshes below which one leaving peer is felt; the degree should be
/// 6 to 8.
pub const MESH_THIN: u64 = 6;

/// Peers in the meshes above which every message is sent more often than needed.
pub const MESH_MOST: u64 = 20;

/// Seconds for which an announcement may be overdue. Records are renewed after nine
/// hours and live for a day at least, so that two hours leave time to act; to
/// announce 100,000 new files takes over an hour.
pub const ANNOUNCEMENT_LATE: Duration = Duration::from_secs(7200);

/// Failed dials a minute above which the addresses at hand are bad.
pub const DIAL_FAILURES_A_MINUTE: f64 = 10.0;

/// New bans in a minute above which somebody attacks.
pub const BANS_A_MINUTE: f64 = 20.0;

/// Cores' worth of processor time above which the node is busy. One core moves
/// hundreds of MiB of content a second, so that staying above this for minutes is
/// not ordinary work.
pub const CPU_CORES: f64 = 0.80;

/// Gossip heartbeats more frequent than this cost processor time for nothing.
pub const HEARTBEAT_LEAST: Duration = Duration::from_secs(1);

/// Bootstrap peers below which one that is down is felt.
pub const BOOTSTRAP_LEAST: usize = 3;

/// Part of the store's cap in use above which blocks that nobody pinned go soon.
pub const STORE_SHARE: f64 = 0.95;

/// Part of the disk that is free below which it is nearly full, unless
/// [`DISK_PLENTY`] is free: a tenth of a large disk is plenty.
pub const DISK_SHARE: f64 = 0.10;
/// See [`DISK_SHARE`].
pub const DISK_PLENTY: u64 = 10 << 30;

/// Free bytes of the disk below which blocks are refused and soon the state cannot
/// be saved either.
pub const DISK_LEAST: u64 = 256 << 20;

/// Lag of the event loop above which something holds it up. It beats once a
/// second.
pub const LOOP_LAG: Duration = Duration::from_secs(3);

/// Difference between clocks above which blocks of others are refused: five
/// minutes, as the rule for signed blocks has it.
pub const CLOCK_STEP: Duration = Duration::from_secs(300);

/// Time that "lately" covers, as in the alert rules. (For DHT queries they take
/// twice as long, since there are few of them.)
pub const LATELY: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    /// Every figure that the alert rules share with this file.
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
                // increase() extrapolates: three may come out as a little less.
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
