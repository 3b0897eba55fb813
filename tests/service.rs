//! The daemon under a service manager, which the test imitates: it binds the socket of
//! NOTIFY_SOCKET, keeps what the daemon stores, and passes it to the next process.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

mod common;

use std::io::{IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{DEADLINE, PROGRAM};
use nix::sys::signal::Signal::{self, SIGHUP, SIGKILL, SIGSTOP, SIGTERM};
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
struct Manager<'a> {
    dir: &'a Path,
    socket: UnixDatagram,
    /// Names and sockets in its store.
    store: Vec<(String, RawFd)>,
    tcp: u16,
    http: u16,
}

/// A running service; killed when dropped.
struct Service(Child);

impl Drop for Manager<'_> {
    fn drop(&mut self) {
        for (_, fd) in self.store.drain(..) {
            let _ = nix::unistd::close(fd);
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Service {
    fn signal(&self, signal: Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl<'a> Manager<'a> {
    fn new(dir: &'a Path) -> Manager<'a> {
        let socket = UnixDatagram::bind(dir.join("notify")).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let manager = Manager {
            dir,
            socket,
            store: Vec::new(),
            tcp: free_port(),
            http: free_port(),
        };
        std::fs::write(manager.env_file(), "").unwrap();
        manager
    }

    fn env_file(&self) -> PathBuf {
        self.dir.join("node.env")
    }

    /// Starts the service with everything in the store.
    fn start(&self) -> Service {
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
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join("log"))
            .unwrap();
        let mut command = Command::new("bash");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("P2P_") {
                command.env_remove(name);
            }
        }
        let listen = format!(
            "/ip4/127.0.0.1/tcp/{0},/ip4/127.0.0.1/udp/{0}/quic-v1",
            self.tcp
        );
        command
            .args(["-c", &script, PROGRAM])
            .env("NOTIFY_SOCKET", self.dir.join("notify"))
            .env("WATCHDOG_USEC", "2000000")
            .env("LISTEN_FDS", n.to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .env("P2P_ENV_FILE", self.env_file())
            .env("P2P_DATA_DIR", self.dir.join("data"))
            .env("P2P_METRICS_PORT", self.http.to_string())
            .env("P2P_LISTEN_ADDRS", listen)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Service(command.spawn().unwrap())
    }

    /// The next message; what is to be stored is stored.
    fn hear(&mut self) -> Told {
        self.hear_one()
            .unwrap_or_else(|e| panic!("no message came: {e}\n{}", self.log()))
    }

    /// What a process that has ended has told, and nobody heard yet.
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
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.store.iter().map(|(n, _)| n.as_str()).collect();
        names.sort_unstable();
        names
    }

    fn cli(&self, args: &[&str]) -> std::process::Output {
        let mut command = Command::new(PROGRAM);
        command
            .arg("--socket")
            .arg(self.dir.join("data/control.sock"));
        command.args(args).stdin(Stdio::null()).output().unwrap()
    }
}

/// One request over HTTP; the head of its answer.
fn http(port: u16) -> std::io::Result<String> {
    let mut client = connect(port)?;
    client.write_all(b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    Ok(answer)
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let client = TcpStream::connect_timeout(&at, DEADLINE)?;
    client.set_read_timeout(Some(DEADLINE))?;
    Ok(client)
}

/// The first words of a libp2p connection.
fn greet(port: u16) -> std::io::Result<()> {
    let mut client = connect(port)?;
    client.write_all(b"\x13/multistream/1.0.0\n")?;
    let mut answer = [0; 20];
    client.read_exact(&mut answer)?;
    assert_eq!(&answer, b"\x13/multistream/1.0.0\n");
    Ok(())
}

#[test]
fn the_manager_hears_how_it_is_from_start_to_stop() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut manager = Manager::new(dir.path());
    let mut service = manager.start();
    let ready = manager.hear_until("READY=1");
    assert_eq!(
        ready.value("STATUS"),
        Some("0 peers, 0 blocks (0 B), mesh 0")
    );
    // All of it answers by then.
    assert!(http(manager.http).unwrap().contains("200 OK"));
    greet(manager.tcp).unwrap();
    assert!(manager.cli(&["id"]).status.success());

    // An idle loop beats, at least every second half of the period.
    for _ in 0..6 {
        let begin = Instant::now();
        manager.hear_until("WATCHDOG=1");
        println!("a beat after {:?}", begin.elapsed());
    }

    // The line follows what changes, without being asked.
    let file = dir.path().join("file");
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
    assert_eq!(service.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_process_that_is_stopped_does_not_beat() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut manager = Manager::new(dir.path());
    let service = manager.start();
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
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut manager = Manager::new(dir.path());
    let (tcp, port) = (manager.tcp, manager.http);
    let mut service = manager.start();
    manager.hear_until("READY=1");
    let names = [
        "p2p-node/control".to_owned(),
        format!("p2p-node/http/127.0.0.1/{port}"),
        format!("p2p-node/quic/127.0.0.1/{tcp}"),
        format!("p2p-node/tcp/127.0.0.1/{tcp}"),
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
                Box::new(move || greet(tcp).map_err(|e| format!("tcp: {e}"))),
            ),
            client(
                1,
                Box::new(move || match http(port) {
                    Ok(answer) if answer.starts_with("HTTP/1.1 ") => Ok(()),
                    other => Err(format!("http: {other:?}")),
                }),
            ),
            client(2, {
                let socket = dir.path().join("data/control.sock");
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
            common::eventually("every client is served", || {
                let more = |(n, b): (&AtomicUsize, &usize)| n.load(Ordering::Acquire) > *b;
                served.iter().zip(&before).all(more).then_some(())
            });
        };
        for _ in 0..3 {
            all_are_served();
            service.signal(SIGTERM);
            assert_eq!(service.0.wait().unwrap().code(), Some(0));
            service = manager.start();
            manager.hear_until("READY=1");
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
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut manager = Manager::new(dir.path());
    let mut service = manager.start();
    manager.hear_until("READY=1");
    service.signal(SIGKILL);
    service.0.wait().unwrap();
    // Nobody runs now.
    let (tcp, port) = (manager.tcp, manager.http);
    let socket = dir.path().join("data/control.sock");
    let mut control = Command::new(PROGRAM);
    control.arg("--socket").arg(&socket).arg("id");
    let waiting = [
        std::thread::spawn(move || greet(tcp).map_err(|e| e.to_string())),
        std::thread::spawn(move || http(port).map(drop).map_err(|e| e.to_string())),
        std::thread::spawn(move || match control.output().unwrap() {
            output if output.status.success() => Ok(()),
            output => Err(format!("{output:?}")),
        }),
    ];
    // A second daemon at the same socket is refused also now.
    let second = Command::new(PROGRAM)
        .args(["run", "--metrics-port", "0", "--listen-addrs"])
        .arg("/ip4/127.0.0.1/tcp/0")
        .args(["--data-dir", dir.path().join("second").to_str().unwrap()])
        .args(["--control-socket", socket.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("already running"), "{said}");
    let _service = manager.start();
    manager.hear_until("READY=1");
    for client in waiting {
        client.join().unwrap().unwrap();
    }
}

/// A dialer gives up after ten seconds. A start takes less than one, unless the
/// machine is so slow that this proves nothing.
const DIALER_WAITS: Duration = Duration::from_secs(10);

#[test]
fn who_dials_quic_between_two_lives_is_answered_by_the_second() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let quic = [("P2P_LISTEN_ADDRS", "/ip4/127.0.0.1/udp/0/quic-v1")];
    // Before anything is in the store, which it would inherit.
    let dialer = common::Daemon::start(&dir.path().join("dialer"), &quic);
    let mut manager = Manager::new(dir.path());
    let mut service = manager.start();
    manager.hear_until("READY=1");
    let id = manager.cli(&["id", "--json"]);
    let id: serde_json::Value = serde_json::from_slice(&id.stdout).unwrap();
    let address = format!(
        "/ip4/127.0.0.1/udp/{}/quic-v1/p2p/{}",
        manager.tcp,
        id["peer_id"].as_str().unwrap()
    );
    let end = Instant::now() + DEADLINE;
    loop {
        service.signal(SIGTERM);
        assert_eq!(service.0.wait().unwrap().code(), Some(0));
        // Nobody runs now. The dial is made once.
        let begin = Instant::now();
        let mut dial = Service(
            dialer
                .command(&["connect", &address])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let held = manager.store.iter().find(|(n, _)| n.contains("/quic/"));
        let first = peek(held.unwrap().1);
        // A long header of the type Initial (RFC 9000, 17.2.2).
        assert_eq!(first & 0b1111_0000, 0b1100_0000, "{first:#b}");
        assert!(dial.0.try_wait().unwrap().is_none());
        service = manager.start();
        manager.hear_until("READY=1");
        let started = begin.elapsed();
        let status = common::eventually("the dial ends", || dial.0.try_wait().unwrap());
        println!(
            "up {started:?} after the dial began, connected after {:?}",
            begin.elapsed()
        );
        if status.success() {
            break;
        }
        let mut why = String::new();
        let stderr = dial.0.stderr.as_mut().unwrap();
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
    common::eventually("a datagram waits", || {
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
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut manager = Manager::new(dir.path());
    let mut service = manager.start();
    manager.hear_until("READY=1");
    service.signal(SIGTERM);
    service.0.wait().unwrap();
    let old = manager.tcp;
    manager.tcp = free_port();
    let _service = manager.start();
    manager.hear_until("READY=1");
    assert_eq!(manager.names().len(), 4, "{:?}", manager.names());
    assert!(!manager.names().concat().contains(&format!("/{old}")));
    // Nobody holds the old port any more.
    TcpListener::bind(("127.0.0.1", old)).unwrap();
    greet(manager.tcp).unwrap();
}

/// An upload that never ends, which keeps the drain waiting; killed when dropped.
struct Upload(Child);

impl Upload {
    fn begin(manager: &Manager<'_>) -> Upload {
        let mut upload = Command::new(PROGRAM)
            .arg("--socket")
            .arg(manager.dir.join("data/control.sock"))
            .args(["put", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        upload
            .stdin
            .as_mut()
            .unwrap()
            .write_all(&[7; 100_000])
            .unwrap();
        let upload = Upload(upload);
        common::eventually("the upload is under way", || {
            let metrics = {
                let mut client = connect(manager.http).unwrap();
                client
                    .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                    .unwrap();
                let mut answer = String::new();
                client.read_to_string(&mut answer).unwrap();
                answer
            };
            metrics
                .contains("p2p_control_requests_total{kind=\"block\"} 1")
                .then_some(())
        });
        upload
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut manager = Manager::new(dir.path());
    let _service = manager.start();
    manager.hear_until("READY=1");
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
        // Heard to its end by now, in this order and once.
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
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut manager = Manager::new(dir.path());
    let mut service = manager.start();
    manager.hear_until("READY=1");
    let _upload = Upload::begin(&manager);
    service.signal(SIGTERM);
    manager.hear_until("STOPPING=1");
    let output = manager.cli(&["reload"]);
    service.signal(SIGHUP);
    service.signal(SIGTERM);
    assert_eq!(service.0.wait().unwrap().code(), Some(0));
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
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut manager = Manager::new(dir.path());
    let mut service = manager.start();
    manager.hear_until("READY=1");
    let _upload = Upload::begin(&manager);
    service.signal(SIGTERM);
    manager.hear_until("STOPPING=1");
    let begin = Instant::now();
    service.signal(SIGTERM);
    let code = service.0.wait().unwrap().code();
    println!("ended {:?} after the second signal", begin.elapsed());
    assert_eq!(code, Some(0), "{}", manager.log());
    assert!(manager.log().contains("second signal"), "{}", manager.log());
}

#[test]
fn a_control_socket_made_anew_is_kept_in_the_place_of_the_lost_one() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut manager = Manager::new(dir.path());
    let mut service = manager.start();
    manager.hear_until("READY=1");
    let kept: Vec<String> = manager.names().into_iter().map(Into::into).collect();
    std::fs::remove_file(dir.path().join("data/control.sock")).unwrap();
    let told = manager.hear_until("FDSTORE=1");
    assert_eq!(told.value("FDNAME"), Some("p2p-node/control"));
    assert_eq!(manager.names(), kept);
    assert!(manager.cli(&["status"]).status.success());
    service.signal(SIGTERM);
    assert_eq!(service.0.wait().unwrap().code(), Some(0));
    // The next process is reached through the one that was stored last.
    let _service = manager.start();
    manager.hear_until("READY=1");
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
