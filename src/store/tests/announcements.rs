//! What was announced, and which roots there are to announce.

use std::collections::HashMap;

use super::*;

#[test]
fn announcements_come_back_as_they_were_saved() {
    let world = World::new(1 << 20);
    let (first, second) = (block(1, KIB).0, block(2, KIB).0);
    {
        let store = world.open();
        assert_eq!(store.load_announcements().unwrap(), HashMap::new());
        let announced = [(first, 7), (second, u64::MAX)];
        store.save_announcements(&announced, &[]).unwrap();
        store.save_announcements(&[(first, 8)], &[second]).unwrap();
    }
    let rows = world.open().load_announcements().unwrap();
    assert_eq!(rows, HashMap::from([(first, 8)]));
}

#[test]
fn the_roots_to_announce_are_those_that_live_and_their_version_tells_of_changes() {
    let world = World::new(1 << 20);
    let store = world.open();
    let empty = store.roots_version();
    let one = put(&store, &[1], KIB, true);
    let with_one = store.roots_version();
    assert_ne!(with_one, empty);
    let mut batch = store.batch().unwrap();
    let (two, data) = block(2, KIB);
    batch.put(&two, &data).unwrap();
    let expires = Some(at(100));
    batch
        .commit(Some(Root {
            expires_at: expires,
            ..pinned(two)
        }))
        .unwrap();
    let with_two = store.roots_version();
    assert_ne!(with_two, with_one);
    assert_eq!(store.live_roots(at(99)).unwrap(), [one, two]);
    assert_eq!(store.live_roots(at(100)).unwrap(), [one]);
    assert_eq!(store.roots_version(), with_two);
    store.remove_root(&one).unwrap();
    let removed = store.roots_version();
    assert_ne!(removed, with_two);
    drop(store);
    assert_eq!(world.open().roots_version(), removed);
}
