//! `kill -9` against the whole daemon: content that `put` acknowledged is there, the
//! peer id is the same, and the content is announced to the network again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod common;

use common::{Daemon, Process, eventually, same_bytes, write_noise};

/// How often the daemon of one data folder is killed, each time at another moment of a
/// `put`.
const ROUNDS: u64 = 6;

#[test]
fn what_put_acknowledged_survives_kill_after_kill() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("daemon");
    let mut acknowledged: Vec<(String, std::path::PathBuf)> = Vec::new();
    let mut identity = None;
    for round in 0..ROUNDS {
        let mut daemon = Daemon::start(&home, &[]);
        let id = daemon.json(&["id"])["peer_id"].as_str().unwrap().to_owned();
        assert_eq!(
            *identity.get_or_insert_with(|| id.clone()),
            id,
            "the identity changed"
        );
        for (cid, path) in &acknowledged {
            let copy = dir.path().join("copy");
            daemon.ok(&["get", "-q", cid, "-o", copy.to_str().unwrap()]);
            assert!(same_bytes(path, &copy), "{cid} came back with other bytes");
        }
        let file = dir.path().join(format!("kept{round}"));
        write_noise(&file, 3 << 20, round + 1);
        let cid = daemon.ok(&["put", "-q", file.to_str().unwrap()]);
        acknowledged.push((cid, file));
        // A second one is under way when the daemon dies: after as many blocks
        // as rounds have passed.
        let torn = dir.path().join("torn");
        write_noise(&torn, 48 << 20, 100 + round);
        let mut put = daemon.command(&["put", "-q", torn.to_str().unwrap()]);
        let mut put = Process::spawn(put.stderr(std::process::Stdio::null()));
        let segments = home.join("data/blocks");
        let before = folder_bytes(&segments);
        eventually("the second put has written blocks", || {
            let ended = put.ended().is_some();
            (ended || folder_bytes(&segments) > before + (round << 20)).then_some(())
        });
        daemon.kill();
        put.wait();
    }
}

fn folder_bytes(dir: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|e| e.metadata().ok())
        .map(|m| m.len())
        .sum()
}

#[test]
fn content_is_announced_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first_door = Daemon::start(&dir.path().join("door1"), &[("P2P_BOOTSTRAP", "true")]);
    let keeper_home = dir.path().join("keeper");
    let at = first_door.address("tcp");
    let keeper = Daemon::start(&keeper_home, &[("P2P_BOOTSTRAP_PEERS", at.as_str())]);
    let file = dir.path().join("file");
    write_noise(&file, 2 << 20, 5);
    let cid = keeper.ok(&["put", "-q", file.to_str().unwrap()]);
    assert_eq!(keeper.stop(), Some(0));
    drop(first_door);

    // The file was never announced in this network; the keeper only restarts.
    let door = Daemon::start(&dir.path().join("door2"), &[("P2P_BOOTSTRAP", "true")]);
    let at = door.address("tcp");
    let keeper = Daemon::start(&keeper_home, &[("P2P_BOOTSTRAP_PEERS", at.as_str())]);
    let keeper_id = keeper.json(&["id"])["peer_id"].as_str().unwrap().to_owned();
    eventually("the restarted node is a provider in the DHT", || {
        let found = door.cli(&["dht", "find-providers", &cid]);
        String::from_utf8_lossy(&found.stdout)
            .contains(&keeper_id)
            .then_some(())
    });
    let seeker = Daemon::start(
        &dir.path().join("seeker"),
        &[("P2P_BOOTSTRAP_PEERS", at.as_str())],
    );
    let copy = dir.path().join("copy");
    seeker.ok(&["get", "-q", &cid, "-o", copy.to_str().unwrap()]);
    assert!(same_bytes(&file, &copy));
}

#[test]
fn a_restarted_node_finds_back_without_its_bootstrap_peer() {
    let dir = tempfile::tempdir().unwrap();
    let door = Daemon::start(&dir.path().join("door"), &[("P2P_BOOTSTRAP", "true")]);
    let at = door.address("tcp");
    let home = dir.path().join("wanderer");
    let entry = [("P2P_BOOTSTRAP_PEERS", at.as_str())];
    let wanderer = Daemon::start(&home, &entry);
    let in_table = |daemon: &Daemon| {
        daemon.json(&["status"])["dht"]["routing_table_size"]
            .as_u64()
            .filter(|n| *n > 0)
    };
    eventually("the routing table has the door", || in_table(&wanderer));
    assert_eq!(wanderer.stop(), Some(0));
    // It starts again without any configured peer, so that it can only join through the
    // routing table that it saved.
    let wanderer = Daemon::start(&home, &[]);
    let door_id = door.json(&["id"])["peer_id"].as_str().unwrap().to_owned();
    eventually("the wanderer is back", || {
        wanderer.ok(&["peers"]).contains(&door_id).then_some(())
    });
}

#[test]
fn a_node_that_is_killed_soon_after_it_met_a_peer_finds_back_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let door = Daemon::start(&dir.path().join("door"), &[("P2P_BOOTSTRAP", "true")]);
    let at = door.address("tcp");
    let home = dir.path().join("wanderer");
    let entry = [
        ("P2P_BOOTSTRAP_PEERS", at.as_str()),
        ("RUST_LOG", "info,p2p_node::daemon=debug"),
    ];
    let mut wanderer = Daemon::start(&home, &entry);
    eventually("the routing table is saved", || {
        wanderer.log().contains("routing table saved").then_some(())
    });
    wanderer.kill();
    let wanderer = Daemon::start(&home, &[]);
    let door_id = door.json(&["id"])["peer_id"].as_str().unwrap().to_owned();
    eventually("the wanderer is back", || {
        wanderer.ok(&["peers"]).contains(&door_id).then_some(())
    });
}

#[test]
fn content_that_the_store_cannot_hold_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let owner = Daemon::start(&dir.path().join("owner"), &[]);
    let small = Daemon::start(
        &dir.path().join("small"),
        &[("P2P_STORE_MAX_BYTES", "10MiB")],
    );
    let file = dir.path().join("file");
    write_noise(&file, 24 << 20, 9);
    let cid = owner.ok(&["put", "-q", file.to_str().unwrap()]);
    small.ok(&["connect", &owner.address("tcp")]);
    let copy = dir.path().join("copy");
    let refused = small.cli(&["get", "-q", &cid, "-o", copy.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    let line = String::from_utf8(refused.stderr).unwrap();
    assert!(
        line.contains("25165824 bytes") && line.contains("P2P_STORE_MAX_BYTES"),
        "{line}"
    );
    assert_eq!(line.trim_end().lines().count(), 1, "{line}");
    assert!(!copy.exists());
}
