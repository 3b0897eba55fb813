//! The metrics change with what happens, and promtool does not report any problems.
//!
//! If promtool is missing, its part is skipped, unless `PROMTOOL=required` is set.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::common::http::{Scrape, get, until};
use crate::common::{Closed, Daemon, eventually, own_address};

/// A relay and bootstrap node that knows its own address, and two nodes that
/// know it; all in the room of one topic.
struct World {
    _dir: tempfile::TempDir,
    relay: Daemon,
    nodes: [Daemon; 2],
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let address = own_address();
    let topic = ("P2P_TOPICS", "room");
    let relay = Daemon::start(
        &dir.path().join("relay"),
        &[
            ("P2P_BOOTSTRAP", "true"),
            ("P2P_LISTEN_ADDRS", &address),
            ("P2P_EXTERNAL_ADDRS", &address),
            topic,
        ],
    );
    let full = format!("{address}/p2p/{}", relay.id());
    let nodes = ["a", "b"].map(|name| {
        Daemon::start(
            &dir.path().join(name),
            &[
                ("P2P_BOOTSTRAP_PEERS", full.as_str()),
                // One that cannot be reached: a dial that fails.
                ("P2P_RELAYS", if name == "a" { full.as_str() } else { "" }),
                ("P2P_DHT_MODE", "server"),
                topic,
            ],
        )
    });
    World {
        _dir: dir,
        relay,
        nodes,
    }
}

#[test]
fn metrics_move_with_what_happens() {
    let world = world();
    let [a, b] = &world.nodes;
    let at = [&world.relay, a, b].map(Daemon::http);
    let [relay, of_a, of_b] = at;
    let some = |value: f64| value >= 1.0;

    // Connections and the DHT.
    for node in at {
        until(node, "libp2p_connections_active", some);
        until(node, "libp2p_connections_opened_total", some);
        until(node, "p2p_connected_peers", some);
        until(node, "libp2p_dht_routing_table_peers", some);
        until(node, "libp2p_gossipsub_peers", some);
        until(
            node,
            "p2p_messages_total{direction=\"in\",protocol=\"identify\"}",
            some,
        );
        until(node, "libp2p_ping_rtt_seconds_count", some);
        until(
            node,
            "p2p_bandwidth_bytes_total{class=\"own\",direction=\"in\"}",
            some,
        );
    }
    until(
        of_a,
        "libp2p_dht_query_duration_seconds_count{kind=\"bootstrap\"}",
        some,
    );

    // NAT: a reservation of `a` at the relay, as both sides count it; a circuit.
    until(of_a, "libp2p_nat_traversal{method=\"relay\"}", |v| v == 1.0);
    until(relay, "libp2p_relay_reservations_active", |v| v == 1.0);
    let ok = "libp2p_nat_traversal_attempts_total{method=\"relay\",result=\"ok\"}";
    assert!(Scrape::of(of_a).value(ok) >= 1.0);
    assert_eq!(Scrape::of(of_b).value(ok), 0.0);
    let (id_a, id_b, id_relay) = (a.id(), b.id(), world.relay.id());
    let relayed = format!("{}/p2p-circuit/p2p/{id_a}", world.relay.address("tcp"));
    b.cli(&["disconnect", &id_a]);
    eventually("b reaches a through the relay", || {
        b.cli(&["connect", &relayed]).status.success().then_some(())
    });
    // Connections that end without a reservation leave the gauge alone.
    let seen = eventually("a circuit was carried", || {
        let scrape = Scrape::of(relay);
        let carried =
            scrape.value("p2p_relay_requests_total{kind=\"circuit\",result=\"accepted\"}");
        some(carried).then_some(scrape)
    });
    assert!(seen.value("libp2p_relay_connections_active") >= 0.0);

    // A file, a query for its provider, a message.
    let file = world._dir.path().join("file");
    // What cannot be compressed, so that its bytes can be counted.
    let content = (0..50_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes());
    std::fs::write(&file, content.collect::<Vec<_>>()).unwrap();
    let cid = a.ok(&["put", "-q", file.to_str().unwrap()]);
    let cid = cid.lines().last().unwrap().to_owned();
    assert!(Scrape::of(of_a).value("p2p_store_blocks") >= 1.0);
    b.ok(&[
        "get",
        &cid,
        "-o",
        world._dir.path().join("got").to_str().unwrap(),
    ]);
    let got = Scrape::of(of_b);
    assert!(got.value("p2p_block_bytes_total{direction=\"in\"}") >= 100_000.0);
    assert!(got.value("p2p_bandwidth_bytes_total{class=\"bulk\",direction=\"in\"}") >= 100_000.0);
    assert!(got.value("libp2p_dht_query_duration_seconds_count{kind=\"get_providers\"}") >= 1.0);
    assert!(got.value("p2p_messages_total{direction=\"out\",protocol=\"dht\"}") >= 1.0);
    assert!(got.value("p2p_control_requests_total{kind=\"block\"}") >= 1.0);
    let given = until(of_a, "p2p_block_bytes_total{direction=\"out\"}", |v| {
        v >= 100_000.0
    });
    assert!(given >= 100_000.0);
    until(
        of_a,
        "p2p_message_processing_seconds_count{protocol=\"block\"}",
        some,
    );
    until(
        of_a,
        "libp2p_dht_queries_total{kind=\"provide\",result=\"ok\"}",
        some,
    );
    eventually("a message arrives", || {
        a.ok(&["publish", "room", "hello"]);
        some(Scrape::of(of_b).value("libp2p_gossipsub_messages_received_total")).then_some(())
    });
    let heard = Scrape::of(of_b);
    assert!(heard.value("p2p_gossip_validation_total{result=\"accepted\"}") >= 1.0);
    assert!(heard.value("p2p_message_processing_seconds_count{protocol=\"gossip\"}") >= 1.0);
    assert!(heard.value("p2p_messages_total{direction=\"in\",protocol=\"gossip\"}") >= 1.0);

    // What fails and what is refused.
    let nobody = Closed::new();
    let failed = Scrape::of(of_b).value("p2p_peer_dial_failures_total");
    assert!(!b.cli(&["connect", &nobody.address()]).status.success());
    until(of_b, "p2p_peer_dial_failures_total", |v| v > failed);
    let banned = Scrape::of(of_a);
    assert_eq!(banned.value("p2p_bans_active"), 0.0);
    let closed = "libp2p_connections_closed_total{cause=\"local\"}";
    let closed_before = banned.value(closed);
    b.cli(&["connect", &a.address("tcp")]);
    a.ok(&["ban", &id_b, "--for", "1h"]);
    until(of_a, "p2p_bans_active", |v| v == 1.0);
    until(of_a, "p2p_blacklist_total", |v| v == 1.0);
    until(of_a, closed, |v| v > closed_before);
    let direct = a.address("tcp");
    eventually("the gate refuses the banned peer", || {
        b.cli(&["connect", &direct]);
        some(Scrape::of(of_a).value("p2p_connections_refused_total{limit=\"bans\"}")).then_some(())
    });

    // The process itself.
    // Counted in whole seconds.
    assert!(Scrape::of(of_b).has("process_cpu_seconds_total"));
    for name in [
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_threads",
        "process_virtual_memory_bytes",
    ] {
        assert!(Scrape::of(of_b).value(name) > 0.0, "{name}");
    }
    // No reservation was lost by all that, and none is left when its owner goes.
    assert_eq!(
        Scrape::of(relay).value("libp2p_relay_reservations_active"),
        1.0
    );
    a.ok(&["disconnect", &id_relay]);
    let World { nodes: [a, _b], .. } = world;
    assert_eq!(a.stop(), Some(0));
    until(relay, "libp2p_relay_reservations_active", |v| v == 0.0);
}

#[test]
fn promtool_has_nothing_to_say_of_the_metrics() {
    let required = std::env::var("PROMTOOL").is_ok_and(|v| v == "required");
    if Command::new("promtool").arg("--version").output().is_err() {
        assert!(!required, "PROMTOOL=required, and there is no promtool");
        eprintln!("passed over: there is no promtool here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[]);
    let (_, text) = get(daemon.http(), "/metrics");
    // That it can find something at all.
    assert!(!lint("# HELP x_count A.\n# TYPE x_count counter\nx_count 1\n").is_empty());
    assert_eq!(lint(&text), "", "{text}");
}

/// What `promtool check metrics` says of `text`.
fn lint(text: &str) -> String {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// Every series is there from the start, but for those that no event makes:
/// a counter that appears with its first event hides that event from `rate()`.
#[test]
fn no_series_appears_later() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[]);
    let scrape = Scrape::of(daemon.http());
    for series in [
        "p2p_streams_refused_total{reason=\"surplus\"}",
        "p2p_connections_refused_total{limit=\"P2P_MAX_CONNECTIONS\"}",
        "libp2p_connections_closed_total{cause=\"idle\"}",
        "libp2p_dht_queries_total{kind=\"get_value\",result=\"not_found\"}",
        "p2p_bandwidth_waits_total{class=\"bulk\",direction=\"out\"}",
        "p2p_control_requests_total{kind=\"unknown\"}",
        "libp2p_nat_traversal{method=\"direct\"}",
        concat!(
            "p2p_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"}"
        ),
    ] {
        assert!(scrape.has(series), "{series}");
    }
}
