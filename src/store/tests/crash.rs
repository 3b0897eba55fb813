//! `kill -9` at any moment: what was acknowledged is there, and the rest leaves nothing
//! behind that a scrub does not remove.
//!
//! The test starts itself again as a child that puts content and prints what
//! is durable; the parent kills it in the middle of that.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use super::*;

/// Set for the child: the data folder it works in.
const CHILD: &str = "P2P_STORE_CRASH_TEST_DIR";
/// Set for the child: where its blocks begin, so that rounds differ.
const SEED: &str = "P2P_STORE_CRASH_TEST_SEED";

const ROUNDS: u64 = 40;

fn options() -> Options {
    Options {
        max_bytes: 1 << 30,
        max_block_bytes: 2 << 20,
    }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, options(), Metrics::new().unwrap()).unwrap()
}

/// Length of the block made from `seed`: now and then a large one.
fn len_of(seed: u64) -> usize {
    if seed.is_multiple_of(7) {
        1 << 20
    } else {
        (seed as usize * 37) % 20_000
    }
}

/// Runs in the child: it puts roots of three blocks, removes every third one again, and
/// makes checkpoints in between. Each line that it prints says what is durable by then.
fn child(dir: &Path, seed: u64) {
    let store = open(dir);
    let mut out = std::io::stdout().lock();
    let mut say = |line: String| {
        out.write_all(line.as_bytes()).unwrap();
        out.flush().unwrap();
    };
    // The first line tells the parent that the child has begun.
    say("open\n".into());
    for n in 0.. {
        let first = seed + n * 3;
        let mut batch = store.batch().unwrap();
        for seed in first..first + 3 {
            let (cid, data) = block(seed, len_of(seed));
            batch.put(&cid, &data).unwrap();
            if seed == first && n % 4 == 1 {
                batch.checkpoint().unwrap();
                say(format!("block {seed}\n"));
            }
        }
        let cid = block(first, len_of(first)).0;
        batch.commit(Some(pinned(cid))).unwrap();
        say(format!("root {first}\n"));
        if n % 3 == 2 {
            say(format!("removing {first}\n"));
            store.remove_root(&cid).unwrap();
            say(format!("removed {first}\n"));
        }
    }
}

#[test]
fn kill_at_any_moment_loses_nothing_that_was_acknowledged() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return child(
            Path::new(&dir),
            std::env::var(SEED).unwrap().parse().unwrap(),
        );
    }
    let dir = TempDir::new().unwrap();
    let (mut roots, mut blocks) = (Vec::new(), Vec::new());
    let mut gone = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::tests::crash::kill_at_any_moment_loses_nothing_that_was_acknowledged",
            ])
            .args(["--nocapture", "--test-threads=1"])
            .env(CHILD, dir.path())
            .env(SEED, (round * 1_000_000).to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The child is killed after a number of lines that differs in every round, plus a
        // fraction of the time that a line takes, so that every step is interrupted once.
        let kill_after = 1 + round % 9;
        let mut seen = 0;
        let mut killed = false;
        for line in lines {
            let Ok(line) = line else { break };
            let mut words = line.rsplit("... ").next().unwrap_or("").split(' ');
            let (what, seed) = (
                words.next(),
                words.next().and_then(|s| s.parse::<u64>().ok()),
            );
            match (what, seed) {
                (Some("open"), _) => {}
                (Some("root"), Some(seed)) => roots.push(seed),
                (Some("block"), Some(seed)) => blocks.push(seed),
                (Some("removing"), Some(seed)) => roots.retain(|s| *s != seed),
                (Some("removed"), Some(seed)) => gone.push(seed),
                _ => continue,
            }
            seen += 1;
            if seen >= kill_after && !killed {
                let pause = (round * 7919) % 3000;
                let until = std::time::Instant::now() + Duration::from_micros(pause);
                while std::time::Instant::now() < until {
                    std::hint::spin_loop();
                }
                child.kill().unwrap();
                // What is still in the pipe was acknowledged as well, so it is read too.
                killed = true;
            }
        }
        child.wait().unwrap();
        assert!(killed, "the child of round {round} ended by itself");

        let store = open(dir.path());
        let verify = |seed: u64| {
            let (cid, data) = block(seed, len_of(seed));
            let found = store.get_verified(&cid).unwrap();
            assert!(
                found.is_some_and(|found| found == data),
                "round {round} lost {seed}"
            );
        };
        // The last rounds are checked one by one. To check all of them each time would read
        // them again and again.
        for &first in roots.iter().filter(|s| **s + 3_000_000 > round * 1_000_000) {
            let cid = block(first, len_of(first)).0;
            assert!(
                store.root(&cid).unwrap().is_some(),
                "round {round} lost root {first}"
            );
            (first..first + 3).for_each(verify);
        }
        if round % 2 == 1 {
            store.scrub().unwrap();
        }
    }
    assert!(roots.len() as u64 > ROUNDS / 2 && !gone.is_empty() && !blocks.is_empty());

    let store = open(dir.path());
    for &first in &roots {
        for seed in first..first + 3 {
            let (cid, data) = block(seed, len_of(seed));
            assert_eq!(
                store.get_verified(&cid).unwrap().unwrap(),
                &data[..],
                "lost {seed}"
            );
        }
    }
    for seed in gone {
        assert!(
            store.root(&block(seed, len_of(seed)).0).unwrap().is_none(),
            "{seed} is back"
        );
    }
    for seed in blocks {
        // The block is in the cache, is part of a root, or was removed with one.
        let _ = store.get_verified(&block(seed, len_of(seed)).0).unwrap();
    }
    // Nothing but what somebody can name is left once all roots are removed
    // and the cache is evicted.
    store.scrub().unwrap();
    for root in store.roots().unwrap() {
        store.remove_root(&root.cid).unwrap();
    }
    drop(store);
    let store = Store::open(
        dir.path(),
        Options {
            max_bytes: 0,
            ..options()
        },
        Metrics::new().unwrap(),
    )
    .unwrap();
    store.sweep(SystemTime::now(), Instant::now()).unwrap();
    store.scrub().unwrap();
    assert_eq!((store.usage().blocks, store.usage().disk_bytes), (0, 0));
    assert_eq!(
        fs::read_dir(dir.path().join(BLOCKS)).unwrap().count(),
        0,
        "garbage is left"
    );
    drop(store);
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["blocks", "store.redb"]);
}
