//! What a node with many roots costs: time until it knows what to announce, memory,
//! CPU, and how fast it goes through them.
//!
//! Its receivers are daemons too. In a network of up to twenty nodes each record goes
//! to all of them, so that two show the same pace as twenty: a receiver's pace is what
//! bounds it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cid::Cid;
use multihash::Multihash;
use p2p_node::store::Metrics;
use p2p_node::store::{Options as StoreOptions, Root, Store};
use p2p_node::telemetry::Register as _;
use sha2::{Digest, Sha256};

use crate::node::Daemon;
use crate::{Options, Result, ms, scrape};

const LISTEN: &str = "/ip4/127.0.0.1/tcp/0";

/// How long a node is left alone before it is looked at.
const IDLE: Duration = Duration::from_secs(10);

/// For how long CPU and pace are taken.
const WATCHED: Duration = Duration::from_secs(60);

/// Far longer than reading any table takes.
const DEADLINE: Duration = Duration::from_secs(300);

/// Announcements that have ended, by how they did.
const ENDED: &str = "p2p_announcements_total";

pub(crate) fn measure(options: &Options) -> Result<()> {
    let home = options.dir.join("roots");
    let data = home.join("data");
    let begun = Instant::now();
    fill(&data, options.roots)?;
    println!(
        "{} roots written in {:.0} s; {} receivers.\n",
        options.roots,
        begun.elapsed().as_secs_f64(),
        options.receivers
    );
    println!(
        "| node | exec to ready, ms | all roots scheduled after, ms | MiB resident after {} s | of it anonymous | CPU, s in a minute | announced in a minute: ok | unverified | failed | waiting then | late, s | MiB resident then | of it anonymous |",
        IDLE.as_secs()
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let empty = options.dir.join("no-roots");
    row(options, "no root, no peer", &empty, 0, None)?;
    let n = options.roots;
    row(options, "never announced, no peer", &home, n, None)?;

    let mut receivers: Vec<Daemon> = Vec::new();
    let mut entry: Option<String> = None;
    for at in 0..options.receivers {
        let home = options.dir.join(format!("receiver{at}"));
        let daemon = Daemon::start(options, &home, LISTEN, entry.as_deref())?;
        if entry.is_none() {
            entry = Some(daemon.address()?);
        }
        receivers.push(daemon);
    }
    let entry = entry.as_deref();
    row(options, "no root", &empty, 0, entry)?;
    row(options, "never announced", &home, n, entry)?;
    all_announced(&data)?;
    row(options, "all announced before", &home, 0, entry)?;
    println!();
    Ok(())
}

/// A start of the node in `home`, of whose roots `due` wait then.
fn row(
    options: &Options,
    name: &str,
    home: &Path,
    due: u64,
    bootstrap: Option<&str>,
) -> Result<()> {
    // What earlier runs wrote is not this start's work.
    nix::unistd::sync();
    let begun = Instant::now();
    let node = Daemon::start(options, home, LISTEN, bootstrap)?;
    let ready = node.start;
    let scheduled = loop {
        // Some may have been announced since the start.
        let ended = metric(&node, ENDED)? as u64;
        if waiting(&node)?.0 + ended >= due {
            break begun.elapsed();
        }
        if begun.elapsed() > DEADLINE {
            return Err("the roots are not scheduled".into());
        }
    };
    let scheduled = match due {
        0 => "-".to_owned(),
        _ => format!("{:.0}", ms(scheduled)),
    };
    if bootstrap.is_some() {
        node.wait_for_peer()?;
    }
    std::thread::sleep(IDLE);
    let (resident, anonymous) = (node.memory("VmRSS"), node.memory("RssAnon"));
    let results = ["ok", "unverified", "failed"];
    let counts = || -> Result<Vec<f64>> {
        let of = |result: &&str| metric(&node, &format!("{ENDED}{{result=\"{result}\"}}"));
        results.iter().map(of).collect()
    };
    let (cpu, before) = (node.cpu(), counts()?);
    std::thread::sleep(WATCHED);
    let (cpu, after) = (node.cpu() - cpu, counts()?);
    let announced: Vec<String> = before
        .iter()
        .zip(&after)
        .map(|(before, after)| format!("{:.0}", after - before))
        .collect();
    let (waiting, late) = waiting(&node)?;
    println!(
        "| {name} | {:.0} | {scheduled} | {:.1} | {:.1} | {cpu:.2} | {} | {waiting} | {late:.0} | {:.1} | {:.1} |",
        ms(ready),
        resident / 1024.0,
        anonymous / 1024.0,
        announced.join(" | "),
        node.memory("VmRSS") / 1024.0,
        node.memory("RssAnon") / 1024.0,
    );
    node.stop()
}

/// Roots that wait, and for how many seconds the most overdue has.
fn waiting(node: &Daemon) -> Result<(u64, f64)> {
    let (status, ..) = node.run(&["--json", "status"])?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    let told = &status["announcements"];
    let waiting = told["waiting"].as_u64().ok_or("status tells no backlog")?;
    let late = told["lateness_seconds"].as_f64();
    Ok((waiting, late.ok_or("status tells no lateness")?))
}

/// The sum of the metric's values, of which a name with a label has one.
fn metric(node: &Daemon, name: &str) -> Result<f64> {
    let mut sum = 0.0;
    for line in scrape::page(node.http)?.lines() {
        if let Some((_, value)) = line.rsplit_once(' ').filter(|_| line.starts_with(name)) {
            sum += value.parse::<f64>()?;
        }
    }
    Ok(sum)
}

fn open(data: &Path) -> Result<Store> {
    let limits = StoreOptions {
        max_bytes: 64 << 30,
        max_block_bytes: 2 << 20,
    };
    Ok(Store::open(data, limits, Metrics::new()?)?)
}

/// Small files, each of one block. They are written in memory and copied: a root is
/// flushed when it is put, and so many flushes take a disk minutes.
fn fill(data: &Path, roots: u64) -> Result<()> {
    let memory = Path::new("/dev/shm").join(format!("roots-{}", std::process::id()));
    let filled = (|| {
        std::fs::create_dir_all(&memory)?;
        let store = open(&memory)?;
        for n in 0..roots {
            let mut block = [0x5a; 300];
            block[..8].copy_from_slice(&n.to_le_bytes());
            let hash = Multihash::<64>::wrap(0x12, &Sha256::digest(block))?;
            let cid = Cid::new_v1(0x55, hash);
            let mut batch = store.batch()?;
            batch.put(&cid, &block)?;
            batch.commit(Some(Root {
                cid,
                size: 300,
                blocks: 1,
                pinned: true,
                put_at: SystemTime::now(),
                expires_at: None,
                name: Some(format!("file {n}")),
            }))?;
        }
        drop(store);
        std::fs::create_dir_all(data)?;
        let copied = Command::new("cp")
            .arg("-a")
            .arg(memory.join("."))
            .arg(data)
            .status()?;
        copied.success().then_some(()).ok_or("the copy failed")?;
        Ok(())
    })();
    std::fs::remove_dir_all(&memory)?;
    filled
}

/// As if every root had been announced just now: each is due again at its turn within
/// the next round.
fn all_announced(data: &Path) -> Result<()> {
    let store = open(data)?;
    let now = SystemTime::now();
    let at = u64::try_from(now.duration_since(UNIX_EPOCH)?.as_millis())?;
    let all: Vec<_> = store
        .live_roots(now)?
        .into_iter()
        .map(|cid| (cid, at))
        .collect();
    Ok(store.save_announcements(&all, &[])?)
}
