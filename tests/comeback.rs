//! A peer that was killed and comes back at once, while its neighbours still
//! have connections with the killed process. Over QUIC, nobody is told when a process is
//! killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod common;
#[path = "common/ear.rs"]
mod ear;

use std::time::Instant;

use common::{Daemon, eventually, own_socket};
use ear::Ear;

const TOPIC: &str = "/p2p-node/chat";

/// Publishes at `from` until every one of `ears` has received a message. Each try is a
/// new message, since one that was published while nobody could receive it is lost.
fn reaches(what: &str, from: &Daemon, word: &str, ears: &[&Ear]) {
    let begun = Instant::now();
    eventually(&format!("{what} is heard"), || {
        let _ = from.cli(&["publish", TOPIC, word]);
        ears.iter().all(|ear| ear.count(word) > 0).then_some(())
    });
    println!("{what}: heard after {:.1} s", begun.elapsed().as_secs_f64());
}

/// Waits until `daemon` knows that so many peers have joined the topic. A message can
/// take another way than a link that does not work, so this looks at the links.
fn knows_subscribers(daemon: &Daemon, name: &str, count: u64) {
    let begun = Instant::now();
    eventually(&format!("{name} knows {count} subscribers"), || {
        let status = daemon.json(&["status"]);
        let topics = status["topics"].as_array()?.iter();
        let mut of_topic = topics.filter(|t| t["topic"] == TOPIC);
        (of_topic.next()?["peers"] == count).then_some(())
    });
    println!(
        "{name} knows {count} subscribers after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
}

#[test]
fn a_killed_quic_peer_that_comes_back_hears_and_is_heard() {
    let dir = tempfile::tempdir().unwrap();
    let anywhere = "/ip4/127.0.0.1/udp/0/quic-v1";
    let start = |name: &str, listen: &str, doors: &[&str]| {
        let doors = doors.join(",");
        Daemon::start(
            &dir.path().join(name),
            &[
                ("P2P_LISTEN_ADDRS", listen),
                ("P2P_BOOTSTRAP_PEERS", doors.as_str()),
                ("P2P_TOPICS", TOPIC),
                // No connection ends because it idles: a link that does not work
                // must be found by other means.
                ("P2P_CONNECTION_IDLE_TIMEOUT", "24h"),
            ],
        )
    };
    // The one that will be killed has dialed `a` and was dialed by `c`.
    let own = own_socket();
    let own = format!("/ip4/{}/udp/{}/quic-v1", own.ip(), own.port());
    let a = start("a", anywhere, &[]);
    let at_a = a.address("quic-v1");
    let mut b = start("b", &own, &[&at_a]);
    let at_b = b.address("quic-v1");
    let c = start("c", anywhere, &[&at_a, &at_b]);
    let ear = |daemon: &Daemon, name: &str| Ear::at(daemon, TOPIC, &dir.path().join(name));
    let (at_ear_a, at_ear_c) = (ear(&a, "heard-a"), ear(&c, "heard-c"));
    let at_ear_b = ear(&b, "heard-b");
    reaches("b at first", &b, "b-first", &[&at_ear_a, &at_ear_c]);
    reaches("a at first", &a, "a-first", &[&at_ear_b, &at_ear_c]);
    reaches("c at first", &c, "c-first", &[&at_ear_a, &at_ear_b]);

    for life in 0..2 {
        b.kill();
        b = start("b", &own, &[&at_a]);
        let at_ear_b = ear(&b, &format!("heard-b-{life}"));
        let word = |who: &str| format!("{who}-life-{life}");
        knows_subscribers(&b, "b", 2);
        reaches("b after a kill", &b, &word("b"), &[&at_ear_a, &at_ear_c]);
        reaches("a after the kill", &a, &word("a"), &[&at_ear_b]);
        reaches("c after the kill", &c, &word("c"), &[&at_ear_b]);
    }
}
