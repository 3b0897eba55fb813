//! A daemon that runs.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::{SysconfVar, sysconf};

use super::http::{self, Scrape};
use super::{Process, eventually};

/// The program that was built with the tests.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_p2p-node");

/// How much of a log is read at most, from its end. No test logs as much. A daemon that
/// logs without end must not use up the machine's memory.
const LOG_READ: u64 = 256 << 20;

/// The program that daemons and commands are started from: [`PROGRAM`], or what
/// `NODE_UNDER_TEST` names, to see what another build does in the same test.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("NODE_UNDER_TEST").map_or_else(|| PROGRAM.into(), Into::into)
}

/// How a daemon is started: with its data in a folder, listening on loopback, unless
/// it is told otherwise.
#[derive(Clone)]
pub(crate) struct Start {
    dir: PathBuf,
    variables: Vec<(String, String)>,
    namespace: Option<String>,
    program: PathBuf,
}

impl Start {
    /// With its data in `dir/data` and its log in `dir/log`.
    pub(crate) fn new(dir: &Path) -> Start {
        Start {
            dir: dir.to_owned(),
            variables: Vec::new(),
            namespace: None,
            program: program(),
        }
    }

    /// With these variables too. The last value of a name counts.
    pub(crate) fn with(mut self, variables: &[(&str, &str)]) -> Start {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.variables.extend(variables.iter().map(owned));
        self
    }

    /// On a host of its own: in this network namespace, if any.
    pub(crate) fn on_host(mut self, namespace: Option<&str>) -> Start {
        self.namespace = namespace.map(Into::into);
        self
    }

    /// From another build.
    pub(crate) fn of_program(mut self, program: &Path) -> Start {
        self.program = program.to_owned();
        self
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let mut of_name = self.variables.iter().rev().filter(|(n, _)| n == name);
        of_name.next().map(|(_, value)| value.as_str())
    }

    /// The daemon's control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        if let Some(socket) = self.variable("P2P_CONTROL_SOCKET") {
            return socket.into();
        }
        let data = self.variable("P2P_DATA_DIR");
        let data = data.map_or_else(|| self.dir.join("data"), PathBuf::from);
        data.join("control.sock")
    }

    /// Starts it and does not wait.
    pub(crate) fn spawn(&self) -> Daemon {
        let mut command = bare_command(self.namespace.as_deref(), &self.program);
        command.arg("run");
        self.spawn_by(command)
    }

    /// Starts it by a command of the caller, which must replace itself with the daemon by
    /// `exec`.
    pub(crate) fn spawn_by(&self, mut command: Command) -> Daemon {
        std::fs::create_dir_all(&self.dir).unwrap();
        // A file and not a pipe: what the daemon has written is there at once, also
        // when the test does not read it, and stays when the daemon is killed.
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("log"))
            .unwrap();
        let logged_before = log.metadata().unwrap().len();
        command
            .env("P2P_DATA_DIR", self.dir.join("data"))
            .env("P2P_METRICS_PORT", "0")
            .env("P2P_LISTEN_ADDRS", "/ip4/127.0.0.1/tcp/0")
            .env("P2P_LOG_FORMAT", "json")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Daemon {
            process: Process::spawn(&mut command),
            start: self.clone(),
            logged_before,
        }
    }
}

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    process: Process,
    start: Start,
    /// Bytes that earlier lives in the same folder had logged.
    logged_before: u64,
}

impl Daemon {
    /// Starts a daemon with its data in `dir`, listening on loopback, and waits
    /// until it is ready.
    pub(crate) fn start(dir: &Path, variables: &[(&str, &str)]) -> Daemon {
        Start::new(dir).with(variables).spawn().wait_ready()
    }

    /// Waits until `health` says that it is ready.
    pub(crate) fn wait_ready(mut self) -> Daemon {
        let socket = self.socket();
        eventually("the daemon is ready", || {
            if let Some(status) = self.ended() {
                panic!("the daemon ended at its start ({status}):\n{}", self.log());
            }
            // A command would fail before the socket exists.
            (socket.exists() && self.cli(&["health", "-q"]).status.success()).then_some(())
        });
        self
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// A line of its `/proc/PID/status` in KiB, such as `VmRSS`.
    #[track_caller]
    pub(crate) fn memory(&self, line: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let found = status
            .lines()
            .find_map(|l| l.strip_prefix(line)?.strip_prefix(':'))
            .and_then(|rest| rest.split_whitespace().next());
        found
            .unwrap_or_else(|| panic!("no {line}"))
            .parse()
            .unwrap()
    }

    /// Seconds of processor time that it has used.
    #[track_caller]
    pub(crate) fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // The name before the last parenthesis may hold anything; utime and stime are
        // the 12th and 13th field after it.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: f64 = ticks.map(|t| t.parse::<f64>().unwrap()).sum();
        ticks / sysconf(SysconfVar::CLK_TCK).unwrap().unwrap_or(100) as f64
    }

    /// Its control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.start.socket()
    }

    /// What it has logged, after what earlier lives in the same folder have.
    pub(crate) fn log(&self) -> String {
        self.log_from(0)
    }

    fn log_from(&self, begin: u64) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(self.start.dir.join("log")) {
            let length = file.metadata().unwrap().len();
            let begin = begin.max(length.saturating_sub(LOG_READ));
            file.seek(SeekFrom::Start(begin)).unwrap();
            file.take(LOG_READ).read_to_end(&mut bytes).unwrap();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A command for this daemon, not run yet.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = bare_command(self.start.namespace.as_deref(), &self.start.program);
        command
            .arg("--socket")
            .arg(self.socket())
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// Begins a command against this daemon, whose output is gathered when it ends.
    pub(crate) fn begin(&self, args: &[&str]) -> Process {
        let mut command = self.command(args);
        Process::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// Runs a command against this daemon.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must succeed; its standard output, trimmed.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.cli(args);
        assert!(
            output.status.success(),
            "{args:?} failed ({}): {}\nthe daemon's log:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs a command with `--json` that must succeed.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let mut args = args.to_vec();
        args.push("--json");
        serde_json::from_str(&self.ok(&args)).unwrap()
    }

    /// Its peer id.
    #[track_caller]
    pub(crate) fn id(&self) -> String {
        let id = self.json(&["id"]);
        id["peer_id"].as_str().unwrap().to_owned()
    }

    /// Its first dialable address over `transport` (`tcp`, `quic-v1`), with its peer
    /// id.
    #[track_caller]
    pub(crate) fn address(&self, transport: &str) -> String {
        let id = self.json(&["id"]);
        let addresses = id["addresses"].as_array().unwrap_or_else(|| panic!("{id}"));
        addresses
            .iter()
            .filter_map(|a| a.as_str())
            .find(|a| a.contains(&format!("/{transport}/")))
            .unwrap_or_else(|| panic!("no {transport} address in {id}"))
            .to_owned()
    }

    /// Where it serves HTTP, if it has said so yet. It says it in its log when it is
    /// ready: nothing else tells a port that the kernel has chosen.
    pub(crate) fn http_if_ready(&self) -> Option<SocketAddr> {
        let log = self.log_from(self.logged_before);
        let line = log.lines().find(|l| l.contains(r#""msg":"ready""#))?;
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(line["metrics"].as_str().unwrap().parse().unwrap())
    }

    /// Where it serves HTTP.
    #[track_caller]
    pub(crate) fn http(&self) -> SocketAddr {
        eventually("the daemon logs where its HTTP port is", || {
            self.http_if_ready()
        })
    }

    /// A page of its HTTP port: the head and the body of the answer.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> (String, String) {
        let at = self.http();
        let Some(namespace) = &self.start.namespace else {
            return http::get(at, path);
        };
        // A process has one network; another one asks there.
        let request = http::request(path)
            .replace('\r', "\\r")
            .replace('\n', "\\n");
        let ask = format!(
            "exec 3<>/dev/tcp/{}/{}; printf '{request}' >&3; cat <&3",
            at.ip(),
            at.port()
        );
        let answer = in_namespace(Some(namespace), Path::new("bash"))
            .args(["-c", &ask])
            .output()
            .unwrap();
        http::parts(&answer.stdout).unwrap_or_else(|| panic!("GET {path}: {answer:?}"))
    }

    /// All its metrics.
    #[track_caller]
    pub(crate) fn scrape(&self) -> Scrape {
        Scrape::read(&self.get("/metrics"))
    }

    /// The value of one series of its metrics, which must be there.
    #[track_caller]
    pub(crate) fn metric(&self, series: &str) -> f64 {
        self.scrape().value(series)
    }

    /// The sum of the series whose name, with labels, begins with `start`.
    #[track_caller]
    pub(crate) fn metric_sum(&self, start: &str) -> f64 {
        self.scrape().sum(start)
    }

    /// Sends a signal to it.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// Waits for its end; the exit code, which one that a signal has killed lacks.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.process.wait()
    }

    /// Ends it as systemd would; the exit code.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Kills it, as a power cut would, and waits until it is gone.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }
}

fn in_namespace(namespace: Option<&str>, program: &Path) -> Command {
    match namespace {
        Some(name) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", name]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// What the environment says to a node beside its P2P_ variables: by a service manager,
/// and about its log. `harness.py` has the same list, and `tests/cli/environment.rs`
/// compares the two.
pub(crate) const FOR_A_NODE: [&str; 10] = [
    "CREDENTIALS_DIRECTORY",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "RUNTIME_DIRECTORY",
    "RUST_LOG",
    "STATE_DIRECTORY",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// `program`, in a network namespace if there is one, without what the caller's
/// environment says to a node, about its log and of a service manager.
pub(crate) fn bare_command(namespace: Option<&str>, program: &Path) -> Command {
    let mut command = in_namespace(namespace, program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("P2P_") || FOR_A_NODE.contains(&&*text) {
            command.env_remove(name);
        }
    }
    command
}
