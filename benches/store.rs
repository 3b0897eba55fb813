//! What the store costs: writing and reading blocks beside a plain file, and
//! opening with 100,000 blocks, after a clean stop and after a kill.
//!
//! `cargo bench --bench store [-- DIR]`; DIR is where the data goes, a fresh
//! folder under the current one by default, so that it is a real disk.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use cid::Cid;
use multihash::Multihash;
use p2p_node::{
    store::Metrics,
    store::{Options, Root, Store},
    system::memory,
    telemetry::Register as _,
};
use sha2::{Digest, Sha256};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const ROUNDS: usize = 3;
const MANY: u64 = 100_000;

fn block(n: u64, len: usize) -> Result<(Cid, Vec<u8>)> {
    let mut data = vec![0x5a; len.max(8)];
    data[..8].copy_from_slice(&n.to_le_bytes());
    let cid = Cid::new_v1(0x55, Multihash::<64>::wrap(0x12, &Sha256::digest(&data))?);
    Ok((cid, data))
}

fn open(dir: &Path) -> Result<Store> {
    let options = Options {
        max_bytes: 64 << 30,
        max_block_bytes: 2 << 20,
    };
    Ok(Store::open(dir, options, Metrics::new()?)?)
}

fn root(cid: Cid, blocks: u64) -> Root {
    let now = SystemTime::now();
    Root {
        cid,
        size: 0,
        blocks,
        pinned: true,
        put_at: now,
        expires_at: None,
        name: None,
    }
}

/// Puts `blocks` under one root; durable when it returns.
fn put(store: &Store, blocks: &[(Cid, Vec<u8>)]) -> Result<()> {
    let mut batch = store.batch()?;
    for (cid, data) in blocks {
        batch.put(cid, data)?;
    }
    batch.commit(Some(root(blocks[0].0, blocks.len() as u64)))?;
    Ok(())
}

fn time(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Store and plain file in turn, `ROUNDS` times.
fn transfer(base: &Path, count: u64, len: usize) -> Result<()> {
    let blocks = (0..count)
        .map(|n| block(n, len))
        .collect::<Result<Vec<_>>>()?;
    let [mut write, mut read, mut plain_write, mut plain_read] = [const { Vec::new() }; 4];
    for round in 0..ROUNDS {
        let dir = base.join(format!("transfer-{len}-{round}"));
        let store = open(&dir)?;
        write.push(time(|| put(&store, &blocks))?);
        read.push(time(|| {
            for (cid, _) in &blocks {
                store.get(cid)?.ok_or("a block is missing")?;
            }
            Ok(())
        })?);
        drop(store);
        fs::remove_dir_all(&dir)?;

        let path = base.join("plain");
        plain_write.push(time(|| {
            let mut file = File::create(&path)?;
            for (_, data) in &blocks {
                file.write_all(data)?;
            }
            Ok(file.sync_all()?)
        })?);
        plain_read.push(time(|| {
            let mut file = File::open(&path)?;
            for (_, data) in &blocks {
                file.read_exact(&mut vec![0; data.len()])?;
            }
            Ok(())
        })?);
        fs::remove_file(&path)?;
    }
    println!(
        "| {count} x {len} B | {:.0} | {:.0} | {:.1} | {:.1} |",
        ms(median(write)),
        ms(median(plain_write)),
        ms(median(read)),
        ms(median(plain_read))
    );
    Ok(())
}

/// Runs this program again with `mode` and returns what it prints.
fn again(mode: &str, dir: &Path) -> Result<String> {
    let output = Command::new(std::env::current_exe()?)
        .arg(mode)
        .arg(dir)
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

fn fill(dir: &Path) -> Result<()> {
    let store = open(dir)?;
    // A hundred roots of a thousand blocks, as a host with many files has them.
    for first in (0..MANY).step_by(1000) {
        let blocks = (first..first + 1000)
            .map(|n| block(n, 300))
            .collect::<Result<Vec<_>>>()?;
        put(&store, &blocks)?;
    }
    Ok(())
}

/// Dies in the middle of a batch, as by kill -9.
fn die(dir: &Path) -> Result<()> {
    let store = open(dir)?;
    put(&store, &[block(MANY * 2, 300)?])?;
    let mut batch = store.batch()?;
    let (cid, data) = block(MANY * 3, 300)?;
    batch.put(&cid, &data)?;
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL)?;
    Ok(())
}

fn opened(dir: &Path) -> Result<()> {
    let before = memory::resident()?;
    let start = Instant::now();
    let store = open(dir)?;
    let elapsed = start.elapsed();
    let after = memory::resident()?;
    println!(
        "{:.1} ms, {} blocks, {:.1} MiB resident more than before, {:.1} in all",
        ms(elapsed),
        store.usage().blocks,
        (after.saturating_sub(before)) as f64 / f64::from(1 << 20),
        after as f64 / f64::from(1 << 20)
    );
    Ok(())
}

fn main() -> Result<()> {
    // cargo bench adds --bench.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["open", dir] => return opened(Path::new(dir)),
        ["die", dir] => return die(Path::new(dir)),
        _ => {}
    }
    let base = args
        .first()
        .map_or_else(|| PathBuf::from("."), PathBuf::from);
    let base = base.join(format!("store-bench-{}", std::process::id()));
    fs::create_dir_all(&base)?;

    println!("| blocks | store, write ms | plain file | store, read ms | plain file |");
    println!("|---|---|---|---|---|");
    transfer(&base, 300, 1 << 20)?;
    transfer(&base, 3000, 4096)?;
    transfer(&base, 3000, 300)?;

    let dir = base.join("many");
    println!(
        "\nfilling with {MANY} blocks took {:.1} s",
        time(|| fill(&dir))?.as_secs_f64()
    );
    let database = fs::metadata(dir.join("store.redb"))?.len();
    println!("the database has {} MiB", database >> 20);
    println!(
        "opening an empty store: {}",
        again("open", &base.join("empty"))?
    );
    println!("opening it, clean:      {}", again("open", &dir)?);
    again("die", &dir)?;
    println!("opening it, killed:     {}", again("open", &dir)?);
    let store = open(&dir)?;
    println!("scrub: {:.1} ms", ms(time(|| Ok(store.scrub()?))?));
    println!(
        "sweep: {:.1} ms",
        ms(time(|| store
            .sweep(SystemTime::now(), Instant::now())
            .map(drop)
            .map_err(Into::into))?)
    );
    let first = block(0, 300)?.0;
    println!(
        "removing a root of 1000: {:.1} ms",
        ms(time(|| Ok(store.remove_root(&first).map(drop)?))?)
    );
    drop(store);
    fs::remove_dir_all(&base)?;
    Ok(())
}
