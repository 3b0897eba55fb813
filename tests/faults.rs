//! A daemon in which something hangs still ends in bounded time. This runs with
//! the feature `fault-injection`: `cargo test --features fault-injection --test faults`.
//! After SIGUSR1 no call to the database returns, and SIGUSR2 blocks
//! the event loop (`src/system/faults.rs`).

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

mod common;
#[path = "common/ear.rs"]
mod ear;

use std::time::{Duration, Instant};

use common::{Daemon, Start, eventually};
use ear::Ear;
use nix::sys::signal::Signal::{SIGTERM, SIGUSR1, SIGUSR2};

/// What a drain may take beside P2P_DRAIN_TIMEOUT: the bound that the daemon tells
/// systemd is 15 s; the rest is for a slow machine.
const SLACK: Duration = Duration::from_secs(60);

/// Sends a signal of a fault and waits until it is in force.
fn inject(daemon: &Daemon, signal: nix::sys::signal::Signal) {
    daemon.signal(signal);
    eventually("the fault is injected", || {
        daemon.log().contains("fault injected").then_some(())
    });
}

fn ends_within(daemon: &mut Daemon, bound: Duration) -> Option<i32> {
    let begin = Instant::now();
    let code = daemon.wait();
    let took = begin.elapsed();
    println!("ended after {took:?}");
    assert!(took < bound, "{took:?}\n{}", daemon.log());
    code
}

#[test]
fn a_drain_with_a_dead_disk_ends() {
    let dir = tempfile::tempdir().unwrap();
    let server = ("P2P_DHT_MODE", "server");
    let peer = Daemon::start(&dir.path().join("peer"), &[server]);
    let variables = [("P2P_DRAIN_TIMEOUT", "1s"), server];
    let mut daemon = Daemon::start(&dir.path().join("node"), &variables);
    daemon.ok(&["connect", &peer.address("tcp")]);
    eventually("there is a routing table to save", || {
        let status = daemon.json(&["status"]);
        let size = status["dht"]["routing_table_size"].as_u64();
        (size.unwrap_or_else(|| panic!("{status}")) > 0).then_some(())
    });
    inject(&daemon, SIGUSR1);
    daemon.signal(SIGTERM);
    assert_eq!(ends_within(&mut daemon, SLACK), Some(0), "{}", daemon.log());
    let log = daemon.log();
    assert!(log.contains("the disk does not answer"), "{log}");
}

#[test]
fn a_node_with_a_dead_disk_passes_messages_on_and_ends_with_a_goodbye() {
    const TOPIC: &str = "/p2p-node/chat";
    let dir = tempfile::tempdir().unwrap();
    let variables = [
        ("P2P_TOPICS", TOPIC),
        ("P2P_LISTEN_ADDRS", "/ip4/127.0.0.1/udp/0/quic-v1"),
        ("P2P_LOG_FORMAT", "json"),
        ("RUST_LOG", "debug"),
        // This is longer than the test waits, so that a drain that takes all of it fails.
        ("P2P_DRAIN_TIMEOUT", "10m"),
    ];
    let start = |name: &str| Daemon::start(&dir.path().join(name), &variables);
    let (speaker, mut between, hearer) = (start("speaker"), start("between"), start("hearer"));
    let id = |daemon: &Daemon| daemon.json(&["id"])["peer_id"].as_str().unwrap().to_owned();
    // They look for each other, and must find no other way.
    speaker.ok(&["ban", &id(&hearer)]);
    hearer.ok(&["ban", &id(&speaker)]);
    // Over QUIC, where the end of a process is not seen by others.
    let at = between.address("quic-v1");
    speaker.ok(&["connect", &at]);
    hearer.ok(&["connect", &at]);
    let ear = Ear::at(&hearer, TOPIC, &dir.path().join("heard"));
    let reaches = |what: &str, word: &str| {
        eventually(what, || {
            let _ = speaker.cli(&["publish", TOPIC, word]);
            (ear.count(word) > 0).then_some(())
        });
    };
    reaches("a message goes through the one between", "first");
    inject(&between, SIGUSR1);
    reaches("a message goes past a dead disk", "second");
    // It still waits to be recorded as seen there.
    between.signal(SIGTERM);
    assert_eq!(
        ends_within(&mut between, SLACK),
        Some(0),
        "{}",
        between.log()
    );
    let log = between.log();
    assert!(!log.contains("did not end within"), "{log}");
    eventually("its peer gets a goodbye", || {
        let log = speaker.log();
        let mut ends = log
            .lines()
            .filter(|line| line.contains("connection closed"));
        ends.any(|line| line.contains(r#""cause":"remote""#))
            .then_some(())
    });
}

#[test]
fn a_start_with_a_dead_disk_can_be_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Start::new(dir.path())
        .with(&[("FAULT_DEAD_DISK", "1")])
        .spawn();
    // Signals are caught once this line is there.
    eventually("the daemon starts", || {
        daemon.log().contains("faults on demand").then_some(())
    });
    eventually("its identity is made, and the store comes next", || {
        dir.path().join("data/identity.key").exists().then_some(())
    });
    daemon.signal(SIGTERM);
    assert_eq!(ends_within(&mut daemon, SLACK), Some(0), "{}", daemon.log());
    assert!(daemon.log().contains("stopped while starting"));
}

#[test]
fn a_drain_with_a_stuck_event_loop_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(dir.path(), &[("P2P_DRAIN_TIMEOUT", "1s")]);
    inject(&daemon, SIGUSR2);
    daemon.signal(SIGTERM);
    assert_eq!(ends_within(&mut daemon, SLACK), Some(0), "{}", daemon.log());
    let log = daemon.log();
    assert!(log.contains("the event loop does not turn"), "{log}");
}
