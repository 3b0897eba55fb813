//! A `get` that fails says which of these is the reason: nobody announces the content, or
//! the peers that announce it cannot be reached, no longer have it, or exchange blocks in
//! another way. It does not wait when waiting cannot help.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod common;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use common::{Daemon, eventually, write_noise};
use nix::sys::signal::Signal;

/// How long a `get` waits for providers at most. A `get` that ends earlier has found out
/// that none will come, for which it takes a sixth of this time.
const PATIENCE: Duration = Duration::from_secs(120);

/// Stores a file of its own at `daemon` and announces it; its CID.
fn put(daemon: &Daemon, dir: &Path, seed: u64) -> String {
    let file = dir.join(format!("file{seed}"));
    write_noise(&file, 100_000, seed);
    daemon.ok(&["put", "-q", file.to_str().unwrap()])
}

fn id(daemon: &Daemon) -> String {
    daemon.json(&["id"])["peer_id"].as_str().unwrap().to_owned()
}

/// Waits until `door` holds so many provider records. Otherwise the announcements of a
/// host may not have arrived when it ends or removes the content.
fn announced(door: &Daemon, count: u64) {
    eventually("the announcements have come to the door", || {
        let records = door.json(&["status"])["dht"]["provider_records"].as_u64();
        (records? >= count).then_some(())
    });
}

/// Waits until the DHT names all of `holders` to `daemon`.
fn finds(daemon: &Daemon, cid: &str, holders: &[&str]) {
    eventually("the DHT names those who announce the content", || {
        let found = daemon.cli(&["dht", "find-providers", cid]);
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        holders.iter().all(|id| found.contains(id)).then_some(())
    });
}

/// Runs a `get` that must fail, and returns what it says and how long it took.
fn fails(daemon: &Daemon, cid: &str, patience: Duration) -> (String, Duration) {
    let begun = Instant::now();
    let patience = format!("{}s", patience.as_secs());
    let said = daemon.cli(&["get", "-q", "--timeout", &patience, cid, "-o", "-"]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(said.stdout.is_empty());
    let line = String::from_utf8(said.stderr).unwrap();
    assert_eq!(line.trim_end().lines().count(), 1, "{line}");
    println!("after {:.1} s: {line}", begun.elapsed().as_secs_f64());
    (line, begun.elapsed())
}

/// Daemons whose folders are beside each other.
struct Hosts(tempfile::TempDir);

impl Hosts {
    fn new() -> Hosts {
        Hosts(tempfile::tempdir().unwrap())
    }

    fn start(&self, name: &str, variables: &[(&str, &str)]) -> Daemon {
        Daemon::start(&self.0.path().join(name), variables)
    }

    /// The one that others enter through, and its address.
    fn door(&self) -> (Daemon, String) {
        let door = self.start("door", &[("P2P_BOOTSTRAP", "true")]);
        let at = door.address("tcp");
        (door, at)
    }

    fn files(&self) -> &Path {
        self.0.path()
    }
}

#[test]
fn a_get_that_nobody_can_serve_says_why_and_does_not_wait() {
    let hosts = Hosts::new();
    let (door, at) = hosts.door();
    let enter = ("P2P_BOOTSTRAP_PEERS", at.as_str());
    let forgetful = hosts.start("forgetful", &[enter]);
    // On the same DHT, with another exchange.
    let foreign = [
        enter,
        ("P2P_NETWORK", "elsewhere"),
        ("P2P_KAD_PROTOCOL", "/p2p-node/kad/1.0.0"),
    ];
    let foreign = hosts.start("foreign", &foreign);
    let seeker = hosts.start("seeker", &[enter]);

    // Of a daemon that is in no network.
    let unknown = put(&hosts.start("hermit", &[]), hosts.files(), 1);
    let removed = put(&forgetful, hosts.files(), 2);
    announced(&door, 1);
    forgetful.ok(&["rm", &removed]);
    let elsewhere = put(&foreign, hosts.files(), 3);
    announced(&door, 2);
    finds(&seeker, &removed, &[&id(&forgetful)]);
    finds(&seeker, &elsewhere, &[&id(&foreign)]);

    let expected = [
        (&unknown, vec!["nobody announces it"]),
        (
            &removed,
            vec![
                "1 peer announces it: 1 was reached and does not have it; it may have been removed there",
            ],
        ),
        (
            &elsewhere,
            vec![
                "1 peer announces it: 1 was reached and does not speak this network's block exchange",
                "; it speaks /elsewhere/",
                "; is P2P_NETWORK the same on both hosts?",
            ],
        ),
    ];
    thread::scope(|scope| {
        for (cid, words) in &expected {
            let seeker = &seeker;
            scope.spawn(move || {
                let (line, took) = fails(seeker, cid, PATIENCE);
                for words in words {
                    assert!(line.contains(words), "{words:?} is not in {line:?}");
                }
                assert!(took < PATIENCE, "it waited for nothing: {line}");
            });
        }
    });
}

#[test]
fn of_those_who_cannot_be_reached_the_one_is_named_that_tells_most() {
    let hosts = Hosts::new();
    let (door, at) = hosts.door();
    let enter = ("P2P_BOOTSTRAP_PEERS", at.as_str());
    // A dial that fails takes its address out of the seeker's memory, whoever dialed.
    // This one is in the announcement, so that each search brings it back.
    let told = ("P2P_EXTERNAL_ADDRS", "/ip4/127.0.0.1/tcp/1");
    let holders = [
        hosts.start("still", &[enter]),
        hosts.start("ended", &[enter, told]),
    ];
    let ids = holders.each_ref().map(id);
    let cid = put(&holders[0], hosts.files(), 4);
    assert_eq!(put(&holders[1], hosts.files(), 4), cid);
    announced(&door, 2);
    // One process is stopped, so that its host accepts connections and nobody answers on
    // them. The other has ended, and its host refuses connections at once.
    let [still, mut ended] = holders;
    still.signal(Signal::SIGSTOP);
    ended.kill();
    let seeker = hosts.start("seeker", &[enter]);
    finds(&seeker, &cid, &[&ids[0], &ids[1]]);

    // They may come back, so the `get` waits for as long as it is told to.
    let patience = Duration::from_secs(30);
    let (line, took) = fails(&seeker, &cid, patience);
    assert!(took >= patience, "{line}");
    // Whether the stopped one counts as failed by now depends on the time.
    let words = "2 peers announce it: ";
    assert!(line.contains(words), "{words:?} is not in {line:?}");
    assert!(line.contains(" cannot be reached ("), "{line}");
    let example = format!("({}: ", ids[1]);
    assert!(line.contains(&example), "the other is named: {line}");
    assert_eq!(
        line.matches(&ids[1]).count(),
        1,
        "it is named again: {line}"
    );
    assert!(line.contains("nothing listens on that port"), "{line}");
}
