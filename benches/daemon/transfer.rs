//! `put` and `get` of a file, beside what carries them.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::node::Daemon;
use crate::{Options, Result, spread};

/// MB/s and CPU seconds of each party, by round.
#[derive(Default)]
struct Runs {
    rates: Vec<f64>,
    cpu: Vec<Vec<f64>>,
}

impl Runs {
    fn add(&mut self, rate: f64, cpu: &[f64]) {
        self.rates.push(rate);
        self.cpu.push(cpu.to_vec());
    }

    fn rate(&self) -> f64 {
        spread(self.rates.clone()).1
    }

    fn rates(&self) -> String {
        let (min, median, max) = spread(self.rates.clone());
        format!("{median:.0} ({min:.0} to {max:.0})")
    }

    fn cpu(&self) -> String {
        let parties = self.cpu.first().map_or(0, Vec::len);
        let medians = (0..parties).map(|party| {
            let (_, median, _) = spread(self.cpu.iter().map(|run| run[party]).collect());
            format!("{median:.2}")
        });
        medians.collect::<Vec<_>>().join(" + ")
    }
}

#[derive(Default)]
struct Row {
    raw: Runs,
    put: Runs,
    get: Runs,
}

pub(crate) fn measure(options: &Options) -> Result<()> {
    let twin = options.twin.clone().map_or_else(twin, Ok)?;
    let input = options.dir.join("input");
    make_input(&input, options.mib << 20)?;
    let bytes = options.mib << 20;
    let mut rows: Vec<(String, Row)> = options
        .transports
        .iter()
        .map(|name| (name.clone(), Row::default()))
        .collect();
    let (mut copy, mut plain) = (Runs::default(), Runs::default());
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        copy.add(copy_file(&input, &options.dir.join("copy"))?, &[]);
        let (rate, cpu) = raw(&twin, &["--stack=plain"], bytes)?;
        plain.add(rate, &cpu);
        for (name, row) in &mut rows {
            let transport = match name.as_str() {
                "tcp" => "--transport=tcp-tls",
                "quic" => "--transport=quic",
                other => return Err(format!("unknown transport {other}").into()),
            };
            let (rate, cpu) = raw(&twin, &["--stack=ours", transport], bytes)?;
            row.raw.add(rate, &cpu);
            put_and_get(options, name, &input, row)?;
        }
    }
    println!(
        "| {} MiB, MB/s: median (min to max) of {} | raw stream | `put` | `get -o` | `get`/raw |",
        options.mib, options.rounds
    );
    println!("|---|---|---|---|---|");
    for (name, row) in &rows {
        println!(
            "| {name} | {} | {} | {} | {:.0}% |",
            row.raw.rates(),
            row.put.rates(),
            row.get.rates(),
            row.get.rate() / row.raw.rate() * 100.0
        );
    }
    println!("| plain TCP copy | {} | | | |", plain.rates());
    println!(
        "| plain copy of the file, flushed | | | {} | |",
        copy.rates()
    );
    println!();
    println!(
        "| CPU s, medians | raw: sender + receiver | `put`: daemon + command | `get`: provider + fetcher + command |"
    );
    println!("|---|---|---|---|");
    for (name, row) in &rows {
        println!(
            "| {name} | {} | {} | {} |",
            row.raw.cpu(),
            row.put.cpu(),
            row.get.cpu()
        );
    }
    println!("| plain TCP copy | {} | | |", plain.cpu());
    println!();
    Ok(())
}

/// A fresh pair of daemons, one `put`, one `get` found through the DHT.
fn put_and_get(options: &Options, name: &str, input: &Path, row: &mut Row) -> Result<()> {
    let listen = match name {
        "quic" => "/ip4/127.0.0.1/udp/0/quic-v1",
        _ => "/ip4/127.0.0.1/tcp/0",
    };
    let homes = [options.dir.join("provider"), options.dir.join("fetcher")];
    let provider = Daemon::start(options, &homes[0], listen, None)?;
    let fetcher = Daemon::start(options, &homes[1], listen, Some(&provider.address()?))?;
    fetcher.wait_for_peer()?;
    provider.wait_for_peer()?;

    let mb = (options.mib << 20) as f64 / 1e6;
    let path = input.to_str().ok_or("the folder's name is not UTF-8")?;
    warm(options.mib << 21)?;
    let before = provider.cpu();
    let (cid, took, command) = provider.run(&["put", path])?;
    row.put
        .add(mb / took.as_secs_f64(), &[provider.cpu() - before, command]);

    let output = options.dir.join("output");
    let path = output.to_str().ok_or("the folder's name is not UTF-8")?;
    // A copy in the store and one in the file.
    warm(3 * (options.mib << 20))?;
    let before = [provider.cpu(), fetcher.cpu()];
    let (_, took, command) = fetcher.run(&["get", &cid, "-o", path])?;
    row.get.add(
        mb / took.as_secs_f64(),
        &[
            provider.cpu() - before[0],
            fetcher.cpu() - before[1],
            command,
        ],
    );
    same(input, &output)?;
    provider.stop()?;
    fetcher.stop()?;
    std::fs::remove_file(&output)?;
    for home in homes {
        std::fs::remove_dir_all(home)?;
    }
    Ok(())
}

/// The program that moves bytes over a raw stream.
fn twin() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/twin");
    eprintln!("building benches/twin, which takes minutes the first time");
    let built = Command::new("cargo")
        .args(["build", "--release", "--quiet"])
        .current_dir(&folder)
        // Ours is the bench's.
        .env_remove("CARGO_TARGET_DIR")
        .status()?;
    if !built.success() {
        return Err("benches/twin does not build".into());
    }
    Ok(folder.join("target/release/twin"))
}

/// MB/s and the CPU seconds of sender and receiver.
fn raw(twin: &Path, args: &[&str], bytes: u64) -> Result<(f64, Vec<f64>)> {
    let output = Command::new(twin)
        .args(args)
        .args(["run", "transfer", &bytes.to_string()])
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let values = |name: &str| -> Vec<f64> {
        let fields = text.split_whitespace().filter_map(|f| f.strip_prefix(name));
        fields.filter_map(|value| value.parse().ok()).collect()
    };
    let rate = values("MB/s=").first().copied();
    Ok((rate.ok_or("the twin measured nothing")?, values("cpu_s=")))
}

/// Has the system find `bytes` of memory and lets go of them. The host of a
/// virtual machine may have taken free memory back, and to get it again costs
/// more than the transfer itself (measured: two CPU seconds a GiB instead of a
/// third of one), which would be charged to whoever writes a file first.
fn warm(bytes: u64) -> Result<()> {
    nix::unistd::sync();
    let mut memory = vec![0_u8; usize::try_from(bytes)?];
    for page in memory.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(&memory);
    Ok(())
}

/// MB/s of reading a file and writing another, flushed.
fn copy_file(from: &Path, to: &Path) -> Result<f64> {
    warm(from.metadata()?.len() * 2)?;
    let begun = Instant::now();
    let (mut input, mut output) = (File::open(from)?, File::create(to)?);
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        let n = input.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        output.write_all(&buffer[..n])?;
        total += n;
    }
    output.sync_all()?;
    let rate = total as f64 / 1e6 / begun.elapsed().as_secs_f64();
    std::fs::remove_file(to)?;
    Ok(rate)
}

/// Bytes without equal chunks, which the store would keep once.
fn make_input(path: &Path, bytes: u64) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut x = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..bytes / 8 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        file.write_all(&x.to_le_bytes())?;
    }
    file.flush()?;
    Ok(())
}

fn same(one: &Path, other: &Path) -> Result<()> {
    let mut files = [
        BufReader::with_capacity(1 << 20, File::open(one)?),
        BufReader::with_capacity(1 << 20, File::open(other)?),
    ];
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let n = files[0].read(&mut a)?;
        files[1].read_exact(&mut b[..n])?;
        if a[..n] != b[..n] {
            return Err("what was fetched differs from what was put".into());
        }
        if n == 0 {
            return match files[1].read(&mut b)? {
                0 => Ok(()),
                _ => Err("what was fetched is longer than what was put".into()),
            };
        }
    }
}
