//! The daemon under a service manager, which the test imitates: it binds the socket of
//! NOTIFY_SOCKET, keeps what the daemon stores, and passes it to the next process.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

mod common;

use std::io::{IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{
    DEADLINE, Daemon, PROGRAM, Process, Start, bare_command, eventually, http, own_socket,
};
use nix::sys::signal::Signal::{SIGHUP, SIGKILL, SIGSTOP, SIGTERM};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// The sockets in a manager's store pass to every process that is started beside
/// it, so that no test may start one while another has a store.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A message to the manager: its lines, and what was passed along.
#[derive(Debug)]
struct Told {
    lines: Vec<String>,
    fds: Vec<RawFd>,
}

impl Told {
    fn has(&self, line: &str) -> bool {
        self.lines.iter().any(|l| l == line)
    }

    fn value(&self, name: &str) -> Option<&str> {
        let line = self.lines.iter().find_map(|l| l.strip_prefix(name));
        line?.strip_prefix('=')
    }
}

/// The manager of one service.
struct Manager {
    dir: tempfile::TempDir,
    socket: UnixDatagram,
    /// Names and sockets in its store.
    store: Vec<(String, RawFd)>,
    /// Where the service listens, over TCP and over QUIC. It must be the same in each
    /// of its lives, as must its HTTP port.
    listen: SocketAddr,
    http: SocketAddr,
    _alone: MutexGuard<'static, ()>,
}

impl Drop for Manager {
    fn drop(&mut self) {
        for (_, fd) in self.store.drain(..) {
            let _ = nix::unistd::close(fd);
        }
    }
}

impl Manager {
    fn new() -> Manager {
        let _alone = alone();
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let manager = Manager {
            dir,
            socket,
            store: Vec::new(),
            listen: own_socket(),
            http: own_socket(),
            _alone,
        };
        std::fs::write(manager.env_file(), "").unwrap();
        manager
    }

    /// Creates a manager whose service is ready.
    fn with_service() -> (Manager, Daemon) {
        let mut manager = Manager::new();
        let service = manager.start();
        (manager, service)
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn control_socket(&self) -> PathBuf {
        self.dir().join("data/control.sock")
    }

    fn env_file(&self) -> PathBuf {
        self.dir().join("node.env")
    }

    /// Starts the service with everything in the store, and waits until it is ready.
    fn start(&mut self) -> Daemon {
        let service = self.spawn();
        self.hear_until("READY=1");
        service
    }

    /// Starts it and does not wait.
    fn spawn(&self) -> Daemon {
        let n = self.store.len();
        // The shell moves the sockets to the numbers from 3 on, and passes its own
        // process id on by exec.
        let mut script = String::from("export LISTEN_PID=$$\n");
        for (at, (_, fd)) in self.store.iter().enumerate() {
            script += &format!("exec {}<&{fd} {fd}<&-\n", 100 + at);
        }
        for at in 0..n {
            script += &format!("exec {}<&{} {}<&-\n", 3 + at, 100 + at, 100 + at);
        }
        script += "exec \"$0\" run\n";
        let names: Vec<&str> = self.store.iter().map(|(name, _)| name.as_str()).collect();
        let (ip, port) = (self.listen.ip(), self.listen.port());
        let listen = format!("/ip4/{ip}/tcp/{port},/ip4/{ip}/udp/{port}/quic-v1");
        let mut command = bare_command(None, Path::new("bash"));
        command
            .args(["-c", &script, PROGRAM])
            .env("NOTIFY_SOCKET", self.dir().join("notify"))
            .env("WATCHDOG_USEC", "2000000")
            .env("LISTEN_FDS", n.to_string())
            .env("LISTEN_FDNAMES", names.join(":"));
        Start::new(self.dir())
            .with(&[
                ("P2P_ENV_FILE", self.env_file().to_str().unwrap()),
                ("P2P_METRICS_HOST", &self.http.ip().to_string()),
                ("P2P_METRICS_PORT", &self.http.port().to_string()),
                ("P2P_LISTEN_ADDRS", &listen),
            ])
            .spawn_by(command)
    }

    /// The next message; what is to be stored is stored.
    fn hear(&mut self) -> Told {
        self.hear_one()
            .unwrap_or_else(|e| panic!("no message came: {e}\n{}", self.log()))
    }

    /// Returns the messages of a process that has ended which have not been read yet.
    fn hear_rest(&mut self) -> Vec<Told> {
        self.socket.set_nonblocking(true).unwrap();
        let rest = std::iter::from_fn(|| self.hear_one().ok()).collect();
        self.socket.set_nonblocking(false).unwrap();
        rest
    }

    fn hear_one(&mut self) -> nix::Result<Told> {
        let mut text = [0; 4096];
        let mut space = nix::cmsg_space!([RawFd; 8]);
        let (n, fds) = {
            let mut parts = [IoSliceMut::new(&mut text)];
            let got = recvmsg::<()>(
                self.socket.as_raw_fd(),
                &mut parts,
                Some(&mut space),
                MsgFlags::empty(),
            )?;
            let fds: Vec<RawFd> = got
                .cmsgs()
                .unwrap()
                .flat_map(|c| match c {
                    ControlMessageOwned::ScmRights(fds) => fds,
                    _ => Vec::new(),
                })
                .collect();
            (got.bytes, fds)
        };
        let text = std::str::from_utf8(&text[..n]).unwrap();
        let told = Told {
            lines: text.lines().map(Into::into).collect(),
            fds,
        };
        let name = told.value("FDNAME").unwrap_or_default().to_owned();
        if told.has("FDSTORE=1") {
            assert_eq!(told.fds.len(), 1, "{told:?}");
            self.store.push((name, told.fds[0]));
        } else {
            for fd in &told.fds {
                nix::unistd::close(*fd).unwrap();
            }
            if told.has("FDSTOREREMOVE=1") {
                self.store.retain(|(stored, fd)| {
                    let keep = *stored != name;
                    if !keep {
                        nix::unistd::close(*fd).unwrap();
                    }
                    keep
                });
            }
        }
        Ok(told)
    }

    fn hear_until(&mut self, line: &str) -> Told {
        let end = Instant::now() + DEADLINE;
        loop {
            let told = self.hear();
            if told.has(line) {
                return told;
            }
            assert!(Instant::now() < end, "never heard {line}:\n{}", self.log());
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir().join("log")).unwrap_or_default()
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.store.iter().map(|(n, _)| n.as_str()).collect();
        names.sort_unstable();
        names
    }

    fn cli(&self, args: &[&str]) -> std::process::Output {
        let mut command = Command::new(PROGRAM);
        command.arg("--socket").arg(self.control_socket());
        command.args(args).stdin(Stdio::null()).output().unwrap()
    }
}

/// Whether the daemon says over HTTP that it is ready: the head of its answer.
fn health(at: SocketAddr) -> std::io::Result<String> {
    http::ask_to_the_end(at, "/health/ready").map(|(head, _)| head)
}

/// The first words of a libp2p connection.
fn greet(at: SocketAddr) -> std::io::Result<()> {
    let mut client = TcpStream::connect_timeout(&at, DEADLINE)?;
    client.set_read_timeout(Some(DEADLINE))?;
    client.write_all(b"\x13/multistream/1.0.0\n")?;
    let mut answer = [0; 20];
    client.read_exact(&mut answer)?;
    assert_eq!(&answer, b"\x13/multistream/1.0.0\n");
    Ok(())
}

#[test]
fn the_manager_hears_how_it_is_from_start_to_stop() {
    let mut manager = Manager::new();
    let mut service = manager.spawn();
    let ready = manager.hear_until("READY=1");
    assert_eq!(
        ready.value("STATUS"),
        Some("0 peers, 0 blocks (0 B), mesh 0")
    );
    // All of its services answer by then.
    assert!(health(manager.http).unwrap().contains("200 OK"));
    greet(manager.listen).unwrap();
    assert!(manager.cli(&["id"]).status.success());

    // The watchdog is told that an idle loop is alive, at least once in half a period.
    for _ in 0..6 {
        let begin = Instant::now();
        manager.hear_until("WATCHDOG=1");
        println!("a beat after {:?}", begin.elapsed());
    }

    // The status line changes when the state does, without being asked for.
    let file = manager.dir().join("file");
    common::write_noise(&file, 300_000, 7);
    let put = manager.cli(&["put", file.to_str().unwrap()]);
    assert!(put.status.success(), "{put:?}");
    manager.hear_until("STATUS=0 peers, 1 block (293.0 KiB), mesh 0");

    // EXTEND_TIMEOUT_USEC has 32 bits here, 71 minutes: no drain may be longer.
    std::fs::write(manager.env_file(), "P2P_DRAIN_TIMEOUT=72m\n").unwrap();
    assert_eq!(manager.cli(&["reload"]).status.code(), Some(78));
    std::fs::write(manager.env_file(), "P2P_DRAIN_TIMEOUT=10m\n").unwrap();
    let reload = manager.cli(&["reload"]);
    assert!(reload.status.success(), "{reload:?}");
    service.signal(SIGTERM);
    let stopping = manager.hear_until("STOPPING=1");
    let more: u64 = stopping
        .value("EXTEND_TIMEOUT_USEC")
        .unwrap()
        .parse()
        .unwrap();
    assert!(more > 600_000_000, "less than P2P_DRAIN_TIMEOUT: {more}");
    assert_eq!(service.wait(), Some(0));
}

#[test]
fn a_process_that_is_stopped_does_not_beat() {
    let (mut manager, service) = Manager::with_service();
    manager.hear_until("WATCHDOG=1");
    service.signal(SIGSTOP);
    // What was sent before may still come; then nothing for more than the period.
    let quiet = Duration::from_secs(3);
    manager.socket.set_read_timeout(Some(quiet)).unwrap();
    let mut buffer = [0; 4096];
    let mut beats = 0;
    while manager.socket.recv(&mut buffer).is_ok() {
        beats += 1;
        assert!(beats < 20, "it beats although it is stopped");
    }
}

#[test]
fn nobody_is_refused_while_it_restarts() {
    let (mut manager, mut service) = Manager::with_service();
    let (listen, at) = (manager.listen, manager.http);
    let names = [
        "p2p-node/control".to_owned(),
        format!("p2p-node/http/{}/{}", at.ip(), at.port()),
        format!("p2p-node/quic/{}/{}", listen.ip(), listen.port()),
        format!("p2p-node/tcp/{}/{}", listen.ip(), listen.port()),
    ];
    assert_eq!(manager.names(), names);

    let over = AtomicBool::new(false);
    let served = [const { AtomicUsize::new(0) }; 3];
    std::thread::scope(|scope| {
        let over = &over;
        let client = |n: usize, ask: Box<dyn Fn() -> Result<(), String> + Send>| {
            let served = &served[n];
            scope.spawn(move || {
                let mut failures = Vec::new();
                while !over.load(Ordering::Acquire) {
                    match ask() {
                        Ok(()) => {
                            served.fetch_add(1, Ordering::AcqRel);
                        }
                        Err(e) => failures.push(e),
                    }
                }
                failures
            })
        };
        let clients = [
            client(
                0,
                Box::new(move || greet(listen).map_err(|e| format!("tcp: {e}"))),
            ),
            client(
                1,
                Box::new(move || match health(at) {
                    Ok(answer) if answer.starts_with("HTTP/1.1 ") => Ok(()),
                    other => Err(format!("http: {other:?}")),
                }),
            ),
            client(2, {
                let socket = manager.control_socket();
                Box::new(move || {
                    let mut command = Command::new(PROGRAM);
                    let output = command.arg("--socket").arg(&socket).arg("id").output();
                    let output = output.unwrap();
                    match output.status.success() {
                        true => Ok(()),
                        false => Err(format!("control: {output:?}")),
                    }
                })
            }),
        ];
        let all_are_served = || {
            let before: Vec<usize> = served.iter().map(|n| n.load(Ordering::Acquire)).collect();
            eventually("every client is served", || {
                let more = |(n, b): (&AtomicUsize, &usize)| n.load(Ordering::Acquire) > *b;
                served.iter().zip(&before).all(more).then_some(())
            });
        };
        for _ in 0..3 {
            all_are_served();
            service.signal(SIGTERM);
            assert_eq!(service.wait(), Some(0));
            service = manager.start();
            assert_eq!(manager.names(), names, "nothing is stored twice");
        }
        all_are_served();
        over.store(true, Ordering::Release);
        let failures: Vec<String> = clients
            .into_iter()
            .flat_map(|c| c.join().unwrap())
            .collect();
        println!("served: {served:?}");
        assert!(failures.is_empty(), "{failures:#?}\n{}", manager.log());
    });
}

#[test]
fn who_comes_after_a_kill_waits_and_is_served() {
    let (mut manager, mut service) = Manager::with_service();
    service.signal(SIGKILL);
    service.wait();
    // No process of the service runs now.
    let (listen, at) = (manager.listen, manager.http);
    let socket = manager.control_socket();
    let mut control = Command::new(PROGRAM);
    control.arg("--socket").arg(&socket).arg("id");
    let waiting = [
        std::thread::spawn(move || greet(listen).map_err(|e| e.to_string())),
        std::thread::spawn(move || health(at).map(drop).map_err(|e| e.to_string())),
        std::thread::spawn(move || match control.output().unwrap() {
            output if output.status.success() => Ok(()),
            output => Err(format!("{output:?}")),
        }),
    ];
    // A second daemon at the same socket is refused also now.
    let second = Command::new(PROGRAM)
        .args(["run", "--metrics-port", "0", "--listen-addrs"])
        .arg("/ip4/127.0.0.1/tcp/0")
        .args(["--data-dir", manager.dir().join("second").to_str().unwrap()])
        .args(["--control-socket", socket.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("already running"), "{said}");
    let _service = manager.start();
    for client in waiting {
        client.join().unwrap().unwrap();
    }
}

/// A dialer gives up after ten seconds. A start takes less than one, unless the
/// machine is so slow that this proves nothing.
const DIALER_WAITS: Duration = Duration::from_secs(10);

#[test]
fn who_dials_quic_between_two_lives_is_answered_by_the_second() {
    let mut manager = Manager::new();
    let quic = [("P2P_LISTEN_ADDRS", "/ip4/127.0.0.1/udp/0/quic-v1")];
    // This happens before there is anything in the store, which it would inherit.
    let dialer = Daemon::start(&manager.dir().join("dialer"), &quic);
    let mut service = manager.start();
    let id = manager.cli(&["id", "--json"]);
    let id: serde_json::Value = serde_json::from_slice(&id.stdout).unwrap();
    let address = format!(
        "/ip4/{}/udp/{}/quic-v1/p2p/{}",
        manager.listen.ip(),
        manager.listen.port(),
        id["peer_id"].as_str().unwrap()
    );
    let end = Instant::now() + DEADLINE;
    loop {
        service.signal(SIGTERM);
        assert_eq!(service.wait(), Some(0));
        // No process of the service runs now. The dial is made once.
        let begin = Instant::now();
        let mut dial = Process::spawn(
            dialer
                .command(&["connect", &address])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        let held = manager.store.iter().find(|(n, _)| n.contains("/quic/"));
        let first = peek(held.unwrap().1);
        // A long header of the type Initial (RFC 9000, 17.2.2).
        assert_eq!(first & 0b1111_0000, 0b1100_0000, "{first:#b}");
        assert!(dial.ended().is_none());
        service = manager.start();
        let started = begin.elapsed();
        let status = eventually("the dial ends", || dial.ended());
        println!(
            "up {started:?} after the dial began, connected after {:?}",
            begin.elapsed()
        );
        if status.success() {
            break;
        }
        let mut why = String::new();
        let mut stderr = dial.take_stderr();
        stderr.read_to_string(&mut why).unwrap();
        assert!(
            started > DIALER_WAITS / 2 && Instant::now() < end,
            "{why}\n{}",
            manager.log()
        );
    }
    let peers = manager.cli(&["peers", "--json"]);
    let peers: serde_json::Value = serde_json::from_slice(&peers.stdout).unwrap();
    assert_eq!(peers.as_array().unwrap().len(), 1, "{peers}");
}

/// The first byte of the first datagram that waits in a socket, which stays there;
/// waits until there is one.
fn peek(socket: RawFd) -> u8 {
    eventually("a datagram waits", || {
        let mut byte = [0];
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        match nix::sys::socket::recv(socket, &mut byte, flags) {
            Ok(_) => Some(byte[0]),
            Err(nix::Error::EAGAIN) => None,
            Err(e) => panic!("{e}"),
        }
    })
}

#[test]
fn a_socket_that_the_configuration_no_longer_wants_is_forgotten() {
    let (mut manager, mut service) = Manager::with_service();
    service.signal(SIGTERM);
    service.wait();
    let old = manager.listen;
    let keeps_old = |manager: &Manager| {
        manager
            .names()
            .concat()
            .contains(&format!("/{}/", old.ip()))
    };
    assert!(keeps_old(&manager), "{:?}", manager.names());
    manager.listen = own_socket();
    let _service = manager.start();
    assert_eq!(manager.names().len(), 4, "{:?}", manager.names());
    assert!(!keeps_old(&manager), "{:?}", manager.names());
    // No process uses the old address any more.
    TcpListener::bind(old).unwrap();
    greet(manager.listen).unwrap();
}

/// An upload that never ends, which keeps the drain waiting.
fn upload(manager: &Manager) -> Process {
    let mut upload = Process::spawn(
        Command::new(PROGRAM)
            .arg("--socket")
            .arg(manager.control_socket())
            .args(["put", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    upload.stdin().write_all(&[7; 100_000]).unwrap();
    eventually("the upload is under way", || {
        let (_, metrics) = http::get(manager.http, "/metrics");
        metrics
            .contains("p2p_control_requests_total{kind=\"block\"} 1")
            .then_some(())
    });
    upload
}

/// The clock of MONOTONIC_USEC.
fn monotonic() -> u64 {
    let now = sd_notify::NotifyState::monotonic_usec_now().unwrap();
    let now = now.to_string();
    now.strip_prefix("MONOTONIC_USEC=")
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn a_reload_is_told_from_its_begin_to_its_end() {
    let (mut manager, _service) = Manager::with_service();
    // A bad file ends the reload too: systemd would wait for ever for a READY=1.
    for (file, code) in [
        ("P2P_MAX_CONNECTIONS=77\n", 0),
        ("P2P_MAX_CONNECTIONS=many\n", 78),
        ("P2P_MAX_CONNECTIONS=78\n", 0),
    ] {
        std::fs::write(manager.env_file(), file).unwrap();
        let before = monotonic();
        let output = manager.cli(&["reload"]);
        let after = monotonic();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        // All messages have been read by now. They came in this order, each once.
        let mut begun = None;
        let end = Instant::now() + DEADLINE;
        loop {
            let told = manager.hear();
            assert!(Instant::now() < end, "no end after {begun:?}");
            if told.has("RELOADING=1") {
                assert!(begun.is_none(), "{told:?}");
                let at: u64 = told.value("MONOTONIC_USEC").unwrap().parse().unwrap();
                assert!((before..=after).contains(&at), "{before} {at} {after}");
                begun = Some(at);
            }
            if told.has("READY=1") {
                assert!(begun.is_some(), "ready without a reload: {told:?}");
                assert!(!told.has("RELOADING=1"), "{told:?}");
                let status = told.value("STATUS").unwrap();
                assert!(status.starts_with("0 peers, "), "{status}");
                break;
            }
        }
    }
}

#[test]
fn who_stops_does_not_reload() {
    let (mut manager, mut service) = Manager::with_service();
    let _upload = upload(&manager);
    service.signal(SIGTERM);
    manager.hear_until("STOPPING=1");
    let output = manager.cli(&["reload"]);
    service.signal(SIGHUP);
    service.signal(SIGTERM);
    assert_eq!(service.wait(), Some(0));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("the node is stopping"), "{said}");
    for told in manager.hear_rest() {
        for line in &told.lines {
            let name = line.split('=').next().unwrap();
            assert!(
                !["RELOADING", "READY", "STATUS"].contains(&name),
                "{told:?}"
            );
        }
    }
}

#[test]
fn a_second_signal_ends_the_wait_and_what_is_known_is_saved() {
    let (mut manager, mut service) = Manager::with_service();
    let _upload = upload(&manager);
    service.signal(SIGTERM);
    manager.hear_until("STOPPING=1");
    let begin = Instant::now();
    service.signal(SIGTERM);
    let code = service.wait();
    println!("ended {:?} after the second signal", begin.elapsed());
    assert_eq!(code, Some(0), "{}", manager.log());
    assert!(manager.log().contains("second signal"), "{}", manager.log());
}

#[test]
fn a_control_socket_made_anew_is_kept_in_the_place_of_the_lost_one() {
    let (mut manager, mut service) = Manager::with_service();
    let kept: Vec<String> = manager.names().into_iter().map(Into::into).collect();
    std::fs::remove_file(manager.control_socket()).unwrap();
    let told = manager.hear_until("FDSTORE=1");
    assert_eq!(told.value("FDNAME"), Some("p2p-node/control"));
    assert_eq!(manager.names(), kept);
    assert!(manager.cli(&["status"]).status.success());
    service.signal(SIGTERM);
    assert_eq!(service.wait(), Some(0));
    // The next process is reached through the one that was stored last.
    let _service = manager.start();
    assert!(manager.cli(&["status"]).status.success());
    let log = manager.log();
    assert!(!log.contains("opening a new one"), "{log}");
    assert_eq!(log.matches("opened a new one").count(), 1, "{log}");
}

/// What faults look like in a binary (`src/system/faults.rs`).
const FAULTS: &[u8] = b"faults on demand";

#[test]
fn faults_on_demand_are_in_no_build_but_those_that_ask() {
    let program = std::fs::read(PROGRAM).unwrap();
    let found = program.windows(FAULTS.len()).any(|w| w == FAULTS);
    assert_eq!(found, cfg!(feature = "fault-injection"));
}
