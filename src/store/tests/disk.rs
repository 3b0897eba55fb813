//! What a disk can do to the store: fill up, rot, hold somebody else's file.

use std::{os::unix::fs::FileExt, process::Command};

use super::*;

const LEN: usize = 100 * KIB;

#[test]
fn the_data_folder_is_private() {
    let world = World::new(1 << 30);
    let outer = world.dir.path().join("a/b");
    let store = Store::open(&outer, world.options, Metrics::new().unwrap()).unwrap();
    drop(store);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&outer), 0o700);
    fs::set_permissions(&outer, fs::Permissions::from_mode(0o755)).unwrap();
    Store::open(&outer, world.options, Metrics::new().unwrap()).unwrap();
    assert_eq!(mode(&outer), 0o700);
}

#[test]
fn a_second_user_of_the_folder_is_told_whose_it_is() {
    let world = World::new(1 << 30);
    let first = world.open();
    let error = world.try_open().unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains(&*world.dir.path().to_string_lossy()),
        "{error}"
    );
    assert!(error.to_string().contains("P2P_DATA_DIR"), "{error}");
    drop(first);
    world.open();
}

/// Writes `bytes` over the database and opens the store, which must set it
/// aside unchanged and begin anew.
#[track_caller]
fn assert_set_aside(spoil: impl FnOnce(&Path)) {
    let world = World::new(1 << 30);
    let store = world.open();
    put(&store, &[1, 2], LEN, true);
    drop(store);
    let path = world.dir.path().join("store.redb");
    spoil(&path);
    let spoilt = fs::read(&path).unwrap();

    let store = world.open();
    assert_eq!(store.usage().blocks, 0);
    put(&store, &[3], LEN, true);
    drop(store);
    let store = world.open();
    assert!(has(&store, 3, LEN));
    let aside = world.names_with("damaged-");
    assert_eq!(aside.len(), 2, "{aside:?}");
    assert!(aside[0].starts_with("blocks.damaged-"), "{aside:?}");
    assert!(aside[1].starts_with("store.redb.damaged-"), "{aside:?}");
    assert!(
        fs::read(world.dir.path().join(&aside[1])).unwrap() == spoilt,
        "it was changed"
    );
    let payloads = fs::read_dir(world.dir.path().join(&aside[0]))
        .unwrap()
        .count();
    assert_eq!(payloads, 1, "the old payloads are kept beside it");
}

#[test]
fn a_file_that_is_no_database_is_set_aside() {
    assert_set_aside(|path| fs::write(path, "just a text, and a short one").unwrap());
    assert_set_aside(|path| fs::write(path, vec![0xa5; 300_000]).unwrap());
}

#[test]
fn a_damaged_head_is_set_aside() {
    assert_set_aside(|path| {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&[0xff; 512], 64).unwrap();
    });
}

#[test]
fn the_database_of_another_program_is_set_aside() {
    let theirs: redb::TableDefinition<u32, u32> = redb::TableDefinition::new("theirs");
    let world = World::new(1 << 30);
    let path = world.dir.path().join("store.redb");
    let db = redb::Database::create(&path).unwrap();
    let tx = db.begin_write().unwrap();
    tx.open_table(theirs).unwrap().insert(1, 2).unwrap();
    tx.commit().unwrap();
    drop(db);

    put(&world.open(), &[3], LEN, true);
    assert!(has(&world.open(), 3, LEN));
    // Opening rewrites redb's own header; their content is as it was.
    let aside = world.names_with("store.redb.damaged-");
    assert_eq!(aside.len(), 1, "{aside:?}");
    let db = redb::Database::open(world.dir.path().join(&aside[0])).unwrap();
    let tx = redb::ReadableDatabase::begin_read(&db).unwrap();
    assert_eq!(
        tx.open_table(theirs)
            .unwrap()
            .get(1)
            .unwrap()
            .unwrap()
            .value(),
        2
    );
}

#[test]
fn the_database_of_a_newer_version_is_left_alone() {
    let world = World::new(1 << 30);
    let store = world.open();
    put(&store, &[1], LEN, true);
    drop(store);
    let path = world.dir.path().join("store.redb");
    {
        let db = redb::Database::open(&path).unwrap();
        let tx = db.begin_write().unwrap();
        let meta: redb::TableDefinition<&str, u64> = redb::TableDefinition::new("meta");
        tx.open_table(meta)
            .unwrap()
            .insert("format", index::FORMAT + 1)
            .unwrap();
        tx.commit().unwrap();
    }
    let error = world.try_open().unwrap_err();
    assert!(matches!(error, Error::Newer { .. }), "{error}");
    assert_eq!(world.names_with("damaged"), [""; 0]);
}

#[test]
fn a_damaged_payload_is_reported_with_its_path_and_can_be_stored_again() {
    // Flipped bits in the payload, a lost header, a short file, no file.
    for how in 0..4 {
        let world = World::new(1 << 30);
        let store = world.open();
        put(&store, &[1], LEN, true);
        let (cid, data) = block(1, LEN);
        let path = store.inner.segments.path(1);
        let path = if path.exists() {
            path
        } else {
            store.inner.segments.path(0)
        };
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        match how {
            0 => file.write_all_at(b"damage", 5000).unwrap(),
            1 => file.write_all_at(&[0; 8], 0).unwrap(),
            2 => file.set_len(500).unwrap(),
            _ => fs::remove_file(&path).unwrap(),
        }
        drop(store);
        let store = world.open();
        let error = store.get_verified(&cid).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{how}: {error}");
        assert!(
            error.to_string().contains(&*path.to_string_lossy()),
            "{how}: {error}"
        );
        assert!(!store.has(&cid).unwrap(), "it is not offered any more");
        let mut batch = store.batch().unwrap();
        batch.put(&cid, &data).unwrap();
        batch.commit(Some(root(cid))).unwrap();
        assert_eq!(store.get_verified(&cid).unwrap().unwrap(), &data[..]);
    }
}

/// Whoever puts is told that it is durable, so what rots unnoticed must not be
/// taken for it.
#[test]
fn what_is_put_again_over_damaged_payloads_is_whole() {
    let world = World::new(1 << 30);
    let store = world.open();
    put(&store, &[1, 2, 3], LEN, true);
    let path = store.inner.segments.path(0);
    let path = if path.exists() {
        path
    } else {
        store.inner.segments.path(1)
    };
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    // The first loses bits, the third its end.
    file.write_all_at(b"damage", 5000).unwrap();
    file.set_len(5 * LEN as u64 / 2).unwrap();
    put(&store, &[1, 2, 3], LEN, true);
    drop(store);
    let store = world.open();
    for seed in 1..=3 {
        let (cid, data) = block(seed, LEN);
        assert_eq!(store.get_verified(&cid).unwrap().unwrap(), &data[..]);
    }
    assert_eq!(store.usage().blocks, 3);
}

/// A small file system of its own; `None`, with the reason printed, when this
/// process may not mount one.
struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    fn new(options: &str) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "p2p-node-test"])
            .arg(dir.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(SmallDisk { dir }),
            Ok(output) => {
                println!(
                    "skipped: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
                None
            }
            Err(error) => {
                println!("skipped: cannot run mount: {error}");
                None
            }
        }
    }

    fn open(&self) -> Store {
        let options = Options {
            max_bytes: 1 << 30,
            max_block_bytes: 2 << 20,
        };
        Store::open(self.dir.path(), options, Metrics::new().unwrap()).unwrap()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.dir.path())
            .status();
    }
}

#[test]
fn a_full_disk_is_an_error_that_loses_nothing() {
    let Some(disk) = SmallDisk::new("size=40m") else {
        return;
    };
    let store = disk.open();
    let kept = put(&store, &[1, 2, 3], 1 << 20, true);
    let mut batch = store.batch().unwrap();
    let mut put_some = 0;
    let error = loop {
        let (cid, data) = block(100 + put_some, 1 << 20);
        match batch.put(&cid, &data) {
            Ok(()) => put_some += 1,
            Err(error) => break error,
        }
        assert!(put_some < 60, "forty megabytes do not hold sixty blocks");
    };
    assert!(put_some > 10);
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    drop(batch);
    // All of it came back, and the store goes on.
    let again = put(&store, &[1000], 1 << 20, true);
    for seed in [1, 2, 3, 1000] {
        assert!(
            store
                .get_verified(&block(seed, 1 << 20).0)
                .unwrap()
                .is_some()
        );
    }
    assert_eq!(store.remove_root(&again).unwrap().blocks, 1);
    assert_eq!(store.root(&kept).unwrap().unwrap().cid, kept);
}

#[test]
fn a_disk_that_others_fill_up_does_not_break_the_store_for_good() {
    let Some(disk) = SmallDisk::new("size=40m") else {
        return;
    };
    let store = disk.open();
    put(&store, &[1, 2, 3], 1 << 20, true);
    let mut batch = store.batch().unwrap();
    let (cid, data) = block(4, 1 << 20);
    batch.put(&cid, &data).unwrap();
    // Somebody else takes every last page, also those kept for the database.
    let ballast = disk.dir.path().join("ballast");
    let file = fs::File::create(&ballast).unwrap();
    let mut at = 0;
    while file.write_all_at(&[1; 4096], at).is_ok() {
        at += 4096;
    }
    // A commit that needs new pages fails or fits; both are whole.
    let mut failed = 0;
    let mut committed = batch.commit(Some(pinned(cid))).is_ok() as u64;
    for seed in 0..200 {
        let peer = KnownPeer {
            peer: libp2p::PeerId::random(),
            addrs: (0..16)
                .map(|n| format!("/ip4/10.0.0.{n}/tcp/{}", seed + 1).parse().unwrap())
                .collect(),
            last_seen: at_now(),
        };
        match store.save_peers(&vec![peer; 1]) {
            Ok(()) => committed += 1,
            Err(error) => {
                assert!(matches!(error, Error::DiskFull { .. }), "{error}");
                failed += 1;
            }
        }
    }
    println!("on the full disk {committed} commits fitted and {failed} failed");
    // Reading goes on while it is full.
    for seed in [1, 2, 3] {
        assert!(
            store
                .get_verified(&block(seed, 1 << 20).0)
                .unwrap()
                .is_some()
        );
    }
    let (new, data) = block(5, 1 << 20);
    let mut batch = store.batch().unwrap();
    let error = batch.put(&new, &data).unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    drop(batch);
    // And writing when it is not any more, without a restart.
    drop(file);
    fs::remove_file(&ballast).unwrap();
    put(&store, &[6], 1 << 20, true);
    drop(store);
    let store = disk.open();
    for seed in [1, 2, 3, 6] {
        assert!(
            store
                .get_verified(&block(seed, 1 << 20).0)
                .unwrap()
                .is_some()
        );
    }
}

fn at_now() -> SystemTime {
    at(0)
}

#[test]
fn a_read_only_disk_is_named() {
    let Some(disk) = SmallDisk::new("size=40m") else {
        return;
    };
    let store = disk.open();
    put(&store, &[1], LEN, true);
    drop(store);
    let remount = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(disk.dir.path())
        .status();
    assert!(remount.unwrap().success());
    let options = Options {
        max_bytes: 1 << 30,
        max_block_bytes: 2 << 20,
    };
    let error = Store::open(disk.dir.path(), options, Metrics::new().unwrap()).unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
}

#[test]
fn a_file_that_cannot_be_opened_is_named_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options {
        max_bytes: 1 << 30,
        max_block_bytes: 2 << 20,
    };
    let open = || Store::open(dir.path(), options(), Metrics::new().unwrap()).unwrap();
    put(&open(), &[1], LEN, true);
    let store = open();
    let segments = &store.inner.segments;
    let files = segments.old_files().unwrap();
    let [(id, _)] = files[..] else {
        panic!("{files:?}")
    };
    segments.usable(id).unwrap();
    // Root may open every file, but nobody writes to a folder.
    let path = dir.path().join(format!("blocks/{id:08x}.seg"));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let error = segments.usable(id).unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()), "{error}");
    store.scrub().unwrap();
}
