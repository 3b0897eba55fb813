//! What signed messages cost: opening and sealing them beside the bare signature
//! check and hash, the replay windows, and Snappy by size and kind of data.
//!
//! `cargo bench --bench message [-- open|windows|compression|record]...`; all of
//! them by default. One thread, and its CPU time but for `record`; every figure is
//! the median of rounds in which the variants take turns, so that other work on
//! the machine disturbs little and all of them alike.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use futures::future::join_all;
use libp2p::{PeerId, identity::Keypair};
use nix::time::ClockId;
use p2p_node::{
    message::{
        Envelope, Limits, compression,
        compression::Compression,
        publisher::Publisher,
        seal,
        statement::{Purpose, Statement},
        windows::{Mark, Windows, id_of},
    },
    node::gossip::signed::Opener,
    store::{self, Store},
    web::metrics::Metrics,
};
use sha2::{Digest, Sha256};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const ROUNDS: usize = 9;
const TOPIC: &[u8] = b"/p2p-node/chat";
const LIMITS: Limits = Limits {
    envelope: (1 << 20) + 4096,
    payload: 1 << 20,
};

/// Bytes that look random, the same in every run.
fn noise(len: usize) -> Bytes {
    let mut x = 0x9E37_79B9_7F4A_7C15_u64;
    (0..len)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            (x >> 32) as u8
        })
        .collect()
}

/// Lines of JSON as a sensor would publish them: keys repeat, values do not.
fn json(len: usize) -> Bytes {
    let values = noise(len);
    let mut text = String::with_capacity(len + 128);
    let mut values = values.chunks_exact(4).cycle();
    while text.len() < len {
        if let Some(v) = values.next() {
            text.push_str(&format!(
                "{{\"station\":{},\"celsius\":{}.{},\"state\":\"{}\",\"id\":\"{:02x}{:02x}\"}}\n",
                v[0],
                v[1] % 40,
                v[2] % 10,
                if v[3] < 128 { "ok" } else { "late" },
                v[2],
                v[3]
            ));
        }
    }
    text.truncate(len);
    text.into()
}

/// Sentences of random words: the hard kind of text.
fn prose(len: usize) -> Bytes {
    const WORDS: [&str; 64] = [
        "the",
        "network",
        "of",
        "a",
        "message",
        "and",
        "peer",
        "to",
        "node",
        "which",
        "window",
        "in",
        "is",
        "sequence",
        "that",
        "signature",
        "it",
        "for",
        "was",
        "publisher",
        "on",
        "are",
        "key",
        "as",
        "with",
        "daemon",
        "they",
        "at",
        "be",
        "store",
        "this",
        "have",
        "from",
        "address",
        "or",
        "one",
        "had",
        "by",
        "word",
        "but",
        "not",
        "what",
        "all",
        "were",
        "we",
        "when",
        "your",
        "can",
        "said",
        "there",
        "use",
        "an",
        "each",
        "she",
        "do",
        "how",
        "their",
        "if",
        "will",
        "up",
        "other",
        "about",
        "out",
        "many",
    ];
    let mut text = String::with_capacity(len + 32);
    for n in noise(len) {
        if text.len() >= len {
            break;
        }
        text.push_str(WORDS[usize::from(n) % WORDS.len()]);
        text.push(if n > 240 { '.' } else { ' ' });
    }
    text.truncate(len);
    text.into()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// CPU time of this thread that `work` takes.
fn micros(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let clock = ClockId::CLOCK_THREAD_CPUTIME_ID;
    let start = clock.now()?;
    work()?;
    Ok((Duration::from(clock.now()?) - Duration::from(start)).as_secs_f64() * 1e6)
}

/// A kind of data: its name, and so many bytes of it.
type Kind = (&'static str, fn(usize) -> Bytes);

/// A variant: prepares nothing, does `count` operations.
type Variant<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

/// Microseconds an operation of each variant, in turns.
fn race<const N: usize>(count: usize, mut variants: [Variant<'_>; N]) -> Result<[f64; N]> {
    let mut times = [const { Vec::new() }; N];
    for round in 0..=ROUNDS {
        for (variant, times) in variants.iter_mut().zip(&mut times) {
            let time = micros(variant)? / count as f64;
            // The first round warms caches.
            if round > 0 {
                times.push(time);
            }
        }
    }
    Ok(times.map(median))
}

fn per_second(micros: f64) -> String {
    format!("{:.0}", 1e6 / micros)
}

fn opening() -> Result<()> {
    println!(
        "| payload | verify /s | sha2 µs | verify + sha2 /s | open /s | open/verify | open/(verify + sha2) | seal /s | key µs |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let keypair = Keypair::generate_ed25519();
    let public = keypair.public();
    let key = public.encode_protobuf();
    let from = PeerId::random();
    let metrics = Metrics::new()?;
    let kinds: [Kind; 2] = [("random", noise), ("JSON", json)];
    for (kind, make) in kinds {
        for (len, count) in [
            (64, 400),
            (1 << 10, 400),
            (10 << 10, 300),
            (100 << 10, 100),
            (1 << 20, 12),
        ] {
            let payload = make(len);
            let (sent, packed) = compression::pack(payload.clone());
            let statement = Statement::new(Purpose::Message)
                .bytes(TOPIC)
                .number(1)
                .number(packed as u64)
                .digest(&sent);
            let signature = statement.sign(&keypair)?;
            let envelopes = (1..=count as u64)
                .map(|n| Ok(seal(&keypair, TOPIC, n, payload.clone(), LIMITS)?))
                .collect::<Result<Vec<Bytes>>>()?;
            let now = SystemTime::now();
            let times = race(
                count,
                [
                    Box::new(|| {
                        for _ in 0..count {
                            if !public.verify(black_box(statement.as_bytes()), &signature) {
                                return Err("a good signature is refused".into());
                            }
                        }
                        Ok(())
                    }),
                    Box::new(|| {
                        for _ in 0..count {
                            black_box(Sha256::digest(black_box(&sent)));
                        }
                        Ok(())
                    }),
                    Box::new(|| {
                        // Every round meets these numbers for the first time.
                        let opener = Opener::unstored(from, LIMITS, metrics.node.clone());
                        for envelope in &envelopes {
                            let opened = opener.check(TOPIC, envelope.clone(), &from, now)?;
                            black_box(opened);
                        }
                        Ok(())
                    }),
                    Box::new(|| {
                        for n in 1..=count as u64 {
                            black_box(seal(&keypair, TOPIC, n, payload.clone(), LIMITS)?);
                        }
                        Ok(())
                    }),
                    Box::new(|| {
                        for _ in 0..count {
                            black_box(Publisher::decode(black_box(&key))?);
                        }
                        Ok(())
                    }),
                ],
            )?;
            let [verify, sha, open, sealing, key] = times;
            println!(
                "| {len} B {kind}, {} | {} | {sha:.2} | {} | {} | {:.2} | {:.2} | {} | {key:.1} |",
                match packed {
                    Compression::None => "as it is",
                    Compression::Snappy => "packed",
                },
                per_second(verify),
                per_second(verify + sha),
                per_second(open),
                open / verify,
                open / (verify + sha),
                per_second(sealing),
            );
        }
    }
    Ok(())
}

fn windows() -> Result<()> {
    const COUNT: usize = 100_000;
    println!("\n| replay windows | ns |");
    println!("|---|---|");
    let mark = |publisher: u64, number| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&publisher.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
        Mark {
            id,
            number,
            at: 0,
            lane: publisher as u8,
        }
    };
    let full = || {
        let mut windows = Windows::default();
        for publisher in 0..16_384 {
            let _ = windows.accept(mark(publisher, 1));
        }
        windows
    };
    let (mut one, mut many, mut flood) = (Windows::default(), full(), full());
    let (mut next_one, mut next_many, mut next_flood) = (0_u64, 1_u64, 20_000_u64);
    let peer = PeerId::random();
    let [one, many, flood, id] = race(
        COUNT,
        [
            Box::new(|| {
                for _ in 0..COUNT {
                    next_one += 1;
                    let _ = black_box(one.accept(mark(1, next_one)));
                }
                Ok(())
            }),
            Box::new(|| {
                for _ in 0..COUNT {
                    next_many += 1;
                    let publisher = next_many.wrapping_mul(7919) % 16_384;
                    let _ = black_box(many.accept(mark(publisher, next_many)));
                }
                Ok(())
            }),
            Box::new(|| {
                for _ in 0..COUNT {
                    next_flood += 1;
                    let _ = black_box(flood.accept(mark(next_flood, 1)));
                }
                Ok(())
            }),
            Box::new(|| {
                for _ in 0..COUNT {
                    black_box(id_of(black_box(&peer)));
                }
                Ok(())
            }),
        ],
    )?;
    println!("| next number of one publisher | {:.0} |", one * 1e3);
    println!("| of one of 16,384 publishers | {:.0} |", many * 1e3);
    println!(
        "| a new publisher, who pushes one out | {:.0} |",
        flood * 1e3
    );
    println!("| id of a peer id | {:.0} |", id * 1e3);
    Ok(())
}

fn packing() -> Result<()> {
    println!("\n| data | packed to | pack µs | unpack µs | pays below MB/s |");
    println!("|---|---|---|---|---|");
    let kinds: [Kind; 3] = [("JSON", json), ("text", prose), ("random", noise)];
    for (kind, make) in kinds {
        for len in [
            512,
            1 << 10,
            2 << 10,
            4 << 10,
            8 << 10,
            10 << 10,
            100 << 10,
            1 << 20,
        ] {
            let data = make(len);
            let count = ((4 << 20) / len).clamp(4, 2000);
            let small = snap::raw::Encoder::new().compress_vec(&data)?;
            let smaller = small.len() < data.len();
            // What a receiver would get: the smaller form.
            let (sent, how) = if smaller {
                (Bytes::from(small), Compression::Snappy)
            } else {
                (data.clone(), Compression::None)
            };
            let [pack, unpack] = race(
                count,
                [
                    Box::new(|| {
                        for _ in 0..count {
                            black_box(snap::raw::Encoder::new().compress_vec(black_box(&data))?);
                        }
                        Ok(())
                    }),
                    Box::new(|| {
                        for _ in 0..count {
                            black_box(compression::unpack(black_box(sent.clone()), how, 1 << 20)?);
                        }
                        Ok(())
                    }),
                ],
            )?;
            let saved = data.len() - sent.len();
            println!(
                "| {len} B {kind} | {:.0}% | {pack:.2} | {unpack:.2} | {} |",
                100.0 * sent.len() as f64 / data.len() as f64,
                if smaller {
                    format!("{:.0}", saved as f64 / (pack + unpack))
                } else {
                    "never".into()
                },
            );
        }
    }
    Ok(())
}

/// The whole way with a journal on disk, many messages at once.
fn record() -> Result<()> {
    const AT_ONCE: usize = 64;
    const COUNT: usize = 6400;
    let base = std::env::current_dir()?.join(format!("message-bench-{}", std::process::id()));
    let metrics = Metrics::new()?;
    let options = store::Options {
        max_bytes: 1 << 30,
        max_block_bytes: 2 << 20,
    };
    let store = Store::open(&base, options, metrics.store.clone())?;
    let keypair = Keypair::generate_ed25519();
    let from = PeerId::random();
    let stored = Opener::stored(from, LIMITS, store, metrics.node.clone())?;
    let process = ClockId::CLOCK_PROCESS_CPUTIME_ID;
    let mut next = 0_u64;
    println!("\n| 1 KiB, {AT_ONCE} at once | messages/s | CPU µs a message |");
    println!("|---|---|---|");
    let mut rows: [(&str, Vec<f64>, Vec<f64>); 2] = [
        ("opened, with a journal", Vec::new(), Vec::new()),
        ("opened, without", Vec::new(), Vec::new()),
    ];
    for _ in 0..5 {
        for (which, (_, wall, cpu)) in rows.iter_mut().enumerate() {
            let opener = match which {
                0 => stored.clone(),
                _ => Opener::unstored(from, LIMITS, metrics.node.clone()),
            };
            let envelopes = (0..COUNT)
                .map(|_| {
                    next += 1;
                    Ok(seal(&keypair, TOPIC, next, noise(1 << 10), LIMITS)?)
                })
                .collect::<Result<Vec<Bytes>>>()?;
            let envelopes = Arc::new(envelopes);
            let (start, before) = (Instant::now(), Duration::from(process.now()?));
            let tasks = (0..AT_ONCE).map(|task| {
                let (opener, envelopes) = (opener.clone(), envelopes.clone());
                async_std::task::spawn(async move {
                    // Neighbours in number go to different tasks, as in a mesh;
                    // those too late for the window are refused.
                    let mut opened = 0;
                    for envelope in envelopes.iter().skip(task).step_by(AT_ONCE) {
                        let result = opener.open(TOPIC, envelope.clone(), &from).await;
                        opened += usize::from(result.is_ok());
                    }
                    opened
                })
            });
            let opened: usize = async_std::task::block_on(join_all(tasks)).into_iter().sum();
            let elapsed = start.elapsed();
            wall.push(COUNT as f64 / elapsed.as_secs_f64());
            cpu.push((Duration::from(process.now()?) - before).as_secs_f64() * 1e6 / COUNT as f64);
            if opened < COUNT / 2 {
                eprintln!("only {opened} of {COUNT} were in order enough");
            }
        }
    }
    for (name, wall, cpu) in rows {
        println!("| {name} | {:.0} | {:.1} |", median(wall), median(cpu));
    }
    async_std::task::block_on(stored.close());
    std::fs::remove_dir_all(&base)?;
    Ok(())
}

fn main() -> Result<()> {
    // cargo bench adds --bench.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let wants = |name: &str| args.is_empty() || args.iter().any(|a| a == name);
    // A first use of the envelope proves the set-up before anything is timed.
    let keypair = Keypair::generate_ed25519();
    let sealed = seal(&keypair, TOPIC, 1, json(2048), LIMITS)?;
    Envelope::open(TOPIC, sealed, LIMITS)?.unpack(LIMITS)?;
    if wants("open") {
        opening()?;
    }
    if wants("windows") {
        windows()?;
    }
    if wants("compression") {
        packing()?;
    }
    if wants("record") {
        record()?;
    }
    Ok(())
}
