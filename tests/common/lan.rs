//! Hosts in network namespaces of their own, joined by a bridge that is in a namespace
//! too, so that the network of this machine is not changed. This needs root and
//! iproute2.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Namespaces on one bridge, removed when dropped.
pub(crate) struct Lan {
    names: Vec<String>,
}

/// Runs `ip` with these arguments.
pub(crate) fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip")
        .args(args)
        .output()
        .map_err(|e| format!("ip: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "ip {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

impl Lan {
    /// Takes host `n` off the bridge: what it sends and what is sent to it is lost,
    /// and neither side is told.
    pub(crate) fn cut(&self, n: usize) {
        self.set_port(n, "down");
    }

    /// Puts it back.
    pub(crate) fn heal(&self, n: usize) {
        self.set_port(n, "up");
    }

    fn set_port(&self, n: usize, state: &str) {
        let port = format!("p{n}");
        ip(&["-n", &self.names[0], "link", "set", &port, state]).unwrap();
    }

    /// Hosts 1 to `hosts`; host N has the address 192.0.2.N.
    ///
    /// # Panics
    /// With `LAN=required` in the environment, where it cannot be made.
    pub(crate) fn new(hosts: usize) -> Result<Lan, String> {
        Lan::make(hosts).inspect_err(|why| {
            let required = std::env::var_os("LAN").is_some();
            assert!(!required, "cannot make hosts: {why}");
        })
    }

    /// The same, for a test that passes where no hosts can be made, and says so.
    pub(crate) fn if_possible(hosts: usize) -> Option<Lan> {
        Lan::new(hosts)
            .inspect_err(|why| println!("passed over: cannot make hosts: {why}"))
            .ok()
    }

    fn make(hosts: usize) -> Result<Lan, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("network namespaces need root".into());
        }
        // Tests of one process run beside each other.
        static LANS: AtomicUsize = AtomicUsize::new(0);
        let n = LANS.fetch_add(1, Ordering::Relaxed);
        let tag = format!("p2p{}l{n}", std::process::id());
        let switch = format!("{tag}s");
        ip(&["netns", "add", &switch])?;
        let mut lan = Lan {
            names: vec![switch.clone()],
        };
        ip(&["-n", &switch, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "br0", "up"])?;
        for n in 1..=hosts {
            let host = format!("{tag}h{n}");
            ip(&["netns", "add", &host])?;
            lan.names.push(host.clone());
            let port = format!("p{n}");
            ip(&[
                "-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0",
                "netns", &host,
            ])?;
            ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"])?;
            ip(&[
                "-n",
                &host,
                "addr",
                "add",
                &format!("192.0.2.{n}/24"),
                "dev",
                "eth0",
            ])?;
            ip(&["-n", &host, "link", "set", "eth0", "up"])?;
            ip(&["-n", &host, "link", "set", "lo", "up"])?;
        }
        Ok(lan)
    }

    /// The namespace of host `n`.
    pub(crate) fn host(&self, n: usize) -> &str {
        &self.names[n]
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = ip(&["netns", "del", name]);
        }
    }
}
