//! Random operations against a model that is simple enough to be right: roots
//! as sets of block numbers.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// xorshift64*: a seed makes a run that can be had again.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }
}

#[derive(Default)]
struct Model {
    roots: BTreeMap<u64, (BTreeSet<u64>, Option<u64>)>,
    cache: BTreeSet<u64>,
}

impl Model {
    fn held(&self) -> BTreeSet<u64> {
        self.roots
            .values()
            .flat_map(|(blocks, _)| blocks.iter().copied())
            .collect()
    }

    fn all(&self) -> BTreeSet<u64> {
        self.held().union(&self.cache).copied().collect()
    }

    fn settle(&mut self) {
        let held = self.held();
        self.cache.retain(|n| !held.contains(n));
    }
}

const BLOCKS_OF_MODEL: u64 = 40;

fn len(n: u64) -> usize {
    (n as usize * 977) % 9000
}

#[test]
fn random_operations_leave_what_the_model_says() {
    for seed in 1..=8u64 {
        let mut random = Random(seed * 0x9E37_79B9);
        // Large enough that nothing is evicted: eviction has its own tests.
        let world = World::new(1 << 30);
        let mut store = world.open();
        let mut model = Model::default();
        let mut now = 0;
        for step in 0..120 {
            now += 1;
            world.set_time(now);
            match random.below(10) {
                0..=4 => {
                    let mut batch = store.batch().unwrap();
                    let picked: BTreeSet<u64> = (0..1 + random.below(8))
                        .map(|_| random.below(BLOCKS_OF_MODEL))
                        .collect();
                    let mut kept = BTreeSet::new();
                    let mut done = BTreeSet::new();
                    for &n in &picked {
                        let (cid, data) = block(n, len(n));
                        batch.put(&cid, &data).unwrap();
                        done.insert(n);
                        if random.below(6) == 0 {
                            batch.checkpoint().unwrap();
                            kept = done.clone();
                        }
                    }
                    match random.below(4) {
                        0 => {
                            drop(batch);
                            model.cache.extend(kept);
                        }
                        1 => {
                            batch.commit(None).unwrap();
                            model.cache.extend(&picked);
                        }
                        _ => {
                            let top = *picked.first().unwrap();
                            let expires = (random.below(2) == 0).then(|| now + random.below(30));
                            let root = Root {
                                expires_at: expires.map(at),
                                ..root(block(top, len(top)).0)
                            };
                            batch.commit(Some(root)).unwrap();
                            let entry = model.roots.entry(top);
                            match entry {
                                std::collections::btree_map::Entry::Vacant(e) => {
                                    e.insert((picked, expires));
                                }
                                std::collections::btree_map::Entry::Occupied(mut e) => {
                                    let (blocks, old) = e.get_mut();
                                    blocks.extend(picked);
                                    *old = match (*old, expires) {
                                        (Some(a), Some(b)) => Some(a.max(b)),
                                        _ => None,
                                    };
                                }
                            }
                        }
                    }
                }
                5 | 6 => {
                    let top = random.below(BLOCKS_OF_MODEL);
                    let before = model.all().len();
                    model.roots.remove(&top);
                    let removed = store.remove_root(&block(top, len(top)).0).unwrap();
                    // What only that root held went; cache was never its own.
                    assert_eq!(removed.blocks as usize, before - model.all().len());
                }
                7 => {
                    store.sweep(at(now), Instant::now()).unwrap();
                    model
                        .roots
                        .retain(|_, (_, expires)| expires.is_none_or(|e| e > now));
                }
                8 => {
                    let n = random.below(BLOCKS_OF_MODEL);
                    let (cid, data) = block(n, len(n));
                    let found = store.get_verified(&cid).unwrap();
                    assert_eq!(
                        found.is_some(),
                        model.all().contains(&n),
                        "seed {seed} step {step}"
                    );
                    assert!(found.is_none_or(|found| found == data));
                }
                _ => {
                    drop(store);
                    store = world.open();
                    store.scrub().unwrap();
                }
            }
            model.settle();
            let all = model.all();
            assert_eq!(
                store.usage().blocks as usize,
                all.len(),
                "seed {seed} step {step}"
            );
            let bytes: usize = all.iter().map(|n| len(*n)).sum();
            assert_eq!(
                store.usage().bytes as usize,
                bytes,
                "seed {seed} step {step}"
            );
            assert_eq!(store.roots().unwrap().len(), model.roots.len());
            assert_eq!(store.roots_len(), model.roots.len() as u64);
        }
        for n in 0..BLOCKS_OF_MODEL {
            assert_eq!(
                store.has(&block(n, len(n)).0).unwrap(),
                model.all().contains(&n)
            );
        }
    }
}
