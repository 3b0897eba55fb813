//! What the whole daemon does: `put` and `get` of a file between two daemons on
//! loopback, time from exec to ready, memory of an idle node and of idle
//! connections, how long `/metrics` takes then, for one scraper and for 50, and what
//! a node with many roots costs and announces.
//!
//! `cargo bench --bench daemon [-- WHAT] [OPTIONS]`; WHAT is `transfer`, `start`,
//! `idle`, `roots` or several; all is the default.
//!
//! | option | default | |
//! |---|---|---|
//! | `--mib N` | 1024 | size of the file |
//! | `--rounds N` | 3 | repetitions of each transfer |
//! | `--starts N` | 20 | starts of each kind |
//! | `--connections A,B` | `100,500` | idle connections to one node, growing |
//! | `--peers KIND` | `bare` | what connects: `bare` or `full` |
//! | `--roots N` | 100000 | roots of the node that announces |
//! | `--receivers N` | 2 | daemons that it announces them to |
//! | `--transports A,B` | `tcp,quic` | what the daemons talk over; `idle` has `tcp-noise` too |
//! | `--node PATH` | the one just built | another `p2p-node`, to compare with |
//! | `--twin PATH` | built in `benches/twin` | the program of the raw streams |
//! | `--dir PATH` | under `target/` | where the data lies; needs five times the file's size |
//!
//! Beside each transfer runs the raw stream of the same transport
//! (`benches/twin`, built when it is not there yet), a plain TCP copy, and a
//! plain copy of the file that is flushed to disk as `get` flushes its own.

#[path = "../../tests/common/mod.rs"]
mod common;
mod idle;
mod node;
mod roots;
mod scrape;
mod start;
mod transfer;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What to measure, and with what.
pub(crate) struct Options {
    pub(crate) mib: u64,
    pub(crate) rounds: usize,
    pub(crate) starts: usize,
    pub(crate) connections: Vec<usize>,
    /// Whether the peers of idle connections speak of DHT and gossip.
    pub(crate) full: bool,
    pub(crate) roots: u64,
    pub(crate) receivers: usize,
    pub(crate) transports: Vec<String>,
    pub(crate) node: PathBuf,
    pub(crate) twin: Option<PathBuf>,
    pub(crate) dir: PathBuf,
}

fn main() -> Result<()> {
    let mut options = Options {
        mib: 1024,
        rounds: 3,
        starts: 20,
        connections: vec![100, 500],
        full: false,
        roots: 100_000,
        receivers: 2,
        transports: vec!["tcp".into(), "quic".into()],
        node: common::program(),
        twin: None,
        dir: env!("CARGO_TARGET_TMPDIR").into(),
    };
    let mut what = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            // cargo bench adds it.
            "--bench" => {}
            "--mib" => options.mib = value()?.parse()?,
            "--rounds" => options.rounds = value()?.parse()?,
            "--starts" => options.starts = value()?.parse()?,
            "--connections" => {
                let sizes: std::result::Result<Vec<usize>, _> =
                    value()?.split(',').map(str::parse).collect();
                options.connections = sizes.map_err(|e| format!("--connections: {e}"))?;
                if !options.connections.is_sorted_by(|a, b| a < b) {
                    return Err("--connections must grow".into());
                }
            }
            "--peers" => {
                options.full = match value()?.as_str() {
                    "bare" => false,
                    "full" => true,
                    other => return Err(format!("unknown kind of peers {other}").into()),
                };
            }
            "--roots" => options.roots = value()?.parse()?,
            "--receivers" => options.receivers = value()?.parse()?,
            "--transports" => {
                options.transports = value()?.split(',').map(str::to_owned).collect();
            }
            "--node" => options.node = value()?.into(),
            "--twin" => options.twin = Some(value()?.into()),
            "--dir" => options.dir = value()?.into(),
            "transfer" | "start" | "idle" | "roots" => what.push(arg),
            _ => return Err(format!("unknown argument {arg}").into()),
        }
    }
    let scratch = options
        .dir
        .join(format!("daemon-bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    options.dir = scratch.clone();
    println!("{}\n", machine()?);
    let wanted = |name: &str| what.is_empty() || what.iter().any(|w| w == name);
    let measured = (|| {
        if wanted("transfer") {
            transfer::measure(&options)?;
        }
        if wanted("start") {
            start::measure(&options)?;
        }
        if wanted("idle") {
            idle::measure(&options)?;
        }
        if wanted("roots") {
            roots::measure(&options)?;
        }
        Ok(())
    })();
    std::fs::remove_dir_all(&scratch)?;
    measured
}

/// Cores, processor, kernel, and how busy the machine is with other work.
fn machine() -> Result<String> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split(": ").nth(1))
        .unwrap_or("an unnamed processor");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    Ok(format!(
        "{} cores of {model}, Linux {}; load before {}.",
        std::thread::available_parallelism()?,
        kernel.trim(),
        load.split(' ').next().unwrap_or_default()
    ))
}

/// Smallest, middle and largest.
pub(crate) fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.as_slice() {
        [] => (f64::NAN, f64::NAN, f64::NAN),
        [first, .., last] => (*first, values[middle], *last),
        [only] => (*only, *only, *only),
    }
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
