//! Frames of the multiplexer: tiny ones on streams that nobody reads, ones beyond the
//! window, and ones that carry nothing.

use std::collections::HashMap;
use std::time::Duration;

use async_std::channel::{Receiver, Sender, unbounded};
use async_std::task::{sleep, spawn};
use futures::future::{join_all, select};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::identity::Keypair;

use super::streams::{DATA, FIN, RST, SYN, WINDOW, yamux};
use crate::bout::{Bout, Outcome};
use crate::peer::{Channel, drain, line, raw_yamux};
use crate::process::{Order, Tally};

const PING: u8 = 2;
const ACK: u16 = 2;

/// What a stream may take before its window is raised.
const ONE_WINDOW: usize = 256 * 1024;

/// Frames in one write.
const BATCH: usize = 1000;

/// Connects, and again whenever it is cut off, and does `attack` with each connection.
async fn again_and_again<F>(order: Order, tally: Tally, attack: impl Fn(Channel, Tally) -> F)
where
    F: Future<Output = ()>,
{
    let key = Keypair::generate_ed25519();
    loop {
        match raw_yamux(&order.target, None, &key).await {
            Ok(channel) => {
                tally.add("connections", 1);
                attack(channel, tally.clone()).await;
                tally.add("times cut off", 1);
            }
            Err(_) => {
                tally.add("refused connections", 1);
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// So many attackers at once.
async fn all<F>(order: Order, tally: Tally, one: impl Fn(Order, Tally) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let each = (0..order.count).map(|_| spawn(one(order.clone(), tally.clone())));
    join_all(each.collect::<Vec<_>>()).await;
}

/// Agrees to whatever the victim wants to speak on its own streams, and fills those
/// streams with frames of one byte.
pub(crate) async fn unread(order: Order, tally: Tally) {
    all(order, tally, |order, tally| {
        again_and_again(order, tally, |channel, tally| async move {
            let (reader, writer) = channel.split();
            let (replies, answered) = unbounded();
            let (agreed, streams) = unbounded();
            let reading = agree(reader, replies, agreed, tally.clone());
            let writing = fill(writer, answered, streams, tally);
            select(Box::pin(reading), Box::pin(writing)).await;
        })
    })
    .await;
}

/// Reads the victim's frames, and answers proposals and pings.
async fn agree(
    mut reader: impl futures::AsyncRead + Unpin,
    replies: Sender<Vec<u8>>,
    agreed: Sender<u32>,
    tally: Tally,
) {
    let mut said: HashMap<u32, Vec<u8>> = HashMap::new();
    loop {
        let mut header = [0; 12];
        if reader.read_exact(&mut header).await.is_err() {
            return;
        }
        let [_, kind, _, flags, s0, s1, s2, s3, l0, l1, l2, l3] = header;
        let flags = u16::from(flags);
        let id = u32::from_be_bytes([s0, s1, s2, s3]);
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        if kind == PING && flags & ACK == 0 {
            let _ = replies.send(yamux(PING, ACK, 0, length).to_vec()).await;
        }
        if flags & RST != 0 {
            tally.add("streams reset", 1);
        }
        if kind != DATA || length == 0 {
            continue;
        }
        let mut body = vec![0; length as usize];
        if reader.read_exact(&mut body).await.is_err() {
            return;
        }
        let said = said.entry(id).or_default();
        said.extend(body);
        // The greeting and one proposal, each a line behind its length.
        let lines: Vec<_> = said.split_inclusive(|b| *b == b'\n').collect();
        if let [_, proposal] = lines[..]
            && proposal.ends_with(b"\n")
        {
            let mut answer = line("/multistream/1.0.0");
            answer.extend(proposal);
            let mut reply = yamux(DATA, ACK, id, answer.len() as u32).to_vec();
            reply.extend(answer);
            let _ = replies.send(reply).await;
            let _ = agreed.send(id).await;
            tally.add("streams", 1);
        }
    }
}

/// Sends what has to be answered, and otherwise bytes in frames of their own.
async fn fill(
    mut writer: impl futures::AsyncWrite + Unpin,
    answers: Receiver<Vec<u8>>,
    agreed: Receiver<u32>,
    tally: Tally,
) {
    let mut streams = Vec::new();
    loop {
        let mut bytes = Vec::new();
        while let Ok(answer) = answers.try_recv() {
            bytes.extend(answer);
        }
        while let Ok(id) = agreed.try_recv() {
            streams.push((id, ONE_WINDOW - 1000));
        }
        // Each in turn.
        for (id, left) in &mut streams {
            for _ in 0..BATCH {
                bytes.extend(yamux(DATA, 0, *id, 1));
                bytes.push(0);
            }
            *left -= BATCH;
            tally.add("frames", BATCH as u64);
        }
        streams.retain(|(_, left)| *left > BATCH);
        if bytes.is_empty() {
            sleep(Duration::from_millis(20)).await;
            continue;
        }
        if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}

/// Sends `batch` for ever, after `first`, and reads whatever comes.
async fn repeat(channel: Channel, first: Vec<u8>, batch: Vec<u8>, count: u64, tally: Tally) {
    let (mut reader, mut writer) = channel.split();
    let reading = async { drain(&mut reader).await };
    let writing = async {
        if writer.write_all(&first).await.is_err() {
            return;
        }
        loop {
            if writer.write_all(&batch).await.is_err() || writer.flush().await.is_err() {
                return;
            }
            tally.add("frames", count);
        }
    };
    select(Box::pin(reading), Box::pin(writing)).await;
}

/// Opens a stream and sends more on it than its window, without end.
pub(crate) async fn beyond_the_window(order: Order, tally: Tally) {
    all(order, tally, |order, tally| {
        again_and_again(order, tally, |channel, tally| {
            let mut batch = Vec::new();
            for _ in 0..4 {
                batch.extend(yamux(DATA, 0, 1, 1024));
                batch.extend([0; 1024]);
            }
            let first = yamux(WINDOW, SYN, 1, 0).to_vec();
            repeat(channel, first, batch, 4, tally)
        })
    })
    .await;
}

/// Sends frames without bytes, window updates, and both for streams that are not there.
pub(crate) async fn empty(order: Order, tally: Tally) {
    all(order, tally, |order, tally| {
        again_and_again(order, tally, |channel, tally| {
            let mut batch = Vec::new();
            for n in 0..BATCH as u32 {
                let nobody = 1001 + 2 * n;
                batch.extend(match n % 4 {
                    0 => yamux(DATA, 0, 1, 0),
                    1 => yamux(WINDOW, 0, 1, 1),
                    2 => yamux(WINDOW, 0, nobody, 1),
                    _ => yamux(DATA, FIN, nobody, 0),
                });
            }
            let first = yamux(WINDOW, SYN, 1, 0).to_vec();
            repeat(channel, first, batch, BATCH as u64, tally)
        })
    })
    .await;
}

fn attack(name: &'static str, kind: &str, seconds: u64, count: usize) -> (Bout, Outcome) {
    let mut bout = Bout::loopback(name);
    let order = bout.order(kind, seconds, count);
    let outcome = bout.fight(&[order], |_| {});
    let cut_off = outcome.tally.get("times cut off");
    let bans = bout.victim.metric("p2p_blacklist_total");
    let log = bout.victim.daemon.log();
    let defence = format!(
        "{cut_off} times cut off, {bans} bans, {} lines of log",
        log.lines().count()
    );
    bout.report(&outcome, 16 << 20, &defence).unwrap();
    let errors: Vec<_> = log
        .lines()
        .filter(|line| line.contains("ERROR") || line.contains("\"level\":\"error\""))
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    (bout, outcome)
}

#[test]
fn frames_of_one_byte_that_nobody_reads() {
    let name = "frames of one byte on unread streams, 46 connections";
    let (_bout, outcome) = attack(name, "unread frames", 10, 46);
    // Those of gossip, at the first byte.
    assert!(outcome.tally.get("streams reset") > 0, "{}", outcome.tally);
    outcome.grew_at_most(64 << 20).unwrap();
    outcome.honest_kept(0.5, 0.3).unwrap();
}

#[test]
fn frames_beyond_the_window() {
    let name = "frames beyond the window, 4 connections";
    let (bout, outcome) = attack(name, "beyond the window", 8, 4);
    // Each connection ends with its first violation, so that they are many.
    assert!(outcome.tally.get("times cut off") > 4, "{}", outcome.tally);
    let lines = bout.victim.daemon.log().lines().count();
    assert!(lines < 1000, "{lines} lines of log");
    outcome.grew_at_most(48 << 20).unwrap();
    outcome.honest_kept(0.5, 0.3).unwrap();
}

#[test]
fn frames_in_vain() {
    let name = "frames that carry nothing, 4 connections";
    let (bout, outcome) = attack(name, "empty frames", 10, 4);
    let cut_off = outcome.tally.get("times cut off");
    assert!(cut_off > 0, "nobody was cut off: {}", outcome.tally);
    assert!(
        bout.victim.metric("p2p_blacklist_total") > 0.0 || cut_off < 25,
        "it may come again: {}",
        outcome.tally
    );
    outcome.grew_at_most(48 << 20).unwrap();
    outcome.honest_kept(0.5, 0.3).unwrap();
}
