//! From when on a figure is a finding.
//!
//! The figures of the table of alerts stand here and nowhere else in the program;
//! a test compares `packaging/prometheus/` with them, so that a host never hears
//! one thing from its alerts and another from `p2p-node diag`.

use std::time::Duration;

/// Part of a limit in use (connections, relay circuits, memory, descriptors, DHT
/// records) above which there is little room left.
pub const LIMIT_SHARE: f64 = 0.80;

/// Seconds of the 99th percentile of DHT queries above which they are slow.
pub const DHT_P99_SECONDS: f64 = 5.0;

/// Seconds of the 99th percentile of message processing above which it is slow.
pub const PROCESSING_P99_SECONDS: f64 = 1.0;

/// Peers in the meshes below which messages get lost.
pub const MESH_LEAST: u64 = 4;

/// Peers in the meshes below which one leaving peer is felt; the degree should be
/// 6 to 8.
pub const MESH_THIN: u64 = 6;

/// Peers in the meshes above which every message is sent more often than needed.
pub const MESH_MOST: u64 = 20;

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

/// Free bytes of the store's disk below which writes begin to fail: the database
/// alone needs room for a transaction.
pub const DISK_LEAST: u64 = 64 << 20;

/// Lag of the event loop above which something holds it up. It beats once a
/// second.
pub const LOOP_LAG: Duration = Duration::from_secs(3);

/// Difference between clocks above which blocks of others are refused: five
/// minutes, as the rule for signed blocks has it.
pub const CLOCK_STEP: Duration = Duration::from_secs(300);

/// Time that "lately" covers, and the window of the alert rules' rates.
pub const LATELY: Duration = Duration::from_secs(300);
