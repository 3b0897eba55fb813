//! What the block exchange costs beside the stream that carries it.
//!
//! `cargo bench --bench exchange [-- MIB]`: moves the same bytes through the same
//! kind of pipe, bare (written and read in chunks of 1 MiB, nothing else) and as
//! a fetch (asked for, read from one store, sent, verified, written to another
//! store, delivered in order), in turn, and hashes as many bytes alone; the fetch
//! once more from a provider that has no memory to read ahead. Before
//! that, what one block of 1 MiB costs beside its hash: the publisher's signature
//! made and checked, and Snappy on bytes that do not pack and on text.
//!
//! `cargo bench --bench exchange -- crowd [ROUNDS]`: what peers that are of no use
//! cost a fetch in time; see `crowd.rs`.

mod crowd;

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use async_std::os::unix::net::UnixStream;
use async_std::task::{block_on, spawn};
use cid::Cid;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use libp2p::PeerId;
use libp2p::identity::Keypair;
use p2p_node::block::content::{Announce, Content, ContentOptions, ImportOptions};
use p2p_node::block::exchange::serve::Limits;
use p2p_node::block::fetch::Event;
use p2p_node::block::network::{
    Confirmation, Fault, Lead, Network, OpenError, ProvideError, Provided,
};
use p2p_node::content::fetch::{Obstacle, Unreachable};
use p2p_node::message::compression;
use p2p_node::message::signer::Signer;
use p2p_node::store::{Options, Store};
use p2p_node::web::metrics::Metrics;
use sha2::{Digest, Sha256};

/// Pipes to one provider.
#[derive(Clone, Default)]
struct Pipes(Option<(PeerId, Arc<Content<Pipes>>)>);

impl Network for Pipes {
    type Stream = UnixStream;

    fn find_providers(&self, _: &Cid) -> BoxStream<'static, Lead> {
        let named = self.0.as_ref().map(|(peer, _)| Lead::Named(*peer));
        futures::stream::iter(named).boxed()
    }

    fn open(&self, peer: PeerId) -> BoxFuture<'static, Result<UnixStream, OpenError>> {
        let provider = self.0.clone();
        async move {
            let lost =
                |reason: &str| OpenError::Unreachable(Unreachable::new(Obstacle::Other, reason));
            let (_, provider) = provider.ok_or(lost("nobody there"))?;
            let (ours, theirs) = UnixStream::pair().map_err(|error| lost(&error.to_string()))?;
            spawn(async move { drop(provider.serve(peer, theirs).await) });
            Ok(ours)
        }
        .boxed()
    }

    fn report(&self, peer: PeerId, fault: Fault) {
        eprintln!("{peer} {fault}");
    }

    fn delivered(&self, _: &PeerId) {}

    fn provide(&self, _: &Cid, _: bool) -> BoxFuture<'static, Result<Provided, ProvideError>> {
        let confirmation = Confirmation {
            holders: 1,
            enough: true,
        };
        let confirmation = futures::future::ready(confirmation).boxed();
        async move { Ok(Provided { confirmation }) }.boxed()
    }

    fn stop_providing(&self, _: &Cid) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let number = std::env::args().filter_map(|arg| arg.parse().ok()).next();
    let among = std::env::args().any(|arg| arg == "crowd");
    let mib = match among {
        true => 24,
        false => number.unwrap_or(512_usize),
    };
    // A generator as cheap as it gets, without equal chunks.
    let mut x = 0x9E37_79B9_7F4A_7C15_u64;
    let data: Vec<u8> = (0..mib << 17)
        .flat_map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x.to_le_bytes()
        })
        .collect();
    if among {
        return block_on(crowd::run(&data, number.unwrap_or(10)));
    }
    costs(&data[..1 << 20])?;
    println!("{mib} MiB; MB/s of each round");
    println!(
        "{:>8} {:>8} {:>8} {:>8} {:>14} {:>20}",
        "sha256", "pipe", "import", "fetch", "fetch/pipe", "without read-ahead"
    );
    for _ in 0..3 {
        let mb = data.len() as f64 / 1e6;
        let start = Instant::now();
        std::hint::black_box(Sha256::digest(&data));
        let hash = mb / start.elapsed().as_secs_f64();
        let pipe = mb / block_on(pipe(&data))?;
        let ahead = Limits::default();
        let (import, fetch) = block_on(transfer(&data, ahead))?;
        let none = Limits { ahead: 0, ..ahead };
        let (_, held) = block_on(transfer(&data, none))?;
        let (import, fetch, held) = (mb / import, mb / fetch, mb / held);
        println!(
            "{hash:>8.0} {pipe:>8.0} {import:>8.0} {fetch:>8.0} {:>13.0}% {held:>20.0}",
            fetch / pipe * 100.0
        );
    }
    Ok(())
}

/// Microseconds that each step takes for a block of 1 MiB, the median of rounds
/// that take the steps in turn.
fn costs(noise: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
    let noise = bytes::Bytes::copy_from_slice(noise);
    let line = b"2026-11-23T09:00:00Z INFO connected peer=12D3KooW address=/ip4/192.0.2.1\n";
    let text: bytes::Bytes = line.iter().copied().cycle().take(1 << 20).collect();
    let packed = compression::pack(text.clone());
    let signer = Signer::new(Keypair::generate_ed25519());
    let hash = [0x12; 34];
    let said = signer.sign(&hash, 0, 60)?;
    let names = [
        "sha256",
        "sign",
        "verify",
        "pack noise",
        "pack text",
        "unpack text",
    ];
    let mut rounds = vec![Vec::new(); names.len()];
    for _ in 0..200 {
        let mut step = 0;
        let mut time = |work: &mut dyn FnMut()| {
            let start = Instant::now();
            work();
            rounds[step].push(start.elapsed().as_secs_f64() * 1e6);
            step += 1;
        };
        time(&mut || drop(std::hint::black_box(Sha256::digest(&noise).to_vec())));
        time(&mut || drop(std::hint::black_box(signer.sign(&hash, 0, 60))));
        time(&mut || drop(std::hint::black_box(said.verify(&hash))));
        time(&mut || drop(std::hint::black_box(compression::pack(noise.clone()))));
        time(&mut || drop(std::hint::black_box(compression::pack(text.clone()))));
        time(&mut || {
            let (data, how) = packed.clone();
            drop(std::hint::black_box(compression::unpack(
                data,
                how,
                2 << 20,
            )));
        });
    }
    println!("microseconds for a block of 1 MiB");
    for (name, mut times) in names.into_iter().zip(rounds) {
        times.sort_by(f64::total_cmp);
        println!("{name:>14} {:>8.0}", times[times.len() / 2]);
    }
    Ok(())
}

/// Seconds to move `data` through a pipe.
async fn pipe(data: &[u8]) -> Result<f64, Box<dyn std::error::Error>> {
    let (mut ours, mut theirs) = UnixStream::pair()?;
    let len = data.len();
    let start = Instant::now();
    let reading = spawn(async move {
        let mut buffer = vec![0; 1 << 20];
        let mut left = len;
        while left > 0 {
            let n = ours.read(&mut buffer).await?;
            if n == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
            }
            left -= n;
        }
        Ok(())
    });
    for chunk in data.chunks(1 << 20) {
        theirs.write_all(chunk).await?;
    }
    reading.await?;
    Ok(start.elapsed().as_secs_f64())
}

/// Seconds to import `data` at one node and to fetch it into a file at another.
async fn transfer(data: &[u8], serve: Limits) -> Result<(f64, f64), Box<dyn std::error::Error>> {
    let (source_dir, sink_dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let limits = Options {
        max_bytes: 8 << 30,
        max_block_bytes: 2 << 20,
    };
    let metrics = Metrics::new()?;
    let store = Store::open(source_dir.path(), limits, metrics.store.clone())?;
    let source = Content::new(
        store,
        Pipes(None),
        Keypair::generate_ed25519(),
        metrics.block.clone(),
        ContentOptions {
            serve,
            ..ContentOptions::default()
        },
    );
    let start = Instant::now();
    let options = ImportOptions {
        announce: Announce::No,
        ..ImportOptions::default()
    };
    let imported = source.import(data, options).await?;
    let import = start.elapsed().as_secs_f64();

    let store = Store::open(sink_dir.path(), limits, metrics.store.clone())?;
    let pipes = Pipes(Some((PeerId::random(), Arc::new(source))));
    let sink = Content::new(
        store,
        pipes,
        Keypair::generate_ed25519(),
        metrics.block.clone(),
        ContentOptions::default(),
    );
    let start = Instant::now();
    let mut file = std::fs::File::create(sink_dir.path().join("out"))?;
    let mut fetch = sink.fetch(&imported.cid, sink.fetch_options())?;
    while let Some(event) = fetch.next().await {
        match event? {
            Event::Data(bytes) => file.write_all(&bytes)?,
            Event::Done(summary) if std::env::var_os("VERBOSE").is_some() => {
                println!("{summary:?}")
            }
            _ => {}
        }
    }
    Ok((import, start.elapsed().as_secs_f64()))
}
