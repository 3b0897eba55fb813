use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use async_std::task::{block_on, spawn};
use futures::future::join_all;
use libp2p::identity::Keypair;
use tempfile::TempDir;

use super::*;
use crate::message::compression::Compression;
use crate::message::seal;
use crate::message::statement::{Purpose, Statement};
use crate::message::windows::id_of;
use crate::message::{pb, refusal};
use crate::telemetry::Register as _;

const LIMITS: Limits = Limits {
    envelope: 64 << 10,
    payload: 32 << 10,
};
const TOPIC: &[u8] = b"/p2p-node/chat";

/// Publisher `n`: the same in every process.
fn publisher(n: u8) -> Keypair {
    Keypair::ed25519_from_bytes([n; 32]).unwrap()
}

fn message(publisher: &Keypair, number: u64) -> Bytes {
    seal(
        publisher,
        TOPIC,
        number,
        Bytes::from_static(b"hello"),
        LIMITS,
    )
    .unwrap()
}

fn unstored() -> Opener {
    Opener::unstored(PeerId::random(), LIMITS, Metrics::new().unwrap())
}

fn store(dir: &Path) -> Store {
    let options = store::Options {
        max_bytes: 1 << 20,
        max_block_bytes: 1 << 20,
    };
    Store::open(dir, options, store::Metrics::new().unwrap()).unwrap()
}

fn stored(dir: &Path, timing: Timing) -> Opener {
    let metrics = Metrics::new().unwrap();
    Opener::with_timing(PeerId::random(), LIMITS, store(dir), metrics, timing).unwrap()
}

fn open(opener: &Opener, bytes: Bytes) -> Result<Opened, Refusal> {
    block_on(opener.open(TOPIC, bytes, &publisher(200).public().to_peer_id()))
}

#[test]
fn late_messages_are_opened_once_and_replays_never() {
    let opener = unstored();
    let keypair = publisher(1);
    for number in [100, 98, 99] {
        let opened = open(&opener, message(&keypair, number)).unwrap();
        assert_eq!(opened.publisher, keypair.public().to_peer_id());
        assert_eq!(
            (opened.number, &opened.payload[..]),
            (number, &b"hello"[..])
        );
        let replay = open(&opener, message(&keypair, number)).unwrap_err();
        assert_eq!(replay.label(), "replay");
    }
    let old = open(&opener, message(&keypair, 36)).unwrap_err();
    assert_eq!(
        old,
        Refusal::TooOld {
            publisher: keypair.public().to_peer_id(),
            number: 36,
            oldest: 37
        }
    );
    let refused = |label| {
        opener
            .metrics
            .messages_refused
            .with_label_values(&[label])
            .get()
    };
    assert_eq!((refused("replay"), refused("too_old")), (3, 1));
    assert_eq!(opener.metrics.message_publishers.get(), 1);
}

/// A number counts for the publisher and not for the topic.
#[test]
fn a_message_cannot_be_replayed_under_another_topic() {
    let opener = unstored();
    let keypair = publisher(1);
    open(&opener, message(&keypair, 1)).unwrap();
    let other = seal(&keypair, b"/p2p-node/x", 1, Bytes::new(), LIMITS).unwrap();
    let refused = block_on(opener.open(b"/p2p-node/x", other, &PeerId::random()));
    assert_eq!(refused.unwrap_err().label(), "replay");
}

#[test]
fn this_nodes_own_messages_do_not_come_in() {
    let keypair = publisher(1);
    let own = keypair.public().to_peer_id();
    let opener = Opener::unstored(own, LIMITS, Metrics::new().unwrap());
    assert_eq!(
        open(&opener, message(&keypair, 5)),
        Err(Refusal::Own { number: 5 })
    );
}

#[test]
fn what_is_not_signed_by_its_publisher_leaves_no_window() {
    let opener = unstored();
    let mut raw = <pb::SignedMessage as prost::Message>::decode(message(&publisher(1), 1)).unwrap();
    raw.seq_no = u64::MAX;
    let forged = prost::Message::encode_to_vec(&raw);
    let refused = open(&opener, forged.into()).unwrap_err();
    assert_eq!(refused.label(), "bad_signature");
    assert!(lock(&opener.windows).is_empty());
    open(&opener, message(&publisher(1), 1)).unwrap();
    // The result is the same when the publisher is known.
    raw.seq_no = 2;
    let forged = prost::Message::encode_to_vec(&raw);
    let refused = open(&opener, forged.into()).unwrap_err();
    assert_eq!(refused.label(), "bad_signature");
    open(&opener, message(&publisher(1), 2)).unwrap();
}

#[test]
fn a_publisher_that_jumps_to_the_end_harms_itself_only() {
    let opener = unstored();
    open(&opener, message(&publisher(1), u64::MAX)).unwrap();
    let refused = open(&opener, message(&publisher(1), 1)).unwrap_err();
    assert_eq!(refused.label(), "too_old");
    open(&opener, message(&publisher(2), 1)).unwrap();
}

#[test]
fn a_payload_that_does_not_unpack_uses_its_number_up() {
    let opener = unstored();
    let keypair = publisher(1);
    // It declares a gigabyte.
    let payload = Bytes::from_static(&[0x80, 0x80, 0x80, 0x80, 0x04]);
    let signature = Statement::new(Purpose::Message)
        .bytes(TOPIC)
        .number(7)
        .number(Compression::Snappy as u64)
        .digest(&payload)
        .sign(&keypair)
        .unwrap();
    let bomb = prost::Message::encode_to_vec(&pb::SignedMessage {
        payload,
        signature: signature.into(),
        seq_no: 7,
        key: keypair.public().encode_protobuf().into(),
        compression: Compression::Snappy.into(),
    });
    let labels = [(); 2].map(|()| open(&opener, bomb.clone().into()).unwrap_err().label());
    assert_eq!(labels, ["bomb", "replay"]);
    assert!(labels.iter().all(|label| refusal::LABELS.contains(label)));
}

#[test]
fn of_many_tasks_with_the_same_message_one_gets_it() {
    let dir = TempDir::new().unwrap();
    let opener = stored(dir.path(), Timing::default());
    let bytes = message(&publisher(1), 9);
    let tasks = (0..32).map(|_| {
        let (opener, bytes) = (opener.clone(), bytes.clone());
        spawn(async move { opener.open(TOPIC, bytes, &PeerId::random()).await.is_ok() })
    });
    let opened = block_on(join_all(tasks));
    assert_eq!(opened.into_iter().filter(|opened| *opened).count(), 1);
}

#[test]
fn a_replay_is_refused_after_a_clean_stop() {
    let dir = TempDir::new().unwrap();
    let opener = stored(dir.path(), Timing::default());
    for number in [100, 70] {
        open(&opener, message(&publisher(1), number)).unwrap();
    }
    block_on(opener.close());
    drop(opener);
    // The journal is in the database by now, and deleted.
    let journal = std::fs::read_dir(dir.path().join("windows")).unwrap();
    assert_eq!(journal.count(), 0);
    let opener = stored(dir.path(), Timing::default());
    for number in [100, 70] {
        let refused = open(&opener, message(&publisher(1), number)).unwrap_err();
        assert_eq!(refused.label(), "replay");
    }
    open(&opener, message(&publisher(1), 71)).unwrap();
}

#[test]
fn a_closed_opener_still_delivers() {
    let dir = TempDir::new().unwrap();
    let opener = stored(dir.path(), Timing::default());
    block_on(opener.close());
    open(&opener, message(&publisher(1), 1)).unwrap();
    block_on(opener.close());
}

#[test]
fn a_disk_that_takes_no_writes_does_not_stop_messages() {
    let dir = TempDir::new().unwrap();
    let opener = stored(dir.path(), Timing::default());
    std::fs::remove_dir_all(dir.path().join("windows")).unwrap();
    open(&opener, message(&publisher(1), 1)).unwrap();
    assert_eq!(opener.metrics.message_marks_unrecorded.get(), 1);
    let refused = open(&opener, message(&publisher(1), 1)).unwrap_err();
    assert_eq!(refused.label(), "replay");
}

const CHILD: &str = "P2P_WINDOWS_CRASH_TEST_DIR";
const ROUND: &str = "P2P_WINDOWS_CRASH_TEST_ROUND";
const ROUNDS: u64 = 20;
const PUBLISHERS: u8 = 16;

/// The child: opens messages of some publishers, several at once, not quite in
/// order, and says what is delivered.
fn child(dir: &Path, round: u64) {
    // Flushed and stored all the time, so that a kill meets every step of it.
    let opener = stored(
        dir,
        Timing {
            flush: Duration::from_millis(1),
            store: Duration::from_millis(10),
            store_bytes: 2000,
            retry: Duration::from_millis(1),
        },
    );
    let mut out = std::io::stdout().lock();
    for step in 0_u64.. {
        let opens = (0..PUBLISHERS).map(|n| {
            let opener = opener.clone();
            let number = round * 1_000_000 + (step ^ 5) + 1;
            spawn(async move {
                let bytes = message(&publisher(n), number);
                opener.open(TOPIC, bytes, &PeerId::random()).await.unwrap();
                (n, number)
            })
        });
        for (n, number) in block_on(join_all(opens)) {
            writeln!(out, "took {n} {number};").unwrap();
        }
        out.flush().unwrap();
    }
}

#[test]
fn what_was_delivered_before_a_kill_is_a_replay_after_it() {
    if let Some(dir) = std::env::var_os(CHILD) {
        let round = std::env::var(ROUND).unwrap().parse().unwrap();
        return child(Path::new(&dir), round);
    }
    let dir = TempDir::new().unwrap();
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "node::gossip::signed::opener::tests::what_was_delivered_before_a_kill_is_a_replay_after_it",
            ])
            .args(["--nocapture", "--test-threads=1"])
            .env(CHILD, dir.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let kill_after = 1 + (round * 37) % 400;
        let mut seen = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let Ok(line) = line else { break };
            // The end of the process may cut a line short. Such a line does not count.
            let Some(rest) = line
                .rsplit("took ")
                .next()
                .and_then(|l| l.strip_suffix(';'))
            else {
                continue;
            };
            let (n, number) = rest.split_once(' ').unwrap();
            took.push((n.parse::<u8>().unwrap(), number.parse::<u64>().unwrap()));
            seen += 1;
            if seen == kill_after {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(
            seen >= kill_after,
            "the child of round {round} ended by itself"
        );

        let store = store(dir.path());
        let mut windows = Windows::restore(store.load_windows().unwrap());
        let (_, found) = store
            .open_journal(|mark| {
                let _ = windows.accept(mark);
            })
            .unwrap();
        assert_eq!(found.damaged, 0, "round {round}");
        for (n, number) in &took {
            let id = id_of(&publisher(*n).public().to_peer_id());
            let refused = windows.check(&id, *number);
            assert!(
                refused.is_err(),
                "round {round}: {number} of {n} passes again"
            );
            // A number that was never sent is not refused.
            assert_eq!(windows.check(&id, (round + 1) * 1_000_000), Ok(()));
        }
        assert!(windows.len() <= usize::from(PUBLISHERS));
    }
}
