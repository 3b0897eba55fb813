//! Three hosts: daemons in their own network namespaces, connected by a bridge.
//!
//! One is the bootstrap node and has the file. A second has the file too.
//! A third knows only the address of the first. It finds both through the DHT and
//! fetches the file; half-way the second is killed. The bytes must be the same.
//!
//! The test needs root and iproute2. If they are missing, it says so and is skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod common;
#[path = "common/lan.rs"]
mod lan;

use std::process::Command;

use common::{Daemon, Start, eventually, same_bytes, write_noise};
use lan::{Lan, ip};

const FILE_BYTES: u64 = 320 << 20;

#[test]
fn a_file_is_found_and_fetched_while_one_of_its_two_providers_is_killed() {
    let Some(lan) = Lan::if_possible(3) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let start = |n: usize, more: &[(&str, &str)]| {
        let listen = format!("/ip4/192.0.2.{n}/tcp/4001,/ip4/192.0.2.{n}/udp/4001/quic-v1");
        let mut variables = vec![("P2P_LISTEN_ADDRS", listen.as_str())];
        variables.extend_from_slice(more);
        let dir = dir.path().join(format!("host{n}"));
        Start::new(&dir)
            .with(&variables)
            .on_host(Some(lan.host(n)))
            .spawn()
            .wait_ready()
    };
    let entry = start(1, &[("P2P_BOOTSTRAP", "true")]);
    let door = entry.address("tcp");
    let knows = [("P2P_BOOTSTRAP_PEERS", door.as_str())];
    let mut second = start(2, &knows);
    let seeker = start(3, &knows);

    let file = dir.path().join("film");
    write_noise(&file, FILE_BYTES, 7);
    let path = file.to_str().unwrap();
    let cid = entry.ok(&["put", "-q", path]);
    assert_eq!(
        second.ok(&["put", "-q", path]),
        cid,
        "the same file has the same CID"
    );
    // Both providers are in the DHT before the third host asks it.
    eventually("two providers in the DHT", || {
        let found = seeker.cli(&["dht", "find-providers", &cid]);
        let text = String::from_utf8_lossy(&found.stdout).into_owned();
        (text.lines().filter(|l| l.contains("12D3Koo")).count() >= 2).then_some(())
    });

    let copy = dir.path().join("copy");
    let get = seeker.begin(&["get", &cid, "-o", copy.to_str().unwrap()]);
    let stored = |daemon: &Daemon| daemon.json(&["status"])["store"]["bytes"].as_u64();
    let at_kill = eventually("a third of the file has come", || {
        stored(&seeker).filter(|bytes| *bytes >= FILE_BYTES / 3)
    });
    let sent = r#"p2p_block_bytes_total{direction="out"}"#;
    eventually("the second provider has sent some of it", || {
        (second.metric(sent) > 0.0).then_some(())
    });
    second.kill();
    assert!(
        at_kill < FILE_BYTES,
        "the second provider was killed too late to matter"
    );
    let output = get.output();
    assert!(
        output.status.success(),
        "get failed: {}\n{}",
        String::from_utf8_lossy(&output.stderr),
        seeker.log()
    );
    assert!(same_bytes(&file, &copy));
    assert!(entry.metric(sent) > 0.0, "the first provider sent nothing");
    for log in [entry.log(), second.log(), seeker.log()] {
        assert!(!log.contains("panicked"), "{log}");
    }
    assert_eq!(seeker.stop(), Some(0));
    assert_eq!(entry.stop(), Some(0));
}

/// IPv6 is off in many containers, and an interface may come up after the
/// daemon: a socket on every address is open all the same.
#[test]
fn a_family_without_addresses_does_not_keep_the_daemon_from_being_ready() {
    let Some(lan) = Lan::if_possible(1) else {
        return;
    };
    let host = lan.host(1);
    let off = Command::new("ip")
        .args(["netns", "exec", host, "sysctl", "-qw"])
        .arg("net.ipv6.conf.all.disable_ipv6=1")
        .status();
    assert!(off.unwrap().success());
    let dir = tempfile::tempdir().unwrap();
    let listen = "/ip6/::/tcp/4001,/ip6/::/udp/4001/quic-v1,/ip4/0.0.0.0/tcp/4001";
    let daemon = Start::new(dir.path())
        .with(&[("P2P_LISTEN_ADDRS", listen)])
        .on_host(Some(host))
        .spawn();
    daemon.wait_ready();
}

#[test]
fn a_wildcard_listener_follows_addresses_that_come_and_go() {
    let Some(lan) = Lan::if_possible(1) else {
        return;
    };
    let host = lan.host(1);
    let dir = tempfile::tempdir().unwrap();
    let daemon = Start::new(dir.path())
        .with(&[(
            "P2P_LISTEN_ADDRS",
            "/ip4/0.0.0.0/tcp/4001,/ip4/0.0.0.0/udp/4001/quic-v1",
        )])
        .on_host(Some(host))
        .spawn()
        .wait_ready();
    let listens_on = |address: &str| {
        let status = daemon.json(&["status"]);
        let list = status["listen_addresses"].as_array().unwrap().clone();
        list.iter().any(|a| a == address)
    };
    let new = [
        "/ip4/198.51.100.7/tcp/4001",
        "/ip4/198.51.100.7/udp/4001/quic-v1",
    ];
    assert!(listens_on("/ip4/192.0.2.1/tcp/4001"));
    assert!(!new.iter().any(|a| listens_on(a)));
    let change = |what| ip(&["-n", host, "addr", what, "198.51.100.7/24", "dev", "eth0"]).unwrap();
    change("add");
    eventually("the new address is listened on", || {
        new.iter().all(|a| listens_on(a)).then_some(())
    });
    change("del");
    eventually("the lost address is listened on no more", || {
        (!new.iter().any(|a| listens_on(a))).then_some(())
    });
    assert!(listens_on("/ip4/192.0.2.1/tcp/4001"));
    assert_eq!(daemon.stop(), Some(0));
}

/// Loopback is exempt from what is counted by address, so this needs hosts.
#[test]
fn one_address_has_its_cap_and_its_rate_and_others_are_served() {
    let Some(lan) = Lan::if_possible(3) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str, host: usize, port: u16, more: &[(&str, &str)]| {
        let listen =
            format!("/ip4/192.0.2.{host}/tcp/{port},/ip4/192.0.2.{host}/udp/{port}/quic-v1");
        let mut variables = vec![("P2P_LISTEN_ADDRS", listen.as_str())];
        variables.extend_from_slice(more);
        let dir = dir.path().join(name);
        Start::new(&dir)
            .with(&variables)
            .on_host(Some(lan.host(host)))
            .spawn()
            .wait_ready()
    };
    let node = start(
        "node",
        1,
        4001,
        &[
            ("P2P_MAX_CONNECTIONS_PER_SUBNET", "1"),
            ("P2P_MAX_INBOUND_RATE_PER_SUBNET", "2"),
            ("P2P_CONNECTION_IDLE_TIMEOUT", "10m"),
        ],
    );
    let refused = |limit: &str| {
        let sample = format!("p2p_connections_refused_total{{limit=\"{limit}\"}}");
        node.metric_sum(&sample)
    };
    let knows = |daemon: &Daemon| {
        let id = daemon.json(&["id"])["peer_id"].as_str().unwrap().to_owned();
        let peers = node.json(&["peers"]).to_string();
        peers.contains(&id)
    };
    let stays = [("P2P_CONNECTION_IDLE_TIMEOUT", "10m")];
    let first = start("first", 2, 4001, &stays);
    let second = start("second", 2, 4002, &stays);
    first.ok(&["connect", &node.address("tcp")]);
    eventually("the first is in", || knows(&first).then_some(()));
    // Another peer at the same address, over either transport.
    for transport in ["tcp", "quic-v1"] {
        let before = refused("P2P_MAX_CONNECTIONS_PER_SUBNET");
        let _ = second.cli(&["connect", &node.address(transport)]);
        eventually("its neighbour is refused", || {
            (refused("P2P_MAX_CONNECTIONS_PER_SUBNET") > before).then_some(())
        });
        assert!(!knows(&second), "over {transport}");
    }
    // This address connects again and again.
    first.ok(&[
        "disconnect",
        node.json(&["id"])["peer_id"].as_str().unwrap(),
    ]);
    eventually("the first is gone", || (!knows(&first)).then_some(()));
    // While one is in its handshake its neighbours are over the cap, which costs
    // no rate: it may take many bursts until the rate is the limit.
    let flood = "for i in {1..50}; do exec 3<>/dev/tcp/192.0.2.1/4001; exec 3>&-; done";
    eventually("the flood is over its rate", || {
        let done = Command::new("ip")
            .args(["netns", "exec", lan.host(2), "bash", "-c", flood])
            .status();
        assert!(done.unwrap().success());
        let over = refused("P2P_MAX_INBOUND_RATE_PER_SUBNET");
        (over > 0.0 && over + refused("P2P_MAX_CONNECTIONS_PER_SUBNET") >= 100.0).then_some(())
    });
    let other = start("other", 3, 4001, &stays);
    for transport in ["tcp", "quic-v1"] {
        other.ok(&["connect", &node.address(transport)]);
    }
    assert!(knows(&other));
    let lines = node
        .log()
        .matches("P2P_MAX_INBOUND_RATE_PER_SUBNET")
        .count();
    assert!(
        lines <= 3,
        "a line a minute at most, and not for each refusal"
    );
    assert_eq!(node.stop(), Some(0));
}
