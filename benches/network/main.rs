//! A network of hundreds to thousands of nodes in one process: what of the main
//! job succeeds in it, how long it takes, and what a node costs.
//!
//! `cargo bench --bench network [-- OPTIONS]`. Each node is the daemon's own: event
//! loop, policy for peers, fetch, gossip and store. Only what is below the multiplexer is
//! the harness's: bytes travel in memory (`wire.rs`), and peers are believed who they
//! are (`plain.rs`) unless `--noise` is given.
//!
//! | option | default | |
//! |---|---|---|
//! | `--nodes N,M` | 30 | sizes of networks, one after another |
//! | `--scenario A,B` | all | what is done to them; see the table below |
//! | `--gets N` | 200 | gets, and lookups, of each scenario |
//! | `--messages N` | 200 | gossip messages of each scenario |
//! | `--members N` | all | how many nodes are on the topic of the messages |
//! | `--bytes N` | 300000 | size of a file |
//! | `--at-once N` | 1 | gets at the same time |
//! | `--quiet SECONDS` | 120 | how long nobody does anything, once before it is measured and once while it is |
//! | `--churn SECONDS` | 180 | how long a tenth of the nodes is replaced each minute |
//! | `--part SECONDS` | 120 | how long half of the network is cut off |
//! | `--bootstraps N` | 3 | bootstrap nodes, part of the network's size |
//! | `--ids N,M` | 48 | ids of an attacker around a key, one number after another |
//! | `--latency MS` | 0 | how long a byte is under way |
//! | `--noise` | | Noise on every connection |
//! | `--set NAME=VALUE` | | a line of every node's environment file |
//! | `--seed N` | 1 | other choices of nodes and keys |
//! | `--dir PATH` | `/dev/shm` | where the stores lie, a folder in memory |
//! | `--csv PATH` | | puts the figures into a file, in place of the same ones |
//! | `--plot CSV SVG` | | draws the figures of a file, and nothing else |
//!
//! | scenario | what is done |
//! |---|---|
//! | `join` | a few nodes come one after another, the rest all at once |
//! | `quiet` | nothing, then one get and one message |
//! | `lookup` | random keys are looked up in the DHT |
//! | `content` | files are put and got between random nodes |
//! | `eclipse` | ids of an attacker lie around keys, on one host, in one /24 and in 16 subnets |
//! | `gossip` | messages from random members of a topic to all |
//! | `partition` | half of the nodes are cut off for a while |
//! | `churn` | 10% of the nodes are replaced each minute, with content and gossip |
//! | `kill` | 30% of the nodes end at once, and content is exchanged |
//! | `restart` | all stop and start at once, and content is exchanged |
//! | `orphan` | the bootstrap nodes end for good, and content is exchanged |

mod chance;
mod host;
mod peer;
mod pipe;
mod plain;
mod plot;
mod report;
mod scenario;
mod suite;
mod sybil;
mod usage;
mod wire;
mod world;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Longer than anything takes that happens at all.
pub(crate) const DEADLINE: Duration = Duration::from_secs(600);

/// The patience of a get: that of the daemon.
pub(crate) const PATIENCE: Option<Duration> = None;

/// The scenarios in their order.
pub(crate) const SCENARIOS: [&str; 11] = [
    "join",
    "quiet",
    "lookup",
    "content",
    "eclipse",
    "gossip",
    "partition",
    "churn",
    "kill",
    "restart",
    "orphan",
];

fn main() -> Result<()> {
    let mut sizes = vec![30];
    let mut options = suite::Options {
        scenarios: SCENARIOS.map(str::to_owned).to_vec(),
        gets: 200,
        messages: 200,
        members: None,
        ids: vec![48],
        bytes: 300_000,
        at_once: 1,
        quiet: Duration::from_secs(120),
        churn: Duration::from_secs(180),
        part: Duration::from_secs(120),
        settings: world::Settings {
            bootstraps: 3,
            noise: false,
            latency: Duration::ZERO,
            dir: "/dev/shm".into(),
            seed: 1,
            variables: Vec::new(),
        },
    };
    let mut csv: Option<PathBuf> = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        let seconds = |text: String| text.parse().map(Duration::from_secs);
        match arg.as_str() {
            // cargo bench adds it.
            "--bench" => {}
            "--nodes" => {
                let list = value()?;
                sizes = list
                    .split(',')
                    .map(str::parse)
                    .collect::<std::result::Result<_, _>>()?;
            }
            "--scenario" => match &*value()? {
                "all" => {}
                list => options.scenarios = list.split(',').map(str::to_owned).collect(),
            },
            "--gets" => options.gets = value()?.parse()?,
            "--messages" => options.messages = value()?.parse()?,
            "--members" => options.members = Some(value()?.parse()?),
            "--ids" => {
                let list = value()?;
                options.ids = list
                    .split(',')
                    .map(str::parse)
                    .collect::<std::result::Result<_, _>>()?;
            }
            "--bytes" => options.bytes = value()?.parse()?,
            "--at-once" => options.at_once = value()?.parse()?,
            "--quiet" => options.quiet = seconds(value()?)?,
            "--churn" => options.churn = seconds(value()?)?,
            "--part" => options.part = seconds(value()?)?,
            "--bootstraps" => options.settings.bootstraps = value()?.parse()?,
            "--latency" => options.settings.latency = Duration::from_millis(value()?.parse()?),
            "--noise" => options.settings.noise = true,
            "--set" => {
                let line = value()?;
                let (name, value) = line.split_once('=').ok_or("--set needs NAME=VALUE")?;
                let name = p2p_node::config::Variable::find(name).ok_or("no such variable")?;
                options.settings.variables.push((name.name, value.into()));
            }
            "--seed" => options.settings.seed = value()?.parse()?,
            "--dir" => options.settings.dir = value()?.into(),
            "--csv" => csv = Some(value()?.into()),
            "--plot" => {
                let (from, to) = (value()?, value()?);
                let rows = report::load(from.as_ref())?;
                std::fs::write(to, plot::draw(&rows))?;
                println!("{}", report::table(&rows));
                return Ok(());
            }
            _ => return Err(format!("unknown argument {arg}").into()),
        }
    }
    if let Some(unknown) = options
        .scenarios
        .iter()
        .find(|s| !SCENARIOS.contains(&s.as_str()))
    {
        return Err(format!("no scenario {unknown}; there are {SCENARIOS:?}").into());
    }
    p2p_node::system::rlimits::raise_descriptors()?;
    p2p_node::system::allocator::keep_large_blocks_apart();
    let load = std::fs::read_to_string("/proc/loadavg")?;
    println!(
        "load before {}\n",
        load.split(' ').next().unwrap_or_default()
    );
    let mut rows = Vec::new();
    for size in sizes {
        let figures = async_std::task::block_on(suite::measure(size, &options))?;
        if let Some(csv) = &csv {
            report::save(csv, &figures)?;
        }
        rows.extend(figures);
    }
    println!("{}", report::table(&rows));
    Ok(())
}
