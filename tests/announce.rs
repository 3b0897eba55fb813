//! Announcements to the DHT: that what was put can be found, however much it was.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod common;

use std::collections::HashSet;
use std::path::Path;

use common::{Daemon, eventually};

/// Files, each different from the others and none of them large.
const FILES: usize = 2_000;

fn write_files(dir: &Path, count: usize) -> Vec<String> {
    std::fs::create_dir_all(dir).unwrap();
    (0..count)
        .map(|n| {
            let path = dir.join(format!("{n:04}"));
            let mut content = format!("{n:08} ").repeat(512);
            content.truncate(4096);
            std::fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        })
        .collect()
}

/// Daemons of which all but the first enter through it.
fn network(dir: &Path, count: usize) -> Vec<Daemon> {
    let first = Daemon::start(&dir.join("0"), &[("P2P_DHT_MODE", "server")]);
    let entry = first.address("tcp");
    let mut all = vec![first];
    for n in 1..count {
        all.push(Daemon::start(
            &dir.join(n.to_string()),
            &[("P2P_DHT_MODE", "server"), ("P2P_BOOTSTRAP_PEERS", &entry)],
        ));
    }
    for daemon in &all {
        eventually("everybody knows everybody", || {
            let status = daemon.json(&["status"]);
            let known = status["dht"]["routing_table_size"].as_u64()?;
            (known as usize >= count - 1).then_some(())
        });
    }
    all
}

/// Puts all files in one command; the CIDs it prints, and what it says.
fn put(daemon: &Daemon, files: &[String]) -> (Vec<String>, String) {
    let mut args = vec!["put"];
    args.extend(files.iter().map(String::as_str));
    let output = daemon.cli(&args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let out = String::from_utf8(output.stdout).unwrap();
    let cids = out
        .lines()
        .map(|line| line.split(' ').next().unwrap().to_owned());
    (cids.collect(), said)
}

fn waiting(daemon: &Daemon) -> u64 {
    let status = daemon.json(&["status"]);
    status["announcements"]["waiting"].as_u64().unwrap()
}

/// Provider records that the daemon holds for others.
fn records(daemon: &Daemon) -> u64 {
    let status = daemon.json(&["status"]);
    status["dht"]["provider_records"].as_u64().unwrap()
}

#[test]
fn two_thousand_files_of_one_command_have_a_record_at_every_other_node() {
    let dir = tempfile::tempdir().unwrap();
    let all = network(dir.path(), 3);
    let files = write_files(&dir.path().join("files"), FILES);
    let (cids, said) = put(&all[2], &files);
    assert_eq!(cids.iter().collect::<HashSet<_>>().len(), FILES);
    // It does not wait for the DHT, and says so.
    assert!(
        said.contains("files that the DHT is not told of yet: "),
        "it says nothing of what is under way: {said:?}"
    );
    let mut before = u64::MAX;
    while waiting(&all[2]) > 0 {
        // As long as it goes on there is no hurry.
        eventually("the announcements go on", || {
            let now = waiting(&all[2]);
            (now == 0 || now < before).then(|| before = now)
        });
    }
    for other in &all[..2] {
        assert_eq!(records(other), FILES as u64);
    }
}

/// The first `put` of a node without peers is told so by the attempt; those that
/// follow, by the wait that it began.
#[test]
fn alone_each_put_says_why_its_file_is_not_announced_yet() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&dir.path().join("0"), &[]);
    let files = write_files(&dir.path().join("files"), 2);
    for file in &files {
        let (cids, said) = put(&daemon, std::slice::from_ref(file));
        assert_eq!(cids.len(), 1);
        assert!(said.contains("not announced yet"), "{said:?}");
        assert!(said.contains("no DHT peer is known"), "{said:?}");
        assert!(!said.contains(&cids[0]), "the CID once more: {said:?}");
        assert_eq!(said.lines().count(), 1, "{said:?}");
    }
    assert_eq!(waiting(&daemon), 2);
}
