use super::*;
use crate::api::Setting;
use crate::telemetry::history::Earlier;

fn snapshot(now: &str, earlier: &[(u64, &str)]) -> Snapshot {
    Snapshot {
        status: None,
        not_ready: None,
        loop_lag: Duration::ZERO,
        metrics: now.into(),
        earlier: earlier
            .iter()
            .map(|(secs, text)| Earlier {
                age: Duration::from_secs(*secs),
                metrics: (*text).into(),
            })
            .collect(),
        uptime: Duration::from_secs(600),
        pid: 1,
        cpu: Duration::from_secs(60),
        clock: None,
        clock_step_ms: 0,
        descriptors: (0, 0),
        memory_limit: None,
        disk: None,
        settings: vec![],
    }
}

/// A metric that has been renamed would look as if nothing had ever happened.
#[test]
fn every_metric_that_is_read_is_one_that_nodes_tell() {
    let metrics = crate::web::metrics::Metrics::new().unwrap();
    let told = metrics.render().unwrap();
    for text in [
        include_str!("mod.rs"),
        include_str!("attempts.rs"),
        include_str!("../../../packaging/diagnose/p2p-node-diagnose.sh"),
    ] {
        let names: Vec<&str> = text
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(|word| {
                let prefixes = ["libp2p_", "p2p_", "process_"];
                prefixes.iter().any(|p| word.starts_with(p))
            })
            .collect();
        assert!(!names.is_empty(), "{names:?}");
        for name in names {
            let here = told.lines().any(|line| {
                let rest = line.strip_prefix(name);
                rest.is_some_and(|r| r.starts_with(['{', ' ']) || r.starts_with("_bucket"))
            });
            assert!(here, "no node tells {name}");
        }
    }
}

#[test]
fn attempts_at_nat_traversal_are_counted() {
    let metrics = crate::web::metrics::Metrics::new().unwrap();
    let attempts = &metrics.node.nat_traversal_attempts;
    attempts.with_label_values(&["autonat", "failed"]).inc_by(3);
    attempts.with_label_values(&["relay", "ok"]).inc();
    let f = Figures::of(&snapshot(&metrics.render().unwrap(), &[]));
    assert_eq!(f.traversal["autonat"], Attempts { ok: 0, failed: 3 });
    assert_eq!(f.traversal["relay"], Attempts { ok: 1, failed: 0 });
}

#[test]
fn lately_is_the_last_five_minutes() {
    let s = snapshot(
        "p2p_peer_dial_failures_total 100\np2p_connections_refused_total{limit=\"a\"} 3\n\
         p2p_connections_refused_total{limit=\"b\"} 3\n",
        &[
            (359, "p2p_peer_dial_failures_total 0\n"),
            (
                300,
                "p2p_peer_dial_failures_total 40\np2p_connections_refused_total{limit=\"b\"} 3\n",
            ),
            (60, "p2p_peer_dial_failures_total 99\n"),
        ],
    );
    let f = Figures::of(&s);
    assert_eq!(f.span, Duration::from_secs(300));
    assert_eq!(f.dial_failures_a_minute, 12.0);
    assert_eq!(f.refused, BTreeMap::from([("a".into(), 3)]));
    assert_eq!(f.cpu_since_start, 0.1);
}

#[test]
fn a_node_that_has_just_started_is_not_blown_up() {
    let mut s = snapshot(
        "p2p_peer_dial_failures_total 2\np2p_blacklist_total 3\n",
        &[],
    );
    s.uptime = Duration::from_secs(1);
    let f = Figures::of(&s);
    assert_eq!((f.dial_failures_a_minute, f.bans_a_minute), (2.0, 3.0));
}

#[test]
fn what_is_missing_counts_when_it_was_missing_for_minutes() {
    let missing = |n: u64| format!("libp2p_connections_missing {n}\n");
    let (one, two, none) = (missing(1), missing(2), missing(0));
    let of = |earlier: &[(u64, &str)]| Figures::of(&snapshot(&two, earlier)).missing;
    assert_eq!(of(&[]), (2, None));
    assert_eq!(of(&[(60, &two), (120, &two)]), (2, None));
    assert_eq!(of(&[(299, &two), (240, &one), (60, &two)]), (2, Some(1)));
    assert_eq!(of(&[(240, &two), (60, &none)]), (2, Some(0)));
    assert_eq!(of(&[(300, "")]), (2, Some(0)), "an older daemon");
}

#[test]
fn the_worst_minute_of_bans_counts() {
    let s = snapshot(
        "p2p_blacklist_total 31\n",
        &[
            (120, "p2p_blacklist_total 1\n"),
            (60, "p2p_blacklist_total 26\n"),
        ],
    );
    assert_eq!(Figures::of(&s).bans_a_minute, 25.0);
}

#[test]
fn the_percentile_is_of_lately_and_of_all() {
    let b = |le: &str, n: u64| {
        format!("libp2p_dht_query_duration_seconds_bucket{{kind=\"a\",le=\"{le}\"}} {n}\n")
    };
    let now = [b("1", 100), b("10", 200), b("+Inf", 200)].concat();
    let then = [b("1", 0), b("10", 100), b("+Inf", 100)].concat();
    let refresh = |n: u64| {
        format!("libp2p_dht_query_duration_seconds_bucket{{kind=\"refresh\",le=\"+Inf\"}} {n}\n")
    };
    let (now, then) = (now + &refresh(1_000), then + &refresh(1));
    let f = Figures::of(&snapshot(&now, &[(300, &then)]));
    let (lately, all) = (f.dht.lately.unwrap(), f.dht.since_start.unwrap());
    assert_eq!((lately.count, all.count), (100, 200));
    assert!((lately.seconds - 0.99).abs() < 1e-9, "{lately:?}");
    assert!((all.seconds - 9.82).abs() < 1e-9, "{all:?}");
    // Nothing has happened since.
    assert_eq!(
        Figures::of(&snapshot(&now, &[(300, &now)])).dht.lately,
        None
    );
}

#[test]
fn the_configuration_says_who_is_wanted() {
    let mut s = snapshot("", &[]);
    let set = |name: &str, value: &str| Setting {
        name: name.into(),
        value: value.into(),
        source: "environment".into(),
    };
    let peer = "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    s.settings = vec![
        set("P2P_BOOTSTRAP_PEERS", peer),
        set("P2P_GOSSIP_HEARTBEAT", "700ms"),
        set("P2P_MAX_CONNECTIONS", "400"),
    ];
    let f = Figures::of(&s);
    assert_eq!(f.bootstrap.len(), 1);
    assert_eq!(f.bootstrap[0].address.to_string(), peer);
    assert_eq!(f.heartbeat, Some(Duration::from_millis(700)));
    assert_eq!(f.connections_configured, Some(400));
    s.settings = vec![set("P2P_BOOTSTRAP_PEERS", "")];
    assert!(Figures::of(&s).bootstrap.is_empty());
}

#[test]
fn the_processor_is_measured_between_two_snapshots() {
    let first = snapshot("", &[]);
    let mut second = first.clone();
    second.uptime += Duration::from_secs(2);
    second.cpu += Duration::from_secs(1);
    let mut f = Figures::of(&second);
    f.cpu_between(&first, &second);
    assert_eq!(f.cpu_now, Some(0.5));
    f.cpu_between(&first, &first);
    assert_eq!(f.cpu_now, None);
}
