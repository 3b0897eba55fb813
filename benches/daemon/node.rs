//! Real daemons and commands, and what they cost.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use crate::common::{self, Start, http};
use crate::{Options, Result};

/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(300);

/// A daemon that runs; it ends when this is dropped.
pub(crate) struct Daemon {
    running: common::Daemon,
    /// Where its HTTP pages are.
    pub(crate) http: SocketAddr,
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
        let settings = Start::new(home)
            .of_program(&options.node)
            .with(&[
                ("P2P_LISTEN_ADDRS", listen),
                // On loopback no node is reachable from outside, so it would be a
                // client of the DHT only.
                ("P2P_DHT_MODE", "server"),
                ("P2P_STORE_MAX_BYTES", "64GiB"),
            ])
            .with(variables);
        // A port that is known, so that the first 200 is seen when it comes.
        let http = common::own_socket();
        let (host, port) = (http.ip().to_string(), http.port().to_string());
        let settings = settings.with(&[
            ("P2P_METRICS_HOST", host.as_str()),
            ("P2P_METRICS_PORT", port.as_str()),
        ]);
        let begun = Instant::now();
        let mut running = settings.spawn();
        while !is_ready(http) {
            if running.ended().is_some() || begun.elapsed() > DEADLINE {
                return Err(format!("the daemon did not start:\n{}", running.log()).into());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(Daemon {
            running,
            http,
            start: begun.elapsed(),
        })
    }

    /// Runs a command against it; gives its output, its time and its own CPU seconds.
    pub(crate) fn run(&self, args: &[&str]) -> Result<(String, Duration, f64)> {
        let before = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let begun = Instant::now();
        let mut command = self.running.command(args);
        let output = command.stderr(Stdio::inherit()).output()?;
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
    pub(crate) fn cpu(&self) -> f64 {
        self.running.cpu()
    }

    /// A line of `/proc/PID/status` in KiB, such as `VmRSS`.
    pub(crate) fn memory(&self, line: &str) -> f64 {
        self.running.memory(line)
    }

    /// Stops it as `systemctl stop` does.
    pub(crate) fn stop(self) -> Result<()> {
        self.running.stop();
        Ok(())
    }
}

fn is_ready(at: SocketAddr) -> bool {
    http::ask_within(Duration::from_secs(1), at, "/health/ready")
        .is_ok_and(|(head, _)| head.starts_with("HTTP/1.1 200"))
}
