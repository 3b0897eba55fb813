//! Daemons as a user runs them: real processes, started with variables, asked
//! through the command line, ended by their process id.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Far above what any step takes; only a hang reaches it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

/// The program that was built with the tests.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_p2p-node");

/// The program that daemons and commands are started from: [`PROGRAM`], or what
/// `NODE_UNDER_TEST` names, to see what another build does in the same test.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("NODE_UNDER_TEST").map_or_else(|| PROGRAM.into(), Into::into)
}

/// Asks again until `ask` answers, with a deadline.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    dir: PathBuf,
    namespace: Option<String>,
}

/// Settings of a daemon to start.
pub(crate) struct Start<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) variables: &'a [(&'a str, &'a str)],
    pub(crate) namespace: Option<&'a str>,
}

impl Daemon {
    /// Starts a daemon with its data in `dir`, listening on loopback, and waits
    /// until it is ready.
    pub(crate) fn start(dir: &Path, variables: &[(&str, &str)]) -> Daemon {
        let daemon = Daemon::spawn(Start {
            dir,
            variables,
            namespace: None,
        });
        daemon.wait_ready()
    }

    /// Starts a daemon and does not wait.
    pub(crate) fn spawn(start: Start<'_>) -> Daemon {
        let Start {
            dir,
            variables,
            namespace,
        } = start;
        std::fs::create_dir_all(dir).unwrap();
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.join("log"))
            .unwrap();
        let mut command = in_namespace(namespace);
        command
            .arg("run")
            .env("P2P_DATA_DIR", dir.join("data"))
            .env("P2P_METRICS_PORT", "0")
            .env("P2P_LISTEN_ADDRS", "/ip4/127.0.0.1/tcp/0")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().unwrap();
        Daemon {
            child,
            dir: dir.to_owned(),
            namespace: namespace.map(Into::into),
        }
    }

    /// Waits until `health` says that it is ready.
    pub(crate) fn wait_ready(mut self) -> Daemon {
        eventually("the daemon is ready", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the daemon ended at its start ({status}):\n{}", self.log());
            }
            self.cli(&["health", "-q"]).status.success().then_some(())
        });
        self
    }

    /// Its control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("data/control.sock")
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// A command for this daemon, not run yet.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = in_namespace(self.namespace.as_deref());
        command
            .arg("--socket")
            .arg(self.socket())
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command against this daemon.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must succeed; its standard output, trimmed.
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
    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let mut args = args.to_vec();
        args.push("--json");
        serde_json::from_str(&self.ok(&args)).unwrap()
    }

    /// Its first dialable address over `transport` (`tcp`, `quic-v1`).
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

    /// Sends a signal to it.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Waits for its end; the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        eventually("the daemon ends", || self.child.try_wait().unwrap()).code()
    }

    /// Ends it as systemd would; the exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        self.wait()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn in_namespace(namespace: Option<&str>) -> Command {
    let mut command = match namespace {
        Some(name) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", name]).arg(program());
            command
        }
        None => Command::new(program()),
    };
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("P2P_") {
            command.env_remove(name);
        }
    }
    command
}

/// Bytes that do not compress and are the same for the same `seed` (xorshift64*).
fn words_of_noise(seed: u64) -> impl Iterator<Item = [u8; 8]> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()
    })
}

/// `len` bytes that do not compress and are the same for the same `seed`.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    words_of_noise(seed).flatten().take(len).collect()
}

/// Writes a file of `len` bytes that does not compress and is the same for the
/// same `seed`.
pub(crate) fn write_noise(path: &Path, len: u64, seed: u64) {
    use std::io::Write;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let mut left = len;
    for word in words_of_noise(seed) {
        let take = usize::try_from(left.min(8)).unwrap();
        if take == 0 {
            break;
        }
        file.write_all(&word[..take]).unwrap();
        left -= take as u64;
    }
    file.flush().unwrap();
}

/// Whether two files hold the same bytes.
pub(crate) fn same_bytes(a: &Path, b: &Path) -> bool {
    Command::new("cmp")
        .arg("-s")
        .arg(a)
        .arg(b)
        .status()
        .unwrap()
        .success()
}
