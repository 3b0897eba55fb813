//! The members of a topic: they find each other when no connected peer is on it,
//! they stay connected while somebody publishes, and they connect again
//! after an absence or a partition. The daemons run as their users run them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod common;
#[path = "common/ear.rs"]
mod ear;
#[path = "common/lan.rs"]
mod lan;

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Daemon, Process, Start, eventually};
use ear::Ear;
use lan::{Lan, ip};
use nix::sys::signal::Signal;

/// Not a topic of this network, so that any program may be on it.
const TOPIC: &str = "weblog";

/// This is so short that many of them pass during a test.
const IDLE: Duration = Duration::from_secs(2);
const QUICK: (&str, &str) = ("P2P_CONNECTION_IDLE_TIMEOUT", "2s");

const ON: (&str, &str) = ("P2P_TOPICS", TOPIC);

/// Publishes at `from` until `ear` has received a message. Each try is a new message,
/// since one that was published while nobody could receive it is lost.
fn reaches(what: &str, from: &Daemon, word: &str, ear: &Ear) {
    let begun = Instant::now();
    eventually(&format!("{what} is heard"), || {
        let _ = from.cli(&["publish", TOPIC, word]);
        (ear.count(word) > 0).then_some(())
    });
    println!("{what}: heard after {:.1} s", begun.elapsed().as_secs_f64());
}

/// Lines of standard input are published one by one by a program that is started
/// once and not subscribed, as in the manual: `journalctl -f | p2p-node publish`.
#[test]
fn a_publisher_that_is_not_subscribed_stays_connected_while_it_publishes() {
    let dir = tempfile::tempdir().unwrap();
    // What keeps the connection is that it is published to, not that a node keeps a
    // few in any case.
    let alone = [QUICK, ("P2P_MIN_PEERS", "0")];
    let hears = Daemon::start(&dir.path().join("hears"), &alone);
    let ear = Ear::at(&hears, TOPIC, &dir.path().join("heard"));
    let at = hears.address("tcp");
    let speaks = Daemon::start(&dir.path().join("speaks"), &alone);
    // It has begun to publish before any member was there.
    let nobody = speaks.cli(&["publish", TOPIC, "to nobody"]);
    assert_eq!(nobody.status.code(), Some(1));
    speaks.ok(&["connect", &at]);
    eventually("the publisher knows a subscriber", || {
        let _ = speaks.cli(&["publish", TOPIC, "first"]);
        (ear.count("first") > 0).then_some(())
    });
    let mut publish = speaks.command(&["publish", TOPIC]);
    let mut publish = Process::spawn(publish.stdin(Stdio::piped()).stdout(Stdio::null()));
    let mut lines = publish.take_stdin();
    let begun = Instant::now();
    let mut said = 0;
    // One line after the other, each when the one before has come, as slowly as a
    // log is written.
    while begun.elapsed() < 6 * IDLE {
        said += 1;
        writeln!(lines, "line {said}.").unwrap();
        let line = format!("line {said}.");
        eventually(&line, || (ear.count(&line) > 0).then_some(()));
        // The pace of what is told, not a wait for something to happen.
        std::thread::park_timeout(Duration::from_millis(500));
    }
    let peers = speaks.json(&["peers"]);
    drop(lines);
    assert_eq!(publish.wait(), Some(0));
    assert_eq!(ear.count("line "), said, "each has come, and once");
    let stood = peers[0]["connections"][0]["age_seconds"].as_f64();
    let stood = stood.unwrap_or_else(|| panic!("{peers}"));
    assert!(
        stood >= (4 * IDLE).as_secs_f64(),
        "it was one connection: {peers}"
    );
}

#[test]
fn members_find_each_other_through_an_entry_that_is_not_on_their_topic() {
    let dir = tempfile::tempdir().unwrap();
    let entry = Daemon::start(
        &dir.path().join("entry"),
        &[QUICK, ("P2P_BOOTSTRAP", "true")],
    );
    let door = entry.address("tcp");
    let knows = ("P2P_BOOTSTRAP_PEERS", door.as_str());
    let member = |name: &str| Daemon::start(&dir.path().join(name), &[QUICK, knows, ON]);
    let (a, b) = (member("a"), member("b"));
    let at_a = Ear::at(&a, TOPIC, &dir.path().join("heard-a"));
    let at_b = Ear::at(&b, TOPIC, &dir.path().join("heard-b"));
    reaches("a at b", &a, "from-a", &at_b);
    reaches("b at a", &b, "from-b", &at_a);
    // Nothing is lost once they have met.
    for n in 0..50 {
        a.ok(&["publish", TOPIC, &format!("word {n}.")]);
    }
    eventually("all words have come", || {
        (at_b.count("word ") == 50).then_some(())
    });
    // A publisher that is not on the topic finds them as well.
    let c = Daemon::start(&dir.path().join("c"), &[QUICK, knows]);
    reaches("c at a", &c, "from-c", &at_a);
    reaches("c at b", &c, "again-from-c", &at_b);
    let status = entry.json(&["status"]);
    assert_eq!(status["topics"].as_array().unwrap().len(), 0, "{status}");
}

/// Two members that know each other and nobody else, because they were connected
/// once.
fn two(dir: &Path, start: impl Fn(&str) -> Daemon) -> ((Daemon, Ear), (Daemon, Ear)) {
    let (a, b) = (start("a"), start("b"));
    b.ok(&["connect", &a.address("tcp")]);
    let at_a = Ear::at(&a, TOPIC, &dir.join("heard-a"));
    let at_b = Ear::at(&b, TOPIC, &dir.join("heard-b"));
    reaches("a at first", &a, "a-first", &at_b);
    reaches("b at first", &b, "b-first", &at_a);
    ((a, at_a), (b, at_b))
}

/// Waits until a daemon has no connection left, as after a long absence.
fn given_up(daemon: &Daemon) {
    eventually("the other is given up", || {
        let peers = daemon.json(&["peers"]);
        peers.as_array().unwrap().is_empty().then_some(())
    });
}

#[test]
fn members_come_together_again_when_one_of_them_was_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str| Daemon::start(&dir.path().join(name), &[ON]);
    let ((a, at_a), (b, at_b)) = two(dir.path(), start);
    b.signal(Signal::SIGSTOP);
    given_up(&a);
    b.signal(Signal::SIGCONT);
    reaches("a after the absence of b", &a, "a-then", &at_b);
    reaches("b after its absence", &b, "b-then", &at_a);
}

#[test]
fn members_come_together_again_after_a_partition() {
    let Some(lan) = Lan::if_possible(2) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str| {
        let n = if name == "a" { 1 } else { 2 };
        let listen = format!("/ip4/192.0.2.{n}/tcp/4001");
        Start::new(&dir.path().join(name))
            .with(&[("P2P_LISTEN_ADDRS", listen.as_str()), ON])
            .on_host(Some(lan.host(n)))
            .spawn()
            .wait_ready()
    };
    let ((a, at_a), (b, at_b)) = two(dir.path(), start);
    let link = |state: &str| ip(&["-n", lan.host(2), "link", "set", "eth0", state]).unwrap();
    link("down");
    given_up(&a);
    given_up(&b);
    link("up");
    reaches("a after the partition", &a, "a-then", &at_b);
    reaches("b after the partition", &b, "b-then", &at_a);
}
