//! Announcements to the DHT: files that were put can be found, however many there are.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

mod common;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use async_std::task::block_on;
use cid::Cid;
use common::{Daemon, Process, eventually};
use nix::sys::signal::Signal;
use p2p_node::control::Client;
use p2p_node::control::client::Event;

/// Files, each different from the others and none of them large.
const FILES: usize = 2_000;
const FILE_BYTES: usize = 4_096;

fn write_files(dir: &Path, count: usize) -> Vec<String> {
    std::fs::create_dir_all(dir).unwrap();
    (0..count)
        .map(|n| {
            let path = dir.join(format!("{n:04}"));
            let mut content = format!("{n:08} ").repeat(512);
            content.truncate(FILE_BYTES);
            std::fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        })
        .collect()
}

/// A daemon that enters through the one at `entry`.
fn enter(dir: &Path, entry: &str) -> Daemon {
    let variables = [("P2P_DHT_MODE", "server"), ("P2P_BOOTSTRAP_PEERS", entry)];
    Daemon::start(dir, &variables)
}

/// Daemons of which all but the first enter through it.
fn network(dir: &Path, count: usize) -> Vec<Daemon> {
    let first = Daemon::start(&dir.join("0"), &[("P2P_DHT_MODE", "server")]);
    let entry = first.address("tcp");
    let mut all = vec![first];
    for n in 1..count {
        all.push(enter(&dir.join(n.to_string()), &entry));
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

/// Waits until no announcement is waiting. There is no time limit while their number
/// goes down.
fn until_announced(daemon: &Daemon) {
    let mut before = u64::MAX;
    while before > 0 {
        eventually("the announcements go on", || {
            let now = waiting(daemon);
            (now < before).then(|| before = now)
        });
    }
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
    // The command does not wait for the DHT, and says so.
    assert!(
        said.contains("files not yet announced to the DHT: "),
        "it says nothing of what is under way: {said:?}"
    );
    until_announced(&all[2]);
    for other in &all[..2] {
        assert_eq!(records(other), FILES as u64);
    }
}

/// Asks the daemon for the providers of each of `cids`, and returns those for which it
/// is not told `peer`.
fn not_provided(asked: &Daemon, cids: &HashSet<String>, peer: &str) -> Vec<String> {
    block_on(async {
        let mut client = Client::connect(asked.socket()).await.unwrap();
        let mut missing = Vec::new();
        for cid in cids {
            let key: Cid = cid.parse().unwrap();
            let mut results = client.find_providers(&key, None, None).await.unwrap();
            let mut found = false;
            while let Some(provider) = results.next().await.unwrap() {
                found |= provider.id.to_string() == peer;
            }
            if !found {
                missing.push(cid.clone());
            }
        }
        missing
    })
}

/// What a kill in the middle of a `put` must not touch: what the command has printed
/// is stored, and is announced in the end.
#[test]
fn after_a_kill_in_the_middle_of_a_put_all_that_it_reported_is_announced() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = network(dir.path(), 3);
    let mut publisher = all.pop().unwrap();
    let id = publisher.json(&["id"]);
    let peer = id["peer_id"].as_str().unwrap().to_owned();
    let files = write_files(&dir.path().join("files"), FILES);

    let mut command = publisher.command(&["put"]);
    command
        .args(&files)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut command = Process::spawn(&mut command);
    let reported = Arc::new(Mutex::new(HashSet::new()));
    let reader = {
        let (out, reported) = (command.take_stdout(), reported.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                let line = line.unwrap();
                let cid = line.split(' ').next().unwrap().to_owned();
                reported.lock().unwrap().insert(cid);
            }
        })
    };
    // Some are announced by then. The rest wait, since no peer accepts a record while
    // the others are stopped.
    eventually("a record has come to another node", || {
        (records(&all[0]) > 0).then_some(())
    });
    all.iter().for_each(|d| d.signal(Signal::SIGSTOP));
    let before = reported.lock().unwrap().len();
    eventually("more files are reported", || {
        (reported.lock().unwrap().len() >= before + 100).then_some(())
    });
    publisher.kill();
    let ended = command.wait();
    assert_ne!(ended, Some(0), "the kill came after the last file");
    reader.join().unwrap();
    let mut said = String::new();
    command.take_stderr().read_to_string(&mut said).unwrap();
    assert!(said.contains("the daemon"), "it does not say why: {said:?}");
    all.iter().for_each(|d| d.signal(Signal::SIGCONT));
    let reported = std::mem::take(&mut *reported.lock().unwrap());
    let told = records(&all[0]);
    assert!(told < reported.len() as u64, "{told} were announced before");

    let publisher = enter(&dir.path().join("2"), &all[0].address("tcp"));
    let here: HashSet<String> = publisher
        .json(&["ls"])
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["cid"].as_str().unwrap().to_owned())
        .collect();
    let lost: Vec<_> = reported.difference(&here).collect();
    assert!(lost.is_empty(), "reported, and not stored: {lost:?}");
    // The file under way may have been stored before the command could report it.
    let more = here.len() - reported.len();
    assert!(more <= 1, "{more} are stored that nobody was told of");
    for other in &all {
        let mut before = records(other);
        while before < here.len() as u64 {
            eventually("records come to the other nodes", || {
                let now = records(other);
                (now > before).then(|| before = now)
            });
        }
    }
    until_announced(&publisher);
    for other in &all {
        assert_eq!(records(other), here.len() as u64);
        let missing = not_provided(other, &here, &peer);
        assert!(missing.is_empty(), "nobody provides {missing:?}");
    }
    // Everything that was announced can be found.
    block_on(async {
        let mut client = Client::connect(publisher.socket()).await.unwrap();
        for cid in &here {
            let key: Cid = cid.parse().unwrap();
            let mut download = client.get(&key, None).await.unwrap();
            let mut size = 0;
            while let Some(event) = download.next().await.unwrap() {
                if let Event::Data(data) = event {
                    size += data.len();
                }
            }
            assert_eq!(size, FILE_BYTES, "{cid}");
        }
    });
}

/// The first `put` of a node without peers learns this from its attempt. Those that
/// follow learn it from the wait that the attempt began.
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
