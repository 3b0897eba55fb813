//! The attacker's own process: this program again, at low priority, and in a
//! network namespace if the attack needs addresses. It stops by itself when
//! its time is over or when the test has ended.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};

use crate::attacks;

/// The variable that carries the order to the attacker's process.
const ORDER: &str = "HOSTILE_ORDER";

/// What an attacker is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Name of the attack, see [`attacks::run`].
    pub(crate) attack: String,
    /// The victim's address, with its peer id.
    pub(crate) target: Multiaddr,
    /// How long it goes on at most.
    pub(crate) seconds: u64,
    /// How many of whatever it makes.
    pub(crate) count: usize,
    /// What else it has to know.
    pub(crate) more: Vec<String>,
}

/// What an attacker counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<Mutex<BTreeMap<String, u64>>>);

impl Tally {
    pub(crate) fn add(&self, what: &str, n: u64) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *map.entry(what.to_owned()).or_default() += n;
    }

    /// Keeps the largest.
    pub(crate) fn most(&self, what: &str, n: u64) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = map.entry(what.to_owned()).or_default();
        *value = n.max(*value);
    }

    /// Adds another attacker's counts.
    pub(crate) fn join(&self, other: &Tally) {
        let map = other.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (what, n) in map.iter() {
            self.add(what, *n);
        }
    }

    pub(crate) fn get(&self, what: &str) -> u64 {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(what).copied().unwrap_or(0)
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let list: Vec<_> = map.iter().map(|(k, v)| format!("{v} {k}")).collect();
        f.write_str(&list.join(", "))
    }
}

/// An attacker that runs.
pub(crate) struct Attacker {
    child: Child,
}

impl Attacker {
    pub(crate) fn start(order: &Order, namespace: Option<&str>) -> Attacker {
        let program = std::env::current_exe().unwrap();
        let mut command = match namespace {
            Some(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name, "nice", "-n", "10"]);
                command
            }
            None => {
                let mut command = Command::new("nice");
                command.args(["-n", "10"]);
                command
            }
        };
        let child = command
            .arg(program)
            .args(["--ignored", "--exact", "process::attacker", "--nocapture"])
            .env(ORDER, serde_json::to_string(order).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Attacker { child }
    }

    /// Waits until its time is over; what it counted.
    pub(crate) fn finish(mut self) -> Tally {
        let tally = Tally::default();
        let stdout = self.child.stdout.take().unwrap();
        for line in BufReader::new(stdout).lines() {
            let line = line.unwrap();
            if let Some(json) = line.strip_prefix('@') {
                let counts: BTreeMap<String, u64> = serde_json::from_str(json).unwrap();
                for (what, n) in counts {
                    tally.add(&what, n);
                }
            }
        }
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the attacker's process ended: {status}");
        tally
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "the attacker's own process, which the other tests start"]
fn attacker() {
    let order = std::env::var(ORDER).unwrap_or_else(|_| panic!("{ORDER} has no order"));
    let order: Order = serde_json::from_str(&order).unwrap();
    // The test that started it has ended when its end of the pipe has.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
    let tally = Tally::default();
    let time = Duration::from_secs(order.seconds);
    let attack = attacks::run(order, tally.clone());
    // Most attacks go on until their time is over.
    let _ = async_std::task::block_on(async_std::future::timeout(time, attack));
    let counts = serde_json::to_string(&*tally.0.lock().unwrap()).unwrap();
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n@{counts}").unwrap();
    out.flush().unwrap();
    std::process::exit(0);
}
