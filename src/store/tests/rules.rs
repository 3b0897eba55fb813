//! What the store promises while nothing goes wrong.

use super::*;

const LEN: usize = 10 * KIB;
/// Disk that one block of `LEN` takes.
const DISK: u64 = 12 * KIB as u64;

#[test]
fn what_was_committed_is_read_back_also_after_a_restart() {
    let world = World::new(1 << 30);
    let sizes = [0, 1, 4096, 4097, 1 << 20, (1 << 20) + 1, 2 << 20];
    let blocks: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(i, n)| block(i as u64, *n))
        .collect();
    let top = Root {
        size: 7,
        blocks: 3,
        expires_at: Some(at(99)),
        name: Some("häus.txt".into()),
        ..pinned(blocks[1].0)
    };
    let store = world.open();
    let mut batch = store.batch().unwrap();
    for (cid, data) in &blocks {
        batch.put(cid, data).unwrap();
        assert!(!store.has(cid).unwrap(), "visible before the commit");
    }
    batch.commit(Some(top.clone())).unwrap();
    let usage = store.usage();
    assert_eq!(usage.blocks, blocks.len() as u64);
    assert_eq!(usage.bytes, sizes.iter().sum::<usize>() as u64);
    drop(store);

    let store = world.open();
    assert_eq!(store.usage(), usage);
    assert_eq!(store.roots_len(), 1);
    assert_eq!(store.roots().unwrap(), vec![top.clone()]);
    assert_eq!(store.root(&top.cid).unwrap(), Some(top));
    for (cid, data) in &blocks {
        assert_eq!(store.get_verified(cid).unwrap().unwrap(), &data[..]);
    }
    assert_eq!(store.get(&block(77, 5).0).unwrap(), None);
    assert_eq!(store.root(&block(77, 5).0).unwrap(), None);
}

#[test]
fn a_dropped_batch_leaves_nothing() {
    let world = World::new(1 << 30);
    let store = world.open();
    let mut batch = store.batch().unwrap();
    for seed in 0..20 {
        let (cid, data) = block(seed, 1 << 20);
        batch.put(&cid, &data).unwrap();
    }
    drop(batch);
    assert!(!has(&store, 3, 1 << 20));
    assert_eq!(store.usage().disk_bytes, 0);
    assert_eq!(world.segment_files(), 0);
    // And after content was committed to the same segment, only that stays.
    put(&store, &[1], LEN, true);
    let length = || fs::metadata(store.inner.segments.path(1)).unwrap().len();
    let before = length();
    let mut batch = store.batch().unwrap();
    let (cid, data) = block(2, LEN);
    batch.put(&cid, &data).unwrap();
    assert!(length() > before);
    drop(batch);
    assert!(length() <= before.next_multiple_of(4096));
    assert!(has(&store, 1, LEN));
}

#[test]
fn a_checkpoint_survives_the_batch_and_can_be_taken_up_again() {
    let world = World::new(1 << 30);
    let store = world.open();
    let mut batch = store.batch().unwrap();
    let (a, data) = block(1, LEN);
    batch.put(&a, &data).unwrap();
    batch.checkpoint().unwrap();
    assert!(store.has(&a).unwrap());
    let (b, data) = block(2, LEN);
    batch.put(&b, &data).unwrap();
    drop(batch);
    assert!(store.has(&a).unwrap() && !store.has(&b).unwrap());
    assert!(store.roots().unwrap().is_empty());
    drop(store);

    let store = world.open();
    let mut batch = store.batch().unwrap();
    assert!(batch.keep(&a).unwrap());
    assert!(!batch.keep(&b).unwrap());
    batch.put(&b, &data).unwrap();
    batch.commit(Some(root(b))).unwrap();
    assert_eq!(
        store.remove_root(&b).unwrap(),
        Removed {
            blocks: 2,
            bytes: 2 * LEN as u64
        }
    );
    assert_eq!(store.usage().blocks, 0);
}

#[test]
fn a_shared_block_lives_as_long_as_any_root_holds_it() {
    let world = World::new(1 << 30);
    let store = world.open();
    let a = put(&store, &[1, 2, 3], LEN, true);
    let b = put(&store, &[4, 2, 3], LEN, false);
    assert_eq!(store.usage().blocks, 4);
    assert_eq!(
        store.remove_root(&a).unwrap(),
        Removed {
            blocks: 1,
            bytes: LEN as u64
        }
    );
    assert!(has(&store, 2, LEN) && has(&store, 3, LEN) && !has(&store, 1, LEN));
    assert_eq!(store.remove_root(&a).unwrap(), Removed::default());
    assert_eq!(store.remove_root(&b).unwrap().blocks, 3);
    assert_eq!(
        store.usage(),
        Usage {
            blocks: 0,
            bytes: 0,
            disk_bytes: 0,
            max_bytes: 1 << 30
        }
    );
}

#[test]
fn putting_the_same_content_again_joins_its_root() {
    let world = World::new(1 << 30);
    let store = world.open();
    let cid = put(&store, &[1, 2], LEN, true);
    let mut batch = store.batch().unwrap();
    batch.put(&cid, &block(1, LEN).1).unwrap();
    batch
        .commit(Some(Root {
            expires_at: Some(at(5)),
            name: Some("n".into()),
            ..root(cid)
        }))
        .unwrap();
    let joined = store.root(&cid).unwrap().unwrap();
    assert!(joined.pinned, "a fetch must not unpin");
    assert_eq!(joined.expires_at, None, "nor shorten the life");
    assert_eq!(joined.name.as_deref(), Some("n"));
    assert_eq!(store.roots().unwrap().len(), 1);
    assert_eq!(store.remove_root(&cid).unwrap().blocks, 2);
}

#[test]
fn equal_blocks_are_stored_once_within_and_across_batches() {
    let world = World::new(1 << 30);
    let store = world.open();
    let (cid, data) = block(1, LEN);
    let mut one = store.batch().unwrap();
    let mut two = store.batch().unwrap();
    for batch in [&mut one, &mut two] {
        batch.put(&cid, &data).unwrap();
        batch.put(&cid, &data).unwrap();
    }
    one.commit(Some(root(cid))).unwrap();
    two.commit(None).unwrap();
    assert_eq!(store.usage().blocks, 1);
    assert_eq!(store.usage().disk_bytes, DISK);
    assert_eq!(store.remove_root(&cid).unwrap().blocks, 1);
}

#[test]
fn expired_roots_go_even_when_pinned_and_others_stay() {
    let world = World::new(1 << 30);
    let store = world.open();
    for (seed, expires) in [(1, Some(10)), (2, Some(20)), (3, None)] {
        let (cid, data) = block(seed, LEN);
        let mut batch = store.batch().unwrap();
        batch.put(&cid, &data).unwrap();
        batch
            .commit(Some(Root {
                expires_at: expires.map(at),
                ..pinned(cid)
            }))
            .unwrap();
    }
    assert_eq!(
        store.sweep(at(9), Instant::now()).unwrap(),
        Swept::default()
    );
    let swept = store.sweep(at(10), Instant::now()).unwrap();
    assert_eq!(
        (
            swept.expired_roots,
            swept.expired_blocks,
            swept.evicted_blocks
        ),
        (1, 1, 0)
    );
    assert!(!has(&store, 1, LEN) && has(&store, 2, LEN));
    store.sweep(at(1000), Instant::now()).unwrap();
    assert!(!has(&store, 2, LEN) && has(&store, 3, LEN));
}

#[test]
fn a_wall_clock_that_was_set_ahead_removes_nothing_at_once() {
    const DAY: u64 = 24 * 3600;
    let world = World::new(4 * DISK);
    let store = world.open();
    let opened = Instant::now();
    let later = |seconds| opened + Duration::from_secs(seconds);
    let expiring = |seed: u64, second| {
        let (cid, data) = block(seed, LEN);
        let mut batch = store.batch().unwrap();
        batch.put(&cid, &data).unwrap();
        batch
            .commit(Some(Root {
                expires_at: Some(at(second)),
                ..pinned(cid)
            }))
            .unwrap();
    };
    expiring(1, DAY);
    // A day that passes is one.
    assert_eq!(store.sweep(at(DAY), later(DAY)).unwrap().expired_roots, 1);
    expiring(2, 2 * DAY);
    expiring(3, 2000 * DAY);
    let swept = store.sweep(at(1000 * DAY), later(DAY + 60)).unwrap();
    assert_eq!(swept, Swept::default());
    assert!(has(&store, 2, LEN));
    let swept = store.sweep(at(1000 * DAY + 30), later(DAY + 90)).unwrap();
    assert_eq!(swept, Swept::default(), "not within the minute");
    // Nobody has set it back: it is the time.
    let swept = store.sweep(at(1000 * DAY + 60), later(DAY + 120)).unwrap();
    assert_eq!(swept.expired_roots, 1);
    assert!(!has(&store, 2, LEN) && has(&store, 3, LEN));
}

#[test]
fn a_clock_set_ahead_and_back_again_removes_nothing() {
    const DAY: u64 = 24 * 3600;
    let world = World::new(4 * DISK);
    let store = world.open();
    let opened = Instant::now();
    let later = |seconds| opened + Duration::from_secs(seconds);
    let (cid, data) = block(1, LEN);
    let mut batch = store.batch().unwrap();
    batch.put(&cid, &data).unwrap();
    batch
        .commit(Some(Root {
            expires_at: Some(at(DAY)),
            ..pinned(cid)
        }))
        .unwrap();
    // Before the first sweep already: the store looked at the clock when it
    // was opened.
    store.sweep(at(1000 * DAY), later(60)).unwrap();
    store.sweep(at(120), later(120)).unwrap();
    store.sweep(at(DAY - 1), later(DAY - 1)).unwrap();
    assert!(has(&store, 1, LEN));
    store.sweep(at(DAY), later(DAY)).unwrap();
    assert!(!has(&store, 1, LEN));
}

#[test]
fn eviction_takes_the_longest_unused_and_never_the_pinned() {
    let world = World::new(6 * DISK);
    let store = world.open();
    world.set_time(1);
    put(&store, &[1], LEN, true);
    world.set_time(2);
    put(&store, &[2, 20], LEN, false);
    world.set_time(3);
    put(&store, &[3], LEN, false);
    world.set_time(4);
    let mut batch = store.batch().unwrap();
    let (cid, data) = block(4, LEN);
    batch.put(&cid, &data).unwrap();
    batch.commit(None).unwrap();
    // Reading any block of a root keeps the whole root young.
    world.set_time(5);
    store.get(&block(20, LEN).0).unwrap().unwrap();

    world.set_time(6);
    put(&store, &[6], LEN, false);
    assert!(has(&store, 3, LEN), "six blocks fit");
    world.set_time(7);
    put(&store, &[7], LEN, false);
    assert!(!has(&store, 3, LEN), "the root used longest ago");
    put(&store, &[8], LEN, false);
    assert!(!has(&store, 4, LEN), "then the cached block");
    put(&store, &[9], LEN, false);
    assert!(
        !has(&store, 2, LEN) && !has(&store, 20, LEN),
        "then the root of two"
    );
    assert!(has(&store, 1, LEN), "pinned");
    assert!(store.usage().disk_bytes <= 6 * DISK);
}

#[test]
fn what_cannot_fit_is_refused_with_the_variable_named_and_the_batch_goes_on() {
    let world = World::new(3 * DISK);
    let store = world.open();
    put(&store, &[1, 2], LEN, true);
    let mut batch = store.batch().unwrap();
    let (a, data) = block(3, LEN);
    batch.put(&a, &data).unwrap();
    let (b, data) = block(4, LEN);
    let error = batch.put(&b, &data).unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert!(error.to_string().contains("P2P_STORE_MAX_BYTES"), "{error}");
    let refused = &store.inner.metrics.store_refused;
    assert_eq!(refused.with_label_values(&["full"]).get(), 1);
    let error = batch.put(&a, &vec![0; (2 << 20) + 1]).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    batch.commit(Some(root(a))).unwrap();
    assert!(has(&store, 1, LEN) && has(&store, 2, LEN) && has(&store, 3, LEN));
}

#[test]
fn blocks_of_an_open_batch_are_not_evicted_or_removed() {
    let world = World::new(4 * DISK);
    let store = world.open();
    let old = put(&store, &[1], LEN, false);
    let mut batch = store.batch().unwrap();
    // One that is there, one that is new and checkpointed.
    assert!(batch.keep(&old).unwrap());
    let (new, data) = block(2, LEN);
    batch.put(&new, &data).unwrap();
    assert_eq!(store.remove_root(&old).unwrap().blocks, 0);
    assert!(has(&store, 1, LEN), "the batch relies on it");
    batch.checkpoint().unwrap();
    world.set_time(50);
    put(&store, &[5, 6], LEN, false);
    put(&store, &[7, 8], LEN, false);
    assert!(has(&store, 1, LEN) && has(&store, 2, LEN));
    batch.commit(Some(pinned(new))).unwrap();
    assert_eq!(store.remove_root(&new).unwrap().blocks, 2);
}

#[test]
fn a_lower_cap_is_enforced_by_the_next_sweep() {
    let mut world = World::new(10 * DISK);
    let store = world.open();
    for seed in 0..8 {
        world.set_time(seed);
        put(&store, &[seed], LEN, false);
    }
    drop(store);
    world.options.max_bytes = 3 * DISK;
    let store = world.open();
    let swept = store.sweep(at(9), Instant::now()).unwrap();
    assert_eq!((swept.evicted_roots, swept.evicted_blocks), (5, 5));
    assert!(!has(&store, 4, LEN) && has(&store, 5, LEN));
}

#[test]
fn disk_space_comes_back() {
    use std::os::unix::fs::MetadataExt;
    let world = World::new(1 << 30);
    let store = world.open();
    let seeds: Vec<u64> = (0..80).collect();
    let big = put(&store, &seeds, 1 << 20, true);
    let small = put(&store, &[1000], LEN, true);
    let on_disk = || -> u64 {
        fs::read_dir(world.dir.path().join(BLOCKS))
            .unwrap()
            .map(|e| e.unwrap().metadata().unwrap().blocks() * 512)
            .sum()
    };
    assert!(on_disk() > 80 << 20);
    store.remove_root(&big).unwrap();
    assert!(on_disk() < 1 << 20, "{} bytes are still taken", on_disk());
    assert!(store.get_verified(&small).unwrap().is_some());
    store.remove_root(&small).unwrap();
    drop(store);
    world.open().scrub().unwrap();
    assert_eq!(world.segment_files(), 0);
}

#[test]
fn a_batch_larger_than_its_memory_is_one_root() {
    let world = World::new(1 << 30);
    let store = world.open();
    let count = 4096 + 50;
    let mut batch = store.batch().unwrap();
    for seed in 0..count {
        let (cid, data) = block(seed, 40);
        batch.put(&cid, &data).unwrap();
        assert!(batch.keep(&cid).unwrap());
    }
    let top = block(0, 40).0;
    batch.commit(Some(root(top))).unwrap();
    assert_eq!(store.remove_root(&top).unwrap().blocks, count);
    // One that was spilled and dropped leaves nothing either.
    let mut batch = store.batch().unwrap();
    for seed in 0..count {
        let (cid, data) = block(seed, 40);
        batch.put(&cid, &data).unwrap();
    }
    drop(batch);
    assert_eq!(store.usage().blocks, 0);
}

#[test]
fn peers_are_remembered_within_bounds() {
    use libp2p::{Multiaddr, PeerId};
    let world = World::new(1 << 20);
    let store = world.open();
    assert_eq!(store.load_peers().unwrap(), vec![]);
    let addr = |n: usize| -> Multiaddr { format!("/ip4/10.0.0.1/tcp/{}", n + 1).parse().unwrap() };
    let peers: Vec<KnownPeer> = (0..MAX_PEERS + 10)
        .map(|n| KnownPeer {
            peer: PeerId::random(),
            addrs: (0..if n % 2 == 0 { 2 } else { 40 }).map(addr).collect(),
            last_seen: at(n as u64),
        })
        .collect();
    store.save_peers(&peers).unwrap();
    drop(store);
    let store = world.open();
    let loaded = store.load_peers().unwrap();
    assert_eq!(loaded.len(), MAX_PEERS);
    let mut latest: Vec<KnownPeer> = peers.into_iter().rev().take(MAX_PEERS).collect();
    for peer in &mut latest {
        peer.addrs.truncate(MAX_ADDRS);
    }
    assert_eq!(loaded, latest);
    // A small table does not push out all others: they may be the only way back.
    let last = latest.pop().unwrap();
    store.save_peers(std::slice::from_ref(&last)).unwrap();
    latest.truncate(MAX_EARLIER);
    latest.insert(0, last);
    assert_eq!(store.load_peers().unwrap(), latest);
}
