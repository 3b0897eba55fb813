//! Real daemons and commands, and what they cost.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::{Options, Result};

/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(300);

/// A daemon that runs; it ends when this is dropped.
pub(crate) struct Daemon {
    child: Child,
    program: PathBuf,
    home: PathBuf,
    /// Of its HTTP pages, on loopback.
    pub(crate) port: u16,
    /// From spawn to the first 200 of `/health/ready`.
    pub(crate) start: Duration,
}

impl Daemon {
    /// Starts one with its state in `home`, and waits until it is ready.
    pub(crate) fn start(
        options: &Options,
        home: &Path,
        listen: &str,
        bootstrap: Option<&str>,
    ) -> Result<Daemon> {
        let bootstrap = bootstrap.map(|peer| ("P2P_BOOTSTRAP_PEERS", peer));
        Daemon::start_with(options, home, listen, bootstrap.as_slice())
    }

    /// The same with settings of one's own.
    pub(crate) fn start_with(
        options: &Options,
        home: &Path,
        listen: &str,
        variables: &[(&str, &str)],
    ) -> Result<Daemon> {
        std::fs::create_dir_all(home)?;
        let port = free_port()?;
        let mut command = command(&options.node, home);
        command
            .env("P2P_LISTEN_ADDRS", listen)
            // On loopback no node is reachable from outside, so it would be a
            // client of the DHT only.
            .env("P2P_DHT_MODE", "server")
            .env("P2P_STORE_MAX_BYTES", "64GiB")
            .env("P2P_METRICS_PORT", port.to_string())
            .stdout(Stdio::null())
            .stderr(File::create(home.join("log"))?);
        command.envs(variables.iter().copied());
        let begun = Instant::now();
        let mut daemon = Daemon {
            child: command.spawn()?,
            program: options.node.clone(),
            home: home.to_owned(),
            port,
            start: Duration::ZERO,
        };
        while !is_ready(port) {
            if daemon.child.try_wait()?.is_some() || begun.elapsed() > DEADLINE {
                let log = std::fs::read_to_string(home.join("log"))?;
                return Err(format!("the daemon did not start:\n{log}").into());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        daemon.start = begun.elapsed();
        Ok(daemon)
    }

    /// Runs a command against it; gives its output, its time and its own CPU seconds.
    pub(crate) fn run(&self, args: &[&str]) -> Result<(String, Duration, f64)> {
        let before = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let begun = Instant::now();
        let output = command(&self.program, &self.home)
            .args(args)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        let took = begun.elapsed();
        if !output.status.success() {
            return Err(format!("p2p-node {args:?} failed").into());
        }
        let after = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let seconds = |usage: &nix::sys::resource::Usage| {
            let (user, system) = (usage.user_time(), usage.system_time());
            (user.tv_sec() + system.tv_sec()) as f64
                + (user.tv_usec() + system.tv_usec()) as f64 / 1e6
        };
        let text = String::from_utf8(output.stdout)?.trim().to_owned();
        Ok((text, took, seconds(&after) - seconds(&before)))
    }

    /// Its first address with its peer id.
    pub(crate) fn address(&self) -> Result<String> {
        let (id, ..) = self.run(&["--json", "id"])?;
        let id: serde_json::Value = serde_json::from_str(&id)?;
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let peer = text(&id["peer_id"]).ok_or("id tells no peer id")?;
        let address = text(&id["addresses"][0]).ok_or("id tells no address")?;
        Ok(if address.contains("/p2p/") {
            address
        } else {
            format!("{address}/p2p/{peer}")
        })
    }

    /// Waits until it has a peer.
    pub(crate) fn wait_for_peer(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let (peers, ..) = self.run(&["--json", "peers"])?;
            if peers.contains("12D3") {
                return Ok(());
            }
            if begun.elapsed() > DEADLINE {
                return Err("the daemons did not connect".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// CPU seconds it has used so far.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name before the last parenthesis may hold anything; utime and
        // stime are the 12th and 13th field after it.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks: f64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<f64>().ok())
            .sum();
        Ok(ticks / sysconf(SysconfVar::CLK_TCK)?.unwrap_or(100) as f64)
    }

    /// A line of `/proc/PID/status` in KiB, such as `VmRSS`.
    pub(crate) fn memory(&self, line: &str) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let found = status
            .lines()
            .find_map(|l| l.strip_prefix(line))
            .and_then(|rest| rest.trim_start_matches(':').split_whitespace().next());
        Ok(found.ok_or(format!("no {line}"))?.parse()?)
    }

    /// Stops it as `systemctl stop` does.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGTERM,
        )?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `p2p-node` with its state in `home` and nothing of our environment's settings.
fn command(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("P2P_")) {
        command.env_remove(name);
    }
    command
        .env("P2P_DATA_DIR", home.join("data"))
        .env("P2P_CONTROL_SOCKET", home.join("control.sock"));
    command
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

fn is_ready(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        // Not to the end: the server lingers for clients that still send.
        let mut answer = *b"HTTP/1.1 ...";
        stream.read_exact(&mut answer)?;
        Ok(answer == *b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}
