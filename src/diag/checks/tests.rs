//! Tests every threshold with values on both sides of it.

use super::*;
use crate::api::{LimitStatus, Reachability, TopicStatus};
use crate::diag::figures::{Attempts, Bootstrap, Reach};

const MIB: u64 = 1 << 20;

/// Returns the figures of a node about which there is nothing to report.
fn healthy() -> Figures {
    Figures {
        own_agent: "p2p-node/1.0.0".into(),
        agent: "p2p-node/1.0.0".into(),
        uptime: Duration::from_secs(3600),
        span: Duration::from_secs(300),
        answers: true,
        listening: vec!["/ip4/192.0.2.7/tcp/4001".parse().unwrap()],
        external: vec!["/ip4/192.0.2.7/tcp/4001".parse().unwrap()],
        nat: Reachability::Public,
        peers: 20,
        limits: vec![limit(20, 400)],
        connections_configured: Some(400),
        bootstrap: (1..=3).map(|n| peer(n, Reach::Connected)).collect(),
        table: 20,
        dht: p99(0.3),
        topics: vec![topic(8, 20)],
        mesh: 8,
        heartbeat: Some(Duration::from_secs(1)),
        processing: p99(0.002),
        resident: 60 * MIB,
        memory_limit: Some(1000 * MIB),
        cpu_now: Some(0.02),
        descriptors: (60, 1024),
        store: (10 * MIB, 1000 * MIB),
        disk: Some((5000 * MIB, 10_000 * MIB)),
        records: (10, Some(65_536)),
        circuits: (0, Some(16)),
        ..Figures::default()
    }
}

fn limit(used: u64, allowed: u64) -> LimitStatus {
    LimitStatus {
        used,
        allowed,
        variable: "P2P_MAX_CONNECTIONS".into(),
        ..LimitStatus::default()
    }
}

fn topic(mesh_peers: u64, peers: u64) -> TopicStatus {
    TopicStatus {
        topic: "t".into(),
        mesh_peers,
        peers,
    }
}

fn peer(n: u8, reach: Reach) -> Bootstrap {
    Bootstrap {
        address: format!("/ip4/192.0.2.{n}/tcp/4001").parse().unwrap(),
        reach,
    }
}

fn p99(seconds: f64) -> P99 {
    let quantile = Some(Quantile {
        seconds,
        count: 1000,
    });
    P99 {
        lately: quantile,
        since_start: quantile,
    }
}

/// Returns the finding of `check` for the healthy node with one change.
fn find(check: &str, change: impl FnOnce(&mut Figures)) -> Finding {
    let mut figures = healthy();
    change(&mut figures);
    let found: Vec<_> = all(&figures)
        .into_iter()
        .filter(|f| f.check == check)
        .collect();
    assert_eq!(found.len(), 1, "{check}");
    let found = found.into_iter().next().unwrap();
    assert_eq!(
        found.advice.is_empty(),
        found.severity == Severity::Ok,
        "advice goes with what is not ok: {found:?}"
    );
    assert!(!found.finding.contains('\n') && !found.advice.contains('\n'));
    found
}

#[track_caller]
fn gives(check: &str, severity: Severity, change: impl FnOnce(&mut Figures)) -> Finding {
    let found = find(check, change);
    assert_eq!(found.severity, severity, "{found:?}");
    found
}

use Severity::{Note, Ok as Fine, Problem, Warning};

#[test]
fn of_a_healthy_node_nothing_is_to_be_said() {
    for f in all(&healthy()) {
        assert_eq!(f.severity, Fine, "{f:?}");
        assert!(f.advice.is_empty() && !f.finding.is_empty(), "{f:?}");
    }
}

#[test]
fn dht_queries_are_slow_above_five_seconds() {
    let slow = |seconds: f64, queries: u64| {
        move |f: &mut Figures| {
            f.dht = p99(seconds);
            f.dht_slow = queries;
            f.dht_too_slow = queries;
        }
    };
    gives("dht", Fine, slow(2.0, 9));
    gives("dht", Warning, slow(2.01, 3));
    gives("dht", Warning, slow(5.0, 9));
    // Two slow queries among a few are chance.
    gives("dht", Fine, slow(5.01, 2));
    let slow = gives("dht", Problem, slow(5.01, 3));
    assert!(slow.advice.contains("P2P_BOOTSTRAP_PEERS, 3 to 5"));
    assert!(slow.finding.contains("99% of 1000 within 5s"), "{slow:?}");
    // Queries that were slow long ago no longer count.
    gives("dht", Fine, |f| {
        f.dht = P99 {
            lately: None,
            ..p99(60.0)
        }
    });
    gives("dht", Fine, |f| f.dht = P99::default());
    gives("dht", Warning, |f| f.table = 0);
}

#[test]
fn neighbours_are_missing_when_some_are_known_and_were_not_found_for_minutes() {
    let few = |missing: u64, least: Option<u64>, peers: u64| {
        move |f: &mut Figures| {
            f.kept = (3, Some(8));
            f.missing = (missing, least);
            f.peers = peers;
        }
    };
    let small = gives("neighbours", Fine, few(0, Some(0), 3));
    assert_eq!(
        small.finding,
        "3 connections are kept although nothing may use them (P2P_MIN_PEERS is 8)"
    );
    let young = gives("neighbours", Fine, few(5, None, 3));
    assert!(young.finding.contains("it looks for 5 more"), "{young:?}");
    gives("neighbours", Fine, few(5, Some(0), 3));
    // That no peer is connected is reported by another check.
    gives("neighbours", Fine, few(5, Some(5), 0));
    let lonely = gives("neighbours", Warning, few(5, Some(1), 3));
    assert!(lonely.finding.contains("5 too few"), "{lonely:?}");
}

#[test]
fn announcements_are_late_above_two_hours() {
    let late = |seconds: u64, failed: u64| {
        move |f: &mut Figures| {
            f.announcements = (1_873, Duration::from_secs(seconds));
            f.announcements_failed = failed;
        }
    };
    let fine = gives("announcements", Fine, |_| {});
    assert_eq!(fine.finding, "no file waits to be announced");
    let fine = gives("announcements", Fine, late(7200, 9));
    assert_eq!(
        fine.finding,
        "1873 files wait to be announced, the oldest for 2h"
    );
    let slow = gives("announcements", Warning, late(7201, 0));
    assert!(
        slow.finding.contains("slower than files become due"),
        "{slow:?}"
    );
    let one = gives("announcements", Fine, |f| {
        f.announcements = (1, Duration::from_secs(60));
    });
    assert_eq!(
        one.finding,
        "1 file waits to be announced, the oldest for 1m"
    );
    let full = gives("announcements", Warning, late(7201, 9));
    assert!(
        full.finding
            .contains("9 announcements failed in the last 5m"),
        "{full:?}"
    );
    assert!(full.advice.contains("P2P_DHT_MAX_RECORDS"), "{full:?}");
    let alone = gives("announcements", Warning, |f| {
        late(7201, 9)(f);
        f.table = 0;
    });
    assert!(alone.finding.contains("no DHT peer is known"), "{alone:?}");
}

#[test]
fn messages_are_processed_slowly_above_a_second() {
    gives("latency", Fine, |f| f.processing = p99(1.0));
    gives("latency", Warning, |f| f.processing = p99(1.01));
    gives("latency", Warning, |f| f.processing = p99(4.99));
    gives("latency", Problem, |f| f.processing = p99(5.0));
    gives("latency", Fine, |f| f.processing = P99::default());
}

#[test]
fn a_mesh_is_too_small_below_4_thin_below_6_and_too_large_above_20() {
    let mesh = |n: u64| {
        move |f: &mut Figures| {
            f.mesh = n;
            f.topics = vec![topic(n, 50)];
        }
    };
    gives("gossip", Warning, mesh(3));
    gives("gossip", Note, mesh(4));
    gives("gossip", Note, mesh(5));
    gives("gossip", Fine, mesh(6));
    gives("gossip", Fine, mesh(20));
    let large = gives("gossip", Warning, mesh(21));
    assert!(large.advice.contains("P2P_GOSSIP_D to 6 to 8"));
    // There are many topics, each with a mesh of the right size.
    gives("gossip", Fine, |f| {
        f.mesh = 40;
        f.topics = vec![topic(8, 50); 5];
    });
    // A network of three nodes has no more peers to offer.
    gives("gossip", Note, |f| {
        f.mesh = 2;
        f.topics = vec![topic(2, 2)];
    });
    gives("gossip", Fine, |f| {
        f.mesh = 0;
        f.topics = vec![];
    });
    gives("gossip", Note, |f| {
        f.mesh = 0;
        f.topics = vec![topic(0, 0)];
    });
    gives("gossip", Warning, |f| f.gossip_dropped = 1);
}

#[test]
fn limits_are_nearly_used_up_above_80_percent() {
    gives("connections", Fine, |f| f.limits = vec![limit(320, 400)]);
    let full = gives("connections", Warning, |f| f.limits = vec![limit(321, 400)]);
    assert!(
        full.advice.contains("raise P2P_MAX_CONNECTIONS"),
        "{full:?}"
    );
    gives("connections", Fine, |f| f.limits = vec![]);

    gives("connections", Warning, |f| f.limits = vec![limit(380, 400)]);
    gives("connections", Problem, |f| f.limits = vec![limit(381, 400)]);

    gives("memory", Fine, |f| f.resident = 700 * MIB);
    gives("memory", Warning, |f| f.resident = 700 * MIB + 1);
    gives("memory", Warning, |f| f.resident = 800 * MIB);
    gives("memory", Problem, |f| f.resident = 800 * MIB + 1);
    gives("memory", Fine, |f| f.memory_limit = None);

    gives("descriptors", Fine, |f| f.descriptors = (800, 1000));
    gives("descriptors", Warning, |f| f.descriptors = (801, 1000));
    gives("descriptors", Problem, |f| f.descriptors = (951, 1000));

    gives("records", Fine, |f| f.records = (80, Some(100)));
    gives("records", Warning, |f| f.records = (81, Some(100)));

    gives("relay", Fine, |f| f.circuits = (80, Some(100)));
    gives("relay", Warning, |f| f.circuits = (81, Some(100)));
    gives("relay", Problem, |f| f.circuits = (96, Some(100)));
    gives("relay", Fine, |f| f.circuits = (81, None));
}

#[test]
fn a_cap_that_was_lowered_for_want_of_descriptors_is_told() {
    let lowered = gives("connections", Warning, |f| f.limits = vec![limit(1, 399)]);
    assert!(lowered.advice.contains("LimitNOFILE"), "{lowered:?}");
}

#[test]
fn the_store_is_full_above_95_percent() {
    gives("store", Fine, |f| f.store = (950 * MIB, 1000 * MIB));
    gives("store", Note, |f| f.store = (950 * MIB + 1, 1000 * MIB));
    gives("store", Warning, |f| f.store_refused = 1);
}

#[test]
fn a_disk_must_have_room_to_write_and_for_the_store_to_grow() {
    let disk = |free: u64| move |f: &mut Figures| f.disk = Some((free, 9000 * MIB));
    gives("disk", Fine, disk(990 * MIB));
    gives("disk", Warning, disk(990 * MIB - 1));
    gives("disk", Warning, disk(256 * MIB));
    gives("disk", Problem, disk(256 * MIB - 1));
    // A tenth is too little of a small disk and enough of a large one.
    let share = |free: u64, total: u64| {
        move |f: &mut Figures| {
            (f.store, f.disk) = ((0, 100 * MIB), Some((free, total)));
        }
    };
    gives("disk", Fine, share(1000 * MIB, 10_000 * MIB));
    gives("disk", Warning, share(999 * MIB, 10_000 * MIB));
    gives("disk", Fine, share(10 << 30, 1 << 40));
    gives("disk", Warning, share((10 << 30) - 1, 1 << 40));
}

#[test]
fn a_node_is_busy_above_four_fifths_of_a_core() {
    gives("cpu", Fine, |f| f.cpu_now = Some(0.8));
    gives("cpu", Warning, |f| f.cpu_now = Some(0.81));
    let ms = Duration::from_millis;
    gives("cpu", Note, |f| f.heartbeat = Some(ms(999)));
    let both = gives("cpu", Warning, |f| {
        f.cpu_now = Some(0.81);
        f.heartbeat = Some(ms(700));
    });
    assert!(
        both.advice.contains("P2P_GOSSIP_HEARTBEAT from 700ms"),
        "{both:?}"
    );
}

#[test]
fn dials_fail_too_often_above_ten_a_minute() {
    gives("dials", Fine, |f| f.dial_failures_a_minute = 10.0);
    gives("dials", Warning, |f| f.dial_failures_a_minute = 10.1);
}

#[test]
fn bans_are_told_and_many_in_a_minute_are_an_attack() {
    gives("bans", Note, |f| f.bans = 1);
    let few = gives("bans", Note, |f| {
        f.bans = 20;
        f.bans_a_minute = 20.0;
    });
    assert!(!few.finding.contains("attacks"), "{few:?}");
    let many = gives("bans", Note, |f| f.bans_a_minute = 21.0);
    assert!(many.finding.contains("attacks"), "{many:?}");
    gives("bans", Warning, |f| {
        f.banned_but_wanted = vec!["x".into()];
    });
}

#[test]
fn a_private_node_needs_a_relay() {
    let lost = gives("reachable", Warning, |f| {
        f.nat = Reachability::Private;
        f.traversal = [("autonat".to_owned(), Attempts { ok: 0, failed: 3 })].into();
    });
    assert!(
        lost.finding.contains("autonat 0 ok and 3 failed"),
        "{lost:?}"
    );
    assert!(
        lost.advice.contains("P2P_RELAYS") && lost.advice.contains("DCUtR"),
        "{lost:?}"
    );
    gives("reachable", Fine, |f| {
        f.nat = Reachability::Private;
        f.relays = 1;
    });
    gives("reachable", Fine, |f| f.nat = Reachability::Unknown);
    gives("reachable", Note, |f| {
        f.nat = Reachability::Unknown;
        f.external = vec![];
    });
}

#[test]
fn bootstrap_peers_must_answer_and_be_three() {
    let failed = || Reach::Failed("refused".into());
    let set = |reach: Vec<Reach>, table: u64| {
        move |f: &mut Figures| {
            f.bootstrap = (1..).zip(reach).map(|(n, r)| peer(n, r)).collect();
            (f.table, f.peers) = (table, table);
        }
    };
    let (yes, dialed) = (Reach::Connected, Reach::Answered);
    gives(
        "bootstrap",
        Fine,
        set(vec![yes.clone(), dialed.clone(), yes.clone()], 3),
    );
    gives("bootstrap", Note, set(vec![yes.clone(), dialed], 2));
    let one = gives("bootstrap", Warning, set(vec![yes, failed()], 2));
    assert!(one.finding.contains("/ip4/192.0.2.2/tcp/4001: refused"));
    gives("bootstrap", Problem, set(vec![failed()], 0));
    gives("bootstrap", Warning, set(vec![failed()], 1));
    gives("bootstrap", Problem, set(vec![Reach::Banned], 0));
    gives("bootstrap", Fine, set(vec![Reach::Unknown], 0));
    gives("bootstrap", Warning, set(vec![], 0));
    gives("bootstrap", Fine, set(vec![], 1));
    gives("bootstrap", Fine, |f| {
        f.bootstrap = vec![];
        f.table = 0;
        f.is_bootstrap = true;
    });
}

#[test]
fn refusals_name_what_raises_the_limit() {
    let refused =
        |limit: &'static str| move |f: &mut Figures| f.refused = [(limit.to_owned(), 7)].into();
    let cap = gives("refusals", Note, refused("P2P_MAX_CONNECTIONS_PER_SUBNET"));
    assert!(cap.finding.contains("7 by P2P_MAX_CONNECTIONS_PER_SUBNET"));
    assert!(cap.advice.contains("raise P2P_MAX_CONNECTIONS_PER_SUBNET"));
    let told = gives("refusals", Note, refused("P2P_DENY_CIDRS"));
    assert!(told.advice.contains("as it was told to"), "{told:?}");
    gives("refusals", Warning, refused("LimitNOFILE"));
    gives("refusals", Warning, refused("P2P_MAX_MEMORY"));
}

#[test]
fn the_clock_is_doubted_for_a_reason() {
    gives("clock", Warning, |f| f.clock_synchronised = Some(false));
    gives("clock", Fine, |f| f.clock_synchronised = Some(true));
    gives("clock", Fine, |f| f.clock_step_ms = 300_000);
    gives("clock", Note, |f| f.clock_step_ms = 300_001);
    gives("clock", Note, |f| f.clock_step_ms = -300_001);
    gives("clock", Warning, |f| f.refused_for_time = 1);
}

#[test]
fn a_loop_that_lags_or_is_stuck_is_told() {
    let secs = Duration::from_secs;
    gives("event-loop", Fine, |f| f.loop_lag = secs(3));
    gives("event-loop", Warning, |f| {
        f.loop_lag = secs(3) + Duration::from_millis(1);
    });
    gives("event-loop", Problem, |f| f.loop_lag = secs(15));
    gives("event-loop", Problem, |f| f.answers = false);
}

#[test]
fn readiness_reload_and_version_are_told() {
    gives("ready", Warning, |f| f.not_ready = Some("draining".into()));
    gives("ready", Problem, |f| f.not_ready = Some("no disk".into()));
    gives("reload", Warning, |f| f.reload_failed = true);
    gives("version", Note, |f| f.agent = "p2p-node/0.9.0".into());
}

#[test]
fn listening_nowhere_is_a_problem_and_on_loopback_a_note() {
    gives("listening", Problem, |f| f.listening = vec![]);
    let listen =
        |text: &'static str| move |f: &mut Figures| f.listening.push(text.parse().unwrap());
    gives("listening", Fine, listen("/ip4/127.0.0.1/tcp/1"));
    gives("listening", Note, |f| {
        f.listening = vec!["/ip6/::1/tcp/1".parse().unwrap()];
    });
}

/// The names of limits and reasons come from the daemon, and the reasons of failed dials
/// come from the network.
#[test]
fn what_others_chose_cannot_steer_a_terminal() {
    let found = find("bootstrap", |f| {
        f.bootstrap = vec![peer(1, Reach::Failed("a\u{1b}[2J\nb".into()))];
    });
    assert!(!found.finding.contains('\u{1b}'), "{found:?}");
}
