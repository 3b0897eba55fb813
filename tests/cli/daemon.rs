//! Every command against real daemons, started as a user starts them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal::{self, SIGINT, SIGTERM};
use serde_json::Value;

use crate::common::{self, Closed, Process, Start, noise, until};
use crate::support::{CID, PEER, Said, finish, names, node, p2p, run};

/// A daemon in a home of its own, ended with this.
pub(crate) struct Daemon {
    running: common::Daemon,
    start: Start,
    home: PathBuf,
    _dir: tempfile::TempDir,
}

impl Daemon {
    /// Starts a daemon that bootstraps from `peers` and waits until it is ready.
    pub(crate) fn start(peers: &[&Daemon]) -> Daemon {
        let dir = tempfile::tempdir().unwrap();
        // Its log is outside of its home, where only the daemon and the commands
        // write.
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        let peers: Vec<String> = peers.iter().map(|d| d.address()).collect();
        let start = start_in(&home, dir.path());
        let peers = [("P2P_BOOTSTRAP_PEERS", &*peers.join(","))];
        Daemon {
            running: start.clone().with(&peers).spawn().wait_ready(),
            start,
            home,
            _dir: dir,
        }
    }

    /// Ends it with a signal and starts it again in its home, without anybody to
    /// bootstrap from.
    pub(crate) fn restart(&mut self, signal: Signal) {
        self.running.signal(signal);
        self.running.wait();
        self.running = self.start.spawn().wait_ready();
    }

    pub(crate) fn path(&self) -> &Path {
        &self.home
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
    fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        self.running.signal(signal);
        (self.running.wait(), self.running.log())
    }
}

/// What a daemon in `home` is told, and the commands for it.
fn variables(home: &Path) -> [(&'static str, String); 7] {
    let text = |path: PathBuf| path.into_os_string().into_string().unwrap();
    [
        ("P2P_DATA_DIR", text(home.join("data"))),
        ("P2P_CONTROL_SOCKET", text(home.join("s"))),
        ("P2P_LISTEN_ADDRS", "/ip4/127.0.0.1/tcp/0".into()),
        ("P2P_METRICS_PORT", "0".into()),
        ("P2P_DHT_MODE", "server".into()),
        // Connections do not end here because they are idle.
        ("P2P_CONNECTION_IDLE_TIMEOUT", "1h".into()),
        ("P2P_LOG_FORMAT", "json".into()),
    ]
}

/// How a daemon in `home` is started, whose log is in `dir`.
pub(crate) fn start_in(home: &Path, dir: &Path) -> Start {
    let variables = variables(home);
    Start::new(dir).with(
        &variables
            .each_ref()
            .map(|(name, value)| (*name, value.as_str())),
    )
}

pub(crate) fn command(home: &Path, args: &[&str]) -> Command {
    let mut command = node(home, args);
    command.envs(variables(home));
    command
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
    until("b has joined", || connected(&b).contains(&a.id()));
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
    let bytes = noise(3_500_000, 1);
    fs::write(a.path().join("file"), &bytes).unwrap();
    until("a knows b", || !connected(&a).is_empty());
    let put = a.json(&["put", "file"]);
    let cid = put["cid"].as_str().unwrap();
    assert_eq!(put["size"], bytes.len());
    let mut piped = command(a.path(), &["put", "-", "--ttl", "1h"]);
    let mut child = Process::spawn(piped.stdin(Stdio::piped()));
    child.take_stdin().write_all(&bytes).unwrap();
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
        let (code, log) = d.end(SIGTERM);
        assert_eq!(code, Some(0), "{log}");
    }
}

#[test]
fn gossip_goes_from_publish_to_subscribe() {
    let a = Daemon::start(&[]);
    let b = Daemon::start(&[&a]);
    let mut subscribe = command(a.path(), &["subscribe", "weather", "news", "--json"]);
    let mut child = Process::spawn(&mut subscribe);
    let mut lines = BufReader::new(child.take_stdout()).lines();
    // It is published again until it arrives, since the mesh takes a while to form.
    let stop = AtomicBool::new(false);
    let line = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let mut publish = command(b.path(), &["publish", "weather"]);
                let mut publish = Process::spawn(publish.stdin(Stdio::piped()));
                // When nobody listens yet, the command ends before it is written to.
                let _ = publish.take_stdin().write_all(b"rain\nsun\xff");
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
    // The subscription ends with the daemon, which it reports as a failure.
    let (code, log) = a.end(SIGINT);
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
    let closed = Closed::new();
    let nobody = closed.address();
    d.ask(&["connect", &nobody])
        .fails(1, &[&format!("connect {nobody}: ")]);
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
    let child = Process::spawn(&mut command(d.path(), &["get", CID, "-o", "f"]));
    until("the command has begun", || {
        names(d.path()).iter().any(|n| n.ends_with(".part"))
    });
    child.signal(SIGINT);
    finish(child).fails(130, &["interrupted"]);
    assert_eq!(names(d.path()), ["data", "s"]);
}

#[test]
fn a_daemon_killed_half_way_through_a_get_is_told() {
    let mut d = Daemon::start(&[]);
    // This is more than all pipes and buffers on the way can hold.
    fs::write(d.path().join("file"), noise(64 << 20, 1)).unwrap();
    let put = d.ask(&["put", "file", "-q"]);
    let cid = put.text().trim().to_owned();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut get = command(d.path(), &["get", &cid]);
    let child = Process::spawn(get.stdout(writer));
    drop(get);
    // Some bytes have arrived. The pipe is full since then, which delays the rest.
    reader.read_exact(&mut [0; 1000]).unwrap();
    d.running.kill();
    std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
    finish(child).fails(1, &["get bafy"]);
    // The file of its socket is left, without a daemon.
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
        // No file is left there.
        assert!(names(&data).is_empty(), "{:?}", names(&data));
    }
    std::os::unix::fs::chown(&data, Some(0), None).unwrap();
    let daemon = start_in(home.path(), home.path()).spawn().wait_ready();
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_control_socket_whose_file_is_deleted_comes_back() {
    let daemon = Daemon::start(&[]);
    let path = daemon.path().join("s");
    let id = daemon.id();
    fs::remove_file(&path).unwrap();
    daemon.ask(&["id"]).fails(69, &[path.to_str().unwrap()]);
    until("the socket is back", || path.exists());
    // It listens from the moment that its mode is set.
    until("status answers", || daemon.ask(&["status"]).code == Some(0));
    assert_eq!(daemon.id(), id);
    let (code, log) = daemon.end(SIGTERM);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("opened a new one").count(), 1, "{log}");
}
