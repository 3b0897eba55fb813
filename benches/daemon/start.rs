//! Time from exec to ready, and memory of an idle node.

use std::path::Path;
use std::time::{Duration, SystemTime};

use cid::Cid;
use multihash::Multihash;
use p2p_node::store::Metrics;
use p2p_node::store::{Options as StoreOptions, Root, Store};
use p2p_node::telemetry::Register as _;
use sha2::{Digest, Sha256};

use crate::node::Daemon;
use crate::{Options, Result, ms, spread};

const BLOCKS: u64 = 100_000;

/// What the packages listen on: both transports.
const LISTEN: &str = "/ip4/127.0.0.1/tcp/0,/ip4/127.0.0.1/udp/0/quic-v1";

/// How long a node is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(10);

pub(crate) fn measure(options: &Options) -> Result<()> {
    println!(
        "| {} starts each | exec to ready, ms: min | median | max | resident after 10 s idle, MiB | of it anonymous |",
        options.starts
    );
    println!("|---|---|---|---|---|---|");
    let empty = options.dir.join("empty");
    row(options, "first start, empty store", &empty, true)?;
    row(options, "empty store", &empty, false)?;
    let full = options.dir.join("full");
    fill(&full.join("data"))?;
    row(options, "100,000 blocks", &full, false)?;
    println!();
    Ok(())
}

fn row(options: &Options, name: &str, home: &Path, fresh: bool) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..options.starts {
        if fresh && home.exists() {
            std::fs::remove_dir_all(home)?;
        }
        // What earlier runs wrote is not this start's work.
        nix::unistd::sync();
        let daemon = Daemon::start(options, home, LISTEN, None)?;
        times.push(ms(daemon.start));
        daemon.stop()?;
    }
    let daemon = Daemon::start(options, home, LISTEN, None)?;
    std::thread::sleep(IDLE);
    let (resident, anonymous) = (daemon.memory("VmRSS"), daemon.memory("RssAnon"));
    daemon.stop()?;
    let (min, median, max) = spread(times);
    println!(
        "| {name} | {min:.0} | {median:.0} | {max:.0} | {:.1} | {:.1} |",
        resident / 1024.0,
        anonymous / 1024.0
    );
    Ok(())
}

/// A hundred roots of a thousand blocks, as a host with many files has them.
fn fill(data: &Path) -> Result<()> {
    std::fs::create_dir_all(data)?;
    let limits = StoreOptions {
        max_bytes: 64 << 30,
        max_block_bytes: 2 << 20,
    };
    let store = Store::open(data, limits, Metrics::new()?)?;
    for first in (0..BLOCKS).step_by(1000) {
        let mut batch = store.batch()?;
        let mut root = None;
        for n in first..first + 1000 {
            let mut block = [0x5a; 300];
            block[..8].copy_from_slice(&n.to_le_bytes());
            let hash = Multihash::<64>::wrap(0x12, &Sha256::digest(block))?;
            let cid = Cid::new_v1(0x55, hash);
            batch.put(&cid, &block)?;
            root.get_or_insert(cid);
        }
        batch.commit(root.map(|cid| Root {
            cid,
            size: 300,
            blocks: 1000,
            pinned: true,
            put_at: SystemTime::now(),
            expires_at: None,
            name: None,
        }))?;
    }
    Ok(())
}
