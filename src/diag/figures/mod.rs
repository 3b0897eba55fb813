//! The figures that the checks look at, taken from what the daemon reported.

mod attempts;
mod bootstrap;
mod percentile;

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use super::samples::Samples;
use super::thresholds::{self as at, LATELY};
use crate::api::{LimitStatus, Reachability, Snapshot, TopicStatus};
use crate::node::REFRESH;
pub use attempts::Attempts;
use attempts::traversal;
pub use bootstrap::{Bootstrap, Reach};
use percentile::p99;
pub use percentile::{P99, Quantile};

/// The figures of a running node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// `p2p-node/VERSION` of the program that makes the diagnosis.
    pub own_agent: String,
    /// The same for the daemon.
    pub agent: String,
    /// The time since the daemon's start.
    pub uptime: Duration,
    /// The time that "lately" covers: [`LATELY`], or the time since the start if that is
    /// shorter.
    pub span: Duration,
    /// Whether the event loop answered.
    pub answers: bool,
    /// Why the node is not ready; `None` when it is.
    pub not_ready: Option<String>,
    /// The time since the event loop last made progress.
    pub loop_lag: Duration,
    /// By how many milliseconds the clock was changed since the start.
    pub clock_step_ms: i64,
    /// Whether the system reports that a time server keeps its clock.
    pub clock_synchronised: Option<bool>,
    /// Blocks refused lately because they were dated ahead of this node's clock.
    pub refused_for_time: u64,

    /// The addresses at which the node listens.
    pub listening: Vec<Multiaddr>,
    /// The addresses at which others can reach it.
    pub external: Vec<Multiaddr>,
    /// Whether peers that it is not connected with can dial it.
    pub nat: Reachability,
    /// Relays at which it holds a reservation.
    pub relays: usize,
    /// Whether relays are configured.
    pub relays_configured: bool,
    /// Attempts at NAT traversal by method (`autonat`, `relay`, `dcutr`).
    pub traversal: BTreeMap<String, Attempts>,

    /// The number of connected peers.
    pub peers: u64,
    /// The limits of connections that are in force.
    pub limits: Vec<LimitStatus>,
    /// The value of `P2P_MAX_CONNECTIONS` in the configuration.
    pub connections_configured: Option<u64>,
    /// Connections refused lately, by the limit that was reached.
    pub refused: BTreeMap<String, u64>,
    /// The number of dials per minute that failed lately.
    pub dial_failures_a_minute: f64,

    /// The number of connections kept although nothing uses them, and `P2P_MIN_PEERS`.
    pub kept: (u64, Option<u64>),
    /// How many connections are missing to reach `P2P_MIN_PEERS` although the node knows
    /// more peers: now, and the smallest number at any time lately. The latter is `None`
    /// when the node has not run for that long.
    pub missing: (u64, Option<u64>),

    /// The configured bootstrap peers.
    pub bootstrap: Vec<Bootstrap>,
    /// Whether this node is itself a bootstrap peer for others.
    pub is_bootstrap: bool,
    /// The number of peers in the DHT routing table.
    pub table: u64,
    /// The duration of DHT queries.
    pub dht: P99,
    /// The number of queries lately that took longer than the first threshold.
    pub dht_slow: u64,
    /// The number of queries lately that took longer than the second threshold.
    pub dht_too_slow: u64,

    /// The number of files that wait to be announced, and how long the most overdue of
    /// them has waited.
    pub announcements: (u64, Duration),
    /// Announcements lately that reached no peer, or that too few peers accepted.
    pub announcements_failed: u64,

    /// The topics that the node has joined.
    pub topics: Vec<TopicStatus>,
    /// The number of peers in all meshes, each counted once.
    pub mesh: u64,
    /// `P2P_GOSSIP_D`.
    pub gossip_d: Option<u64>,
    /// `P2P_GOSSIP_HEARTBEAT`.
    pub heartbeat: Option<Duration>,
    /// Gossip messages dropped lately because a queue was full or because a sender
    /// exceeded its budget.
    pub gossip_dropped: u64,
    /// The time that it takes to process a gossip or DHT message.
    pub processing: P99,

    /// Resident memory in bytes.
    pub resident: u64,
    /// The memory in bytes above which new connections are refused.
    pub memory_limit: Option<u64>,
    /// The processor time in use now, in cores; `None` when it was not measured.
    pub cpu_now: Option<f64>,
    /// The average over the daemon's life, in cores.
    pub cpu_since_start: f64,
    /// The number of open descriptors, and the limit.
    pub descriptors: (u64, u64),

    /// The bytes of disk space that blocks take, and the cap.
    pub store: (u64, u64),
    /// The number of blocks that the store could not take lately.
    pub store_refused: u64,
    /// The free bytes of the disk, and its size in bytes.
    pub disk: Option<(u64, u64)>,
    /// The number of DHT records held, and the limit.
    pub records: (u64, Option<u64>),
    /// The number of circuits relayed, and the limit.
    pub circuits: (u64, Option<u64>),

    /// Whether the last reload of the configuration failed.
    pub reload_failed: bool,

    /// Bans in force.
    pub bans: u64,
    /// The largest number of bans set within a minute, lately.
    pub bans_a_minute: f64,
    /// Descriptions of the peers that the configuration names but a ban refuses.
    pub banned_but_wanted: Vec<String>,
}

const DHT: &str = "libp2p_dht_query_duration_seconds";

/// The protocols whose messages the node processes without waiting for others. A request
/// on the control socket may legitimately take minutes, and the time of a block includes
/// its transfer over the network.
const OWN_WORK: [&str; 2] = ["gossip", "dht"];

impl Figures {
    /// Takes the figures from a snapshot. A snapshot does not show whether bootstrap
    /// peers answer, whether a time server keeps the system's clock, or how much
    /// processor time was used between two snapshots. These figures keep their defaults,
    /// and the caller fills them in.
    pub fn of(snapshot: &Snapshot) -> Figures {
        let now = Samples::parse(&snapshot.metrics);
        let then = snapshot.earlier(LATELY);
        let span = then.map_or(snapshot.uptime, |e| e.age);
        let lately = match then {
            Some(e) => now.since(&Samples::parse(&e.metrics)),
            None => now.clone(),
        };
        let total = |name: &str| count(now.sum(name));
        let setting = |name: &str| snapshot.setting(name);
        let number = |name: &str| setting(name)?.parse::<u64>().ok();
        let status = snapshot.status.clone().unwrap_or_default();
        let resident = total("process_resident_memory_bytes");
        Figures {
            own_agent: concat!("p2p-node/", env!("CARGO_PKG_VERSION")).into(),
            agent: status.agent,
            uptime: snapshot.uptime,
            span,
            answers: snapshot.status.is_some(),
            not_ready: snapshot.not_ready.clone(),
            loop_lag: snapshot.loop_lag,
            clock_step_ms: snapshot.clock_step_ms,
            clock_synchronised: None,
            refused_for_time: count(
                lately.sum_where("p2p_blocks_refused_total", &[("reason", "future")]),
            ),
            listening: status.listen_addrs,
            external: status.external_addrs,
            nat: status.nat.state,
            relays: status.nat.relays.len(),
            relays_configured: setting("P2P_RELAYS").is_some_and(|v| !v.is_empty()),
            traversal: traversal(&now),
            peers: status.peers,
            limits: status.limits,
            connections_configured: number("P2P_MAX_CONNECTIONS"),
            refused: lately
                .by("p2p_connections_refused_total", "limit")
                .into_iter()
                .map(|(limit, n)| (limit, count(Some(n))))
                .filter(|(_, n)| *n > 0)
                .collect(),
            dial_failures_a_minute: a_minute(lately.sum("p2p_peer_dial_failures_total"), span),
            kept: (total("libp2p_connections_kept"), number("P2P_MIN_PEERS")),
            missing: (
                total("libp2p_connections_missing"),
                least("libp2p_connections_missing", snapshot, &now),
            ),
            bootstrap: setting("P2P_BOOTSTRAP_PEERS")
                .unwrap_or_default()
                .split(',')
                .filter_map(|text| text.trim().parse().ok())
                .filter(|address: &Multiaddr| !address.is_empty())
                .map(|address| Bootstrap {
                    address,
                    reach: Reach::Unknown,
                })
                .collect(),
            is_bootstrap: setting("P2P_BOOTSTRAP") == Some("true"),
            table: status.dht.table_size,
            dht: p99(DHT, &asked(&now), &asked(&lately)),
            dht_slow: count(Some(asked(&lately).above(at::DHT_P99_SLOW, DHT))),
            dht_too_slow: count(Some(asked(&lately).above(at::DHT_P99_SECONDS, DHT))),
            announcements: (status.announcements.waiting, status.announcements.lateness),
            announcements_failed: count(
                lately.sum_where("p2p_announcements_total", &[("result", "failed")]),
            ),
            topics: status.topics,
            mesh: total("libp2p_gossipsub_peers"),
            gossip_d: number("P2P_GOSSIP_D"),
            heartbeat: setting("P2P_GOSSIP_HEARTBEAT").and_then(duration),
            gossip_dropped: count(
                lately.sum_where("p2p_gossip_validation_total", &[("result", "queue_full")]),
            ),
            processing: p99(
                "p2p_message_processing_seconds",
                &now.only("protocol", &OWN_WORK),
                &lately.only("protocol", &OWN_WORK),
            ),
            store_refused: count(lately.sum("p2p_store_refused_total")),
            resident,
            // The metric is used because a reload can change the limit.
            memory_limit: now
                .sum("p2p_memory_limit_bytes")
                .map(|n| count(Some(n)))
                .filter(|n| *n > 0)
                .or(snapshot.memory_limit),
            cpu_now: None,
            cpu_since_start: share(snapshot.cpu, snapshot.uptime),
            descriptors: snapshot.descriptors,
            store: (status.store.disk_bytes, status.store.max_bytes),
            disk: snapshot.disk,
            records: (total("libp2p_dht_records"), number("P2P_DHT_MAX_RECORDS")),
            circuits: (
                total("libp2p_relay_connections_active"),
                now.sum("p2p_relay_connections_limit")
                    .map(|n| count(Some(n))),
            ),
            reload_failed: now.sum("p2p_config_last_reload_successful") == Some(0.0),
            bans: status.bans,
            bans_a_minute: most_a_minute("p2p_blacklist_total", snapshot, &now),
            banned_but_wanted: Vec::new(),
        }
    }

    /// Sets the processor time in use to that used between two snapshots.
    pub fn cpu_between(&mut self, first: &Snapshot, second: &Snapshot) {
        let used = second.cpu.saturating_sub(first.cpu);
        let passed = second.uptime.saturating_sub(first.uptime);
        self.cpu_now = (!passed.is_zero()).then(|| share(used, passed));
    }

    /// Returns whether all addresses at which the node listens are loopback addresses.
    pub fn only_loopback(&self) -> bool {
        !self.listening.is_empty()
            && self.listening.iter().all(|a| {
                a.iter().any(|p| match p {
                    Protocol::Ip4(ip) => ip.is_loopback(),
                    Protocol::Ip6(ip) => ip.is_loopback(),
                    _ => false,
                })
            })
    }
}

fn count(value: Option<f64>) -> u64 {
    // The conversion saturates, and turns NaN into zero.
    value.unwrap_or_default().round() as u64
}

/// Returns a count as a number per minute. A count over less than a minute is not scaled
/// up: two failures in the first second of a node are two, not a hundred a minute.
fn a_minute(added: Option<f64>, span: Duration) -> f64 {
    let minutes = (span.as_secs_f64() / 60.0).max(1.0);
    added.unwrap_or_default() / minutes
}

fn share(used: Duration, of: Duration) -> f64 {
    match of.as_secs_f64() {
        0.0 => 0.0,
        of => used.as_secs_f64() / of,
    }
}

/// Returns the largest growth per minute of the counter `name` between two neighbouring
/// entries of the snapshot's history, which are a minute apart.
fn most_a_minute(name: &str, snapshot: &Snapshot, now: &Samples) -> f64 {
    let mut points: Vec<(Duration, f64)> = snapshot
        .earlier
        .iter()
        .map(|e| {
            let samples = Samples::parse(&e.metrics);
            (e.age, samples.sum(name).unwrap_or_default())
        })
        .collect();
    points.push((Duration::ZERO, now.sum(name).unwrap_or_default()));
    if points.len() == 1 {
        return points[0].1;
    }
    points
        .windows(2)
        .map(|w| {
            a_minute(
                Some((w[1].1 - w[0].1).max(0.0)),
                w[0].0.saturating_sub(w[1].0),
            )
        })
        .fold(0.0, f64::max)
}

/// Returns the smallest value of the gauge `name` in the snapshot's history and now. It
/// is `None` when the history is shorter than [`LATELY`] by more than a minute, the time
/// between two of its entries.
fn least(name: &str, snapshot: &Snapshot, now: &Samples) -> Option<u64> {
    let oldest = snapshot.earlier.iter().map(|e| e.age).max()?;
    if oldest + Duration::from_secs(60) < LATELY {
        return None;
    }
    let earlier = snapshot.earlier.iter().map(|e| {
        let samples = Samples::parse(&e.metrics);
        count(samples.sum(name))
    });
    earlier.chain([count(now.sum(name))]).min()
}

/// Returns the samples without those of the queries that nobody waits for. These often
/// ask peers that have gone, as they should. The alert rules leave them out as well.
fn asked(samples: &Samples) -> Samples {
    samples.without("kind", REFRESH)
}

fn duration(text: &str) -> Option<Duration> {
    crate::config::parse_duration(text, Duration::ZERO, Duration::MAX).ok()
}

#[cfg(test)]
mod tests;
