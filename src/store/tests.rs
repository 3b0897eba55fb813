//! Tests of the store as its users see it, over real files in a temporary
//! folder. Time is a number that a test turns.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cid::Cid;
use multihash::Multihash;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::database::BLOCKS;
use super::reading::SHA2_256;
use super::*;
use crate::telemetry::Register as _;

mod announcements;
mod crash;
mod disk;
mod lifetime;
mod model;
mod rules;
mod trust;

const KIB: usize = 1024;
const RAW: u64 = 0x55;

/// Returns a raw CIDv1 over sha2-256, as the rest of the program makes them.
fn cid_of(data: &[u8]) -> Cid {
    let digest = Sha256::digest(data);
    Cid::new_v1(RAW, Multihash::<64>::wrap(SHA2_256, &digest).unwrap())
}

/// Returns bytes that differ for every `seed`.
fn block(seed: u64, len: usize) -> (Cid, Vec<u8>) {
    let mut data = vec![0; len];
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for chunk in data.chunks_mut(8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        chunk.copy_from_slice(&x.to_le_bytes()[..chunk.len()]);
    }
    (cid_of(&data), data)
}

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000 + second)
}

fn root(cid: Cid) -> Root {
    Root {
        cid,
        size: 0,
        blocks: 0,
        pinned: false,
        put_at: at(0),
        expires_at: None,
        name: None,
    }
}

fn pinned(cid: Cid) -> Root {
    Root {
        pinned: true,
        ..root(cid)
    }
}

struct World {
    dir: TempDir,
    options: Options,
    clock: Arc<AtomicU64>,
}

impl World {
    fn new(max_bytes: u64) -> Self {
        World {
            dir: TempDir::new().unwrap(),
            options: Options {
                max_bytes,
                max_block_bytes: 2 << 20,
            },
            clock: Arc::default(),
        }
    }

    fn open(&self) -> Store {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<Store, Error> {
        let clock = self.clock.clone();
        Store::open_with_clock(
            self.dir.path(),
            self.options,
            Metrics::new().unwrap(),
            super::clock::Clock::with_wall(move || at(clock.load(Ordering::Relaxed))),
        )
    }

    fn set_time(&self, second: u64) {
        self.clock.store(second, Ordering::Relaxed);
    }

    fn segment_files(&self) -> usize {
        fs::read_dir(self.dir.path().join(BLOCKS)).unwrap().count()
    }

    /// Returns the names in the data folder that contain `part`.
    fn names_with(&self, part: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains(part))
            .collect();
        names.sort();
        names
    }
}

/// Puts blocks made from `seeds` under a root, which is the first of them.
fn put(store: &Store, seeds: &[u64], len: usize, pin: bool) -> Cid {
    let mut batch = store.batch().unwrap();
    for &seed in seeds {
        let (cid, data) = block(seed, len);
        batch.put(&cid, &data).unwrap();
    }
    let cid = block(seeds[0], len).0;
    batch
        .commit(Some(if pin { pinned(cid) } else { root(cid) }))
        .unwrap();
    cid
}

fn has(store: &Store, seed: u64, len: usize) -> bool {
    store.has(&block(seed, len).0).unwrap()
}
