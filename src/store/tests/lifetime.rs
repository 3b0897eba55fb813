//! What the store keeps of a block's publisher, and how long blocks live by it.

use bytes::Bytes;

use super::*;
use crate::message::provenance::Provenance;

/// From here on clocks are set.
const SET: u64 = 2_000_000_000;

fn date(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn said(put: u64, ttl: u32) -> Provenance {
    Provenance {
        timestamp: put * 1000,
        ttl,
        version: 1,
        key: Bytes::from_static(b"key"),
        signature: Bytes::copy_from_slice(&put.to_be_bytes()),
    }
}

fn publish(store: &Store, seed: u64, said: Provenance) -> Cid {
    let (cid, data) = block(seed, KIB);
    let mut batch = store.batch().unwrap();
    batch.put_published(&cid, &data, said).unwrap();
    batch.commit(None).unwrap();
    cid
}

#[test]
fn what_a_publisher_says_survives_a_restart_and_goes_with_the_block() {
    let world = World::new(1 << 30);
    let store = world.open();
    let cid = publish(&store, 1, said(SET, 60));
    let other = put(&store, &[1, 2], KIB, true);
    assert_eq!(cid, other);
    drop(store);
    let store = world.open();
    assert_eq!(store.provenance(&cid).unwrap(), Some(said(SET, 60)));
    assert_eq!(
        store.lifetime(&cid, date(SET + 59)).unwrap(),
        Lifetime::Published(said(SET, 60))
    );
    store.remove_root(&cid).unwrap();
    assert_eq!(store.provenance(&cid).unwrap(), None);
    assert_eq!(store.lifetime(&cid, date(SET)).unwrap(), Lifetime::Absent);
}

#[test]
fn of_two_statements_the_one_that_lives_longer_stays() {
    let world = World::new(1 << 30);
    let store = world.open();
    let (cid, data) = block(1, KIB);
    for (new, expected) in [
        (said(SET, 60), said(SET, 60)),
        (said(SET - 10, 60), said(SET, 60)),
        (said(SET - 10, 80), said(SET - 10, 80)),
        (said(SET + 10, 60), said(SET - 10, 80)),
    ] {
        publish(&store, 1, new);
        assert_eq!(store.provenance(&cid).unwrap(), Some(expected));
    }
    // Also within one batch, in either order.
    for order in [[300, 200], [400, 500]] {
        let mut batch = store.batch().unwrap();
        for ttl in order {
            batch.put_published(&cid, &data, said(SET, ttl)).unwrap();
        }
        let longest = said(SET, *order.iter().max().unwrap());
        let at = batch.expires_at(&cid, date(SET)).unwrap();
        assert_eq!(at, Some(longest.expires_at()));
        batch.commit(None).unwrap();
        assert_eq!(store.provenance(&cid).unwrap(), Some(longest));
    }
    // A put without a publisher takes nothing away.
    put(&store, &[1], KIB, true);
    assert_eq!(store.provenance(&cid).unwrap(), Some(said(SET, 500)));
}

#[test]
fn a_block_without_a_publisher_lives_with_its_longest_root() {
    let world = World::new(1 << 30);
    let store = world.open();
    let (shared, _) = block(1, KIB);
    for (i, expires) in [Some(10), Some(30), Some(20)].into_iter().enumerate() {
        let mut batch = store.batch().unwrap();
        let (top, data) = block(10 + i as u64, KIB);
        batch.put(&top, &data).unwrap();
        batch.put(&shared, &block(1, KIB).1).unwrap();
        let expires_at = expires.map(|s| date(SET + s));
        let put_at = date(SET + i as u64);
        batch
            .commit(Some(Root {
                put_at,
                expires_at,
                ..root(top)
            }))
            .unwrap();
    }
    assert_eq!(
        store.lifetime(&shared, date(SET + 29)).unwrap(),
        Lifetime::OfRoot {
            put_at: date(SET + 1),
            expires_at: Some(date(SET + 30))
        }
    );
    let over = Lifetime::Expired(Some(date(SET + 30)));
    assert_eq!(store.lifetime(&shared, date(SET + 30)).unwrap(), over);
    // A root outlives what a publisher said.
    publish(&store, 1, said(SET, 25));
    let life = |at| store.lifetime(&shared, date(SET + at)).unwrap();
    assert!(matches!(life(24), Lifetime::Published(_)));
    assert!(matches!(life(25), Lifetime::OfRoot { .. }));
    assert_eq!(life(30), over);
    // Cache that nobody vouches for is of no use.
    let (cached, data) = block(2, KIB);
    let mut batch = store.batch().unwrap();
    batch.put(&cached, &data).unwrap();
    batch.commit(None).unwrap();
    assert_eq!(
        store.lifetime(&cached, date(SET)).unwrap(),
        Lifetime::Expired(None)
    );
}

#[test]
fn a_store_of_before_blocks_had_publishers_opens_and_takes_them() {
    let world = World::new(1 << 30);
    let store = world.open();
    let cid = put(&store, &[1, 2], KIB, true);
    drop(store);
    let db = redb::Database::open(world.dir.path().join("store.redb")).unwrap();
    let tx = db.begin_write().unwrap();
    let table = redb::TableDefinition::<&[u8], &[u8]>::new("provenance");
    assert!(tx.delete_table(table).unwrap());
    tx.commit().unwrap();
    drop(db);

    let store = world.open();
    assert_eq!(world.names_with("damaged"), [""; 0]);
    assert_eq!(store.provenance(&cid).unwrap(), None);
    assert!(matches!(
        store.lifetime(&cid, date(SET)).unwrap(),
        Lifetime::OfRoot { .. }
    ));
    publish(&store, 1, said(SET, 60));
    assert_eq!(store.provenance(&cid).unwrap(), Some(said(SET, 60)));
}

#[test]
fn what_was_put_before_the_clock_was_set_begins_when_it_is() {
    let world = World::new(1 << 30);
    let store = world.open();
    let put_at = |seed, at: SystemTime| {
        let mut batch = store.batch().unwrap();
        let (cid, data) = block(seed, KIB);
        batch.put(&cid, &data).unwrap();
        let root = Root {
            put_at: at,
            expires_at: Some(at + Duration::from_secs(600)),
            ..pinned(cid)
        };
        batch.commit(Some(root)).unwrap();
        cid
    };
    let (undated, dated) = (put_at(1, date(50)), put_at(2, date(SET - 700)));
    let start = Instant::now();
    // A clock that stands in 1970 changes nothing.
    store.sweep(date(100), start).unwrap();
    assert_eq!(store.root(&undated).unwrap().unwrap().put_at, date(50));
    // The clock is set; a day later by the process's own time it may expire things.
    store.sweep(date(SET), start).unwrap();
    let root = store.root(&undated).unwrap().unwrap();
    assert_eq!(root.put_at, date(SET));
    assert_eq!(root.expires_at, Some(date(SET + 600)));
    let later = |seconds| start + Duration::from_secs(seconds);
    store.sweep(date(SET + 599), later(599)).unwrap();
    assert!(store.root(&undated).unwrap().is_some());
    assert!(store.root(&dated).unwrap().is_none());
    store.sweep(date(SET + 600), later(600)).unwrap();
    assert!(store.root(&undated).unwrap().is_none());
}
