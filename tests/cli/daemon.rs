//! Every command against real daemons, started as a user starts them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use serde_json::Value;

use crate::support::{CID, DEADLINE, PEER, Said, finish, names, node, p2p, run, until};

/// A daemon in a folder of its own, ended with this.
pub(crate) struct Daemon {
    home: tempfile::TempDir,
    pub(crate) child: Child,
    /// The rest of its log, when it has ended.
    log: Option<std::thread::JoinHandle<String>>,
}

impl Daemon {
    /// Starts a daemon that bootstraps from `peers` and waits until it is ready.
    pub(crate) fn start(peers: &[&Daemon]) -> Daemon {
        let home = tempfile::tempdir().unwrap();
        let peers: Vec<String> = peers.iter().map(|d| d.address()).collect();
        let (child, log) = launch(home.path(), &peers);
        Daemon {
            home,
            child,
            log: Some(log),
        }
    }

    /// Ends it with a signal and starts it again in its folder.
    pub(crate) fn restart(&mut self, signal: &str) {
        kill(&self.child, signal);
        finish_quietly(&mut self.child);
        self.log.take().unwrap().join().unwrap();
        let (child, log) = launch(self.home.path(), &[]);
        (self.child, self.log) = (child, Some(log));
    }

    pub(crate) fn path(&self) -> &Path {
        self.home.path()
    }

    #[track_caller]
    pub(crate) fn ask(&self, args: &[&str]) -> Said {
        run(command(self.path(), args))
    }

    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        self.ask(&[args, &["--json"]].concat()).succeeds().json()
    }

    pub(crate) fn id(&self) -> String {
        self.json(&["id"])["peer_id"].as_str().unwrap().to_owned()
    }

    /// Where it can be dialled, with its peer id.
    pub(crate) fn address(&self) -> String {
        let status = self.json(&["status"]);
        let address = status["listen_addresses"][0].as_str().unwrap().to_owned();
        format!("{address}/p2p/{}", self.id())
    }

    /// Ends it with a signal and answers its exit code and its log.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        kill(&self.child, signal);
        let code = finish_quietly(&mut self.child);
        (code, self.log.take().unwrap().join().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.log.is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs a daemon in `home` and waits until it is ready.
fn launch(home: &Path, peers: &[String]) -> (Child, std::thread::JoinHandle<String>) {
    let mut child = command(home, &["run"])
        .env("P2P_BOOTSTRAP_PEERS", peers.join(","))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let (ready, is_ready) = mpsc::channel();
    let log = std::thread::spawn(move || {
        let mut log = String::new();
        // To the end, or the daemon would wait for room in the pipe.
        while lines.read_line(&mut log).unwrap() > 0 {
            let last = log.lines().last().unwrap_or_default();
            if last.contains("\"msg\":\"ready\"") {
                let _ = ready.send(());
            }
        }
        log
    });
    if is_ready.recv_timeout(DEADLINE).is_err() {
        child.kill().unwrap();
        panic!("the daemon is not ready: {}", log.join().unwrap());
    }
    (child, log)
}

pub(crate) fn command(home: &Path, args: &[&str]) -> Command {
    let mut command = node(home, args);
    command
        .env("P2P_CONTROL_SOCKET", home.join("s"))
        .env("P2P_LISTEN_ADDRS", "/ip4/127.0.0.1/tcp/0")
        .env("P2P_METRICS_PORT", "0")
        .env("P2P_DHT_MODE", "server")
        // What ends a connection here is not that nobody used it.
        .env("P2P_CONNECTION_IDLE_TIMEOUT", "1h")
        .env("P2P_LOG_FORMAT", "json");
    command
}

pub(crate) fn kill(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args([signal, &pid])
            .status()
            .unwrap()
            .success()
    );
}

fn finish_quietly(child: &mut Child) -> Option<i32> {
    let mut status = None;
    until("the daemon ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    })
    .unwrap();
    status.unwrap().code()
}

/// Bytes without a pattern that a chunk's length would fit.
fn content(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn two_daemons_and_every_command() {
    let a = Daemon::start(&[]);
    let b = Daemon::start(&[&a]);

    // id, health, status
    let id = a.ask(&["id"]).succeeds();
    assert_eq!(id.text().lines().next().unwrap(), a.id());
    assert!(a.address().starts_with("/ip4/127.0.0.1/tcp/"));
    assert!(a.ask(&["health"]).succeeds().text().starts_with("ready: "));
    assert_eq!(a.json(&["health"])["ready"], true);
    let key = p2p(a.path(), &["key", "show", "-q"]).succeeds();
    assert_eq!(
        key.text().trim(),
        a.id(),
        "the identity offline is the daemon's"
    );
    let screen = a.ask(&["status"]).succeeds();
    assert!(
        screen.text().contains(&a.id()) && !screen.text().contains('\u{1b}'),
        "{screen:?}"
    );

    // peers, disconnect, connect
    let connected = |d: &Daemon| {
        let peers = d.json(&["peers"]);
        peers
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["peer_id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    until("b has joined", || connected(&b).contains(&a.id())).unwrap();
    let table = b.ask(&["peers"]).succeeds();
    assert!(
        table.text().contains("p2p-node/") && table.text().contains("tcp"),
        "{table:?}"
    );
    b.ask(&["disconnect", &a.id()]).succeeds();
    b.ask(&["connect", &a.address()]).succeeds();
    assert!(connected(&b).contains(&a.id()));
    let anonymous = a.address();
    let anonymous = anonymous.split("/p2p/").next().unwrap();
    let who = b.json(&["connect", anonymous]);
    assert_eq!(who[0]["peer_id"], a.id());

    // put, ls, stat
    let bytes = content(3_500_000);
    fs::write(a.path().join("file"), &bytes).unwrap();
    until("a knows b", || !connected(&a).is_empty()).unwrap();
    let put = a.json(&["put", "file"]);
    let cid = put["cid"].as_str().unwrap();
    assert_eq!(put["size"], bytes.len());
    let mut piped = command(a.path(), &["put", "-", "--ttl", "1h"]);
    let mut child = piped.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let said = finish(child);
    assert_eq!((said.code, said.text().trim()), (Some(0), cid), "{said:?}");
    assert!(a.ask(&["ls"]).succeeds().text().contains(cid));
    let stat = a.json(&["stat", cid]);
    assert_eq!(
        (&stat["size"], &stat["blocks_here"]),
        (&put["size"], &stat["blocks"])
    );
    assert_eq!(stat["publisher"], a.id());
    let lives = |s: &Value| {
        s["published_until_unix_ms"].as_u64().unwrap() - s["published_unix_ms"].as_u64().unwrap()
    };
    // Put twice: the longer time counts, here the default.
    assert_eq!(lives(&stat), 24 * 3_600_000);
    let said = a.ask(&["stat", cid]).succeeds();
    let screen = said.text();
    assert!(
        screen.contains("pinned") && screen.contains("signed"),
        "{screen}"
    );

    // get, from whoever the DHT names
    let got = b.json(&["get", cid, "-o", "got"]);
    assert_eq!(got["size"], bytes.len());
    assert!(fs::read(b.path().join("got")).unwrap() == bytes);
    let got = b.ask(&["get", cid]).succeeds();
    assert!(got.stdout == bytes);

    // dht
    let providers = b
        .ask(&["dht", "find-providers", cid, "--timeout", "20s"])
        .succeeds();
    assert!(providers.text().contains(&a.id()), "{providers:?}");
    let found = b.ask(&["dht", "find-peer", &a.id()]).succeeds();
    assert!(found.text().contains("/ip4/127.0.0.1/tcp/"), "{found:?}");
    b.ask(&["dht", "put", "greeting", "hello"]).succeeds();
    assert_eq!(
        a.ask(&["dht", "get", "greeting"]).succeeds().text(),
        "hello"
    );
    assert_eq!(a.json(&["dht", "get", "greeting"])["value"], "hello");
    b.ask(&["dht", "provide", CID]).succeeds();
    let provider: Value = a
        .ask(&["dht", "find-providers", CID, "--count", "1", "--json"])
        .succeeds()
        .json();
    assert_eq!(provider["peer_id"], b.id());

    // rm
    a.ask(&["rm", cid]).succeeds();
    a.ask(&["stat", cid]).fails(1, &["stat "]);
    assert!(!a.ask(&["ls", "-q"]).succeeds().text().contains(cid));

    for d in [a, b] {
        let (code, log) = d.end("-TERM");
        assert_eq!(code, Some(0), "{log}");
    }
}

#[test]
fn gossip_goes_from_publish_to_subscribe() {
    let a = Daemon::start(&[]);
    let b = Daemon::start(&[&a]);
    let mut child = command(a.path(), &["subscribe", "weather", "news", "--json"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // Published again until it arrives: the mesh forms when it forms.
    let stop = AtomicBool::new(false);
    let line = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let mut publish = command(b.path(), &["publish", "weather"]);
                let mut publish = publish.stdin(Stdio::piped()).spawn().unwrap();
                // Nobody may listen yet: then it has ended before it is written to.
                let _ = publish.stdin.take().unwrap().write_all(b"rain\nsun\xff");
                finish(publish);
            }
        });
        let line = lines.next();
        stop.store(true, Ordering::Relaxed);
        line
    });
    let message: Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
    assert_eq!(message["topic"], "weather");
    assert_eq!(message["from"], b.id());
    assert!(message["seqno"].is_string());
    assert!(
        message["data"] == "rain" || message["data_base64"] == "c3Vu/w==",
        "{message}"
    );
    // The daemon's end is the subscription's: told, and not success.
    let (code, log) = a.end("-INT");
    assert_eq!(code, Some(0), "{log}");
    drop(lines);
    finish(child).tells(&["subscribe weather news: "]);
}

#[test]
fn what_cannot_be_done_is_told_in_one_line() {
    let d = Daemon::start(&[]);
    d.ask(&["stat", CID]).fails(1, &["stat bafk"]);
    d.ask(&["rm", CID]).fails(1, &["rm bafk"]);
    d.ask(&["disconnect", PEER]).fails(1, &["disconnect 12D3"]);
    d.ask(&["connect", "/ip4/127.0.0.1/tcp/1"])
        .fails(1, &["connect /ip4/127.0.0.1/tcp/1: "]);
    d.ask(&["connect", PEER]).fails(1, &["connect 12D3"]);
    d.ask(&["dht", "get", "nothing", "--timeout", "1s"])
        .fails(1, &["dht get nothing: "]);
    d.ask(&["get", CID, "-o", "f", "--timeout", "1s"])
        .fails(1, &["get bafk"]);
    assert_eq!(names(d.path()), ["data", "s"]);

    // A second daemon in the same place, and one whose port is taken.
    let second = d.ask(&["run"]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert_eq!(
        second.stderr.matches("\"level\":\"error\"").count(),
        1,
        "{second:?}"
    );
    let mut command = command(d.path(), &["run"]);
    let other = tempfile::tempdir().unwrap();
    let address = d.address();
    let address = address.split("/p2p/").next().unwrap();
    command
        .env("P2P_DATA_DIR", other.path().join("data"))
        .env("P2P_CONTROL_SOCKET", other.path().join("s"))
        .env("P2P_LISTEN_ADDRS", address);
    let taken = run(command);
    assert_eq!(taken.code, Some(1), "{taken:?}");
    assert!(taken.stderr.contains(address), "{taken:?}");
}

#[test]
fn ctrl_c_while_nobody_has_it() {
    let d = Daemon::start(&[]);
    let child = command(d.path(), &["get", CID, "-o", "f"]).spawn().unwrap();
    until("the command has begun", || {
        names(d.path()).iter().any(|n| n.ends_with(".part"))
    })
    .unwrap();
    kill(&child, "-INT");
    finish(child).fails(130, &["interrupted"]);
    assert_eq!(names(d.path()), ["data", "s"]);
}

#[test]
fn a_daemon_killed_half_way_through_a_get_is_told() {
    let d = Daemon::start(&[]);
    // Larger than all that pipes and buffers on the way can hold.
    fs::write(d.path().join("file"), content(64 << 20)).unwrap();
    let put = d.ask(&["put", "file", "-q"]);
    let cid = put.text().trim().to_owned();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut get = command(d.path(), &["get", &cid]);
    let child = get.stdout(writer).spawn().unwrap();
    drop(get);
    // Some bytes have come; the pipe, full since, holds up the rest.
    reader.read_exact(&mut [0; 1000]).unwrap();
    kill(&d.child, "-KILL");
    std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
    finish(child).fails(1, &["get bafy"]);
    // What is left of its socket is no daemon.
    d.ask(&["id"]).fails(69, &["no daemon answers"]);
}

#[test]
fn root_does_not_run_in_the_folder_of_another_user() {
    if !nix::unistd::geteuid().is_root() {
        println!("passed over: only root can give a folder away");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    fs::create_dir(&data).unwrap();
    let path = data.to_str().unwrap();
    // A user that every system has, and a number that nobody has.
    for (uid, owner, advice) in [
        (1, "user daemon", "runuser -u daemon -- p2p-node run"),
        (4_123_456_789, "user id 4123456789", "chown -R root: "),
    ] {
        std::os::unix::fs::chown(&data, Some(uid), None).unwrap();
        let said = run(command(home.path(), &["run"]));
        assert_eq!(said.code, Some(78), "{said:?}");
        let errors: Vec<&str> = said
            .stderr
            .lines()
            .filter(|line| line.contains("\"level\":\"error\"") || !line.starts_with('{'))
            .collect();
        assert_eq!(errors.len(), 1, "{said:?}");
        for part in [path, owner, advice] {
            assert!(errors[0].contains(part), "{part:?} is not in {said:?}");
        }
        // Nothing was left there.
        assert!(names(&data).is_empty(), "{:?}", names(&data));
    }
    std::os::unix::fs::chown(&data, Some(0), None).unwrap();
    let (mut child, log) = launch(home.path(), &[]);
    kill(&child, "-TERM");
    assert_eq!(finish_quietly(&mut child), Some(0));
    log.join().unwrap();
}

#[test]
fn a_control_socket_whose_file_is_deleted_comes_back() {
    let daemon = Daemon::start(&[]);
    let path = daemon.path().join("s");
    let id = daemon.id();
    fs::remove_file(&path).unwrap();
    daemon.ask(&["id"]).fails(69, &[path.to_str().unwrap()]);
    until("the socket is back", || path.exists()).unwrap();
    // It listens from the moment that its mode is set.
    until("status answers", || daemon.ask(&["status"]).code == Some(0)).unwrap();
    assert_eq!(daemon.id(), id);
    let (code, log) = daemon.end("-TERM");
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("opened a new one").count(), 1, "{log}");
}
