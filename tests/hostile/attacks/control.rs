//! The control socket: programs that ask and never read.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_io::Async;
use async_std::task::{block_on, sleep, spawn};
use bytes::Bytes;
use futures::AsyncWriteExt;
use futures::future::join_all;
use p2p_node::control::Client;
use p2p_node::control::client::PutOptions;

use crate::bout::Bout;
use crate::honest::noise;
use crate::peer::drain;
use crate::process::{Order, Tally};
use crate::wire::{framed, varint};

/// What the clients subscribe to: busy, and of this network.
const BUSY: &str = "/p2p-node/busy";

/// Larger than all buffers of sockets together.
const FILE: usize = 24 << 20;

/// Connects as often as it takes: the kernel's queue of the socket is short.
async fn connect(path: &Path) -> Client {
    loop {
        if let Ok(client) = Client::connect(path).await {
            return client;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// A third each of `count` clients subscribes to a busy topic, downloads a file
/// and asks for the peers without end; none of them reads. `more` are the socket
/// and the file's CID.
pub(crate) async fn never_read(order: Order, tally: Tally) {
    let path = PathBuf::from(&order.more[0]);
    let cid: cid::Cid = order.more[1].parse().unwrap();
    let busy = spawn({
        let path = path.clone();
        async move {
            let mut client = connect(&path).await;
            let data = Bytes::from(vec![0x33; 48 << 10]);
            loop {
                let _ = client.publish(BUSY, data.clone()).await;
                sleep(Duration::from_millis(20)).await;
            }
        }
    });
    let clients = (0..order.count).map(|n| {
        let (path, tally) = (path.clone(), tally.clone());
        spawn(async move {
            match n % 3 {
                0 => {
                    let client = connect(&path).await;
                    let subscription = client.subscribe(&[BUSY]).await;
                    tally.add("subscribers", u64::from(subscription.is_ok()));
                    std::future::pending::<()>().await;
                }
                1 => {
                    let mut client = connect(&path).await;
                    let download = client.get(&cid, None).await;
                    tally.add("downloads", u64::from(download.is_ok()));
                    std::future::pending::<()>().await;
                }
                _ => {
                    let mut io = loop {
                        match Async::<UnixStream>::connect(&path).await {
                            Ok(io) => break io,
                            Err(_) => sleep(Duration::from_millis(20)).await,
                        }
                    };
                    tally.add("askers", 1);
                    // Request { type: PEERS }.
                    let asks = [2, 8, 101].repeat(1000);
                    while io.write_all(&asks).await.is_ok() {}
                    tally.add("askers cut off", 1);
                    std::future::pending::<()>().await;
                }
            }
        })
    });
    join_all(clients.collect::<Vec<_>>()).await;
    busy.await;
}

#[test]
fn control_clients_that_never_read() {
    let mut bout = Bout::of_patience("control clients that never read");
    let socket = bout.victim.daemon.socket();
    let cid = block_on(async {
        let mut client = Client::connect(&socket).await.unwrap();
        let file = noise(FILE, 99);
        let put = client.put(&file[..], PutOptions::default(), |_| {}).await;
        put.unwrap().cid
    });
    let mut order = bout.order("control", 42, 300);
    order.more = vec![socket.display().to_string(), cid.to_string()];
    let outcome = bout.fight(&[order], |_| {});
    let stalled = bout
        .victim
        .metric("p2p_control_clients_dropped_total{cause=\"stalled\"}");
    let defence = format!("{stalled} clients cut off");
    bout.report(&outcome, 48 << 20, &defence).unwrap();
    let asked = outcome.tally.get("askers") + outcome.tally.get("subscribers");
    assert!(asked > 150, "{}", outcome.tally);
    assert!(stalled >= asked as f64, "{stalled} of {asked} were cut off");
    // 64 downloads: 64 MiB for all, and for each a block and one that is being
    // written; and what waits for subscribers and askers until they are cut off.
    outcome.grew_at_most((64 + 64 + 64 + 96) << 20).unwrap();
    outcome.honest_kept(0.5, 0.3).unwrap();
}

/// What is no request.
fn nonsense(n: usize) -> Vec<u8> {
    match n % 7 {
        // 4 MiB and a byte announced; 2^63; a varint without end.
        0 => varint((4 << 20) + 1),
        1 => varint(1 << 63),
        2 => vec![0xff; 64],
        3 => [&varint(500)[..], &[0xfe; 500]].concat(),
        // Half of the largest request, and gone.
        4 => [&varint(4 << 20)[..], &vec![0x2a; 2 << 20]].concat(),
        // Random bytes behind a right length.
        5 => framed(&rand::random_iter().take(300).collect::<Vec<u8>>()),
        // A put whose frames are larger than they may be.
        _ => {
            // Request { type: BLOCK, block: { type: PUT } }.
            let mut bytes = framed(&[8, 102, 0xb2, 6, 2, 8, 0]);
            bytes.extend(varint((1 << 20) + 1));
            bytes
        }
    }
}

/// `count` clients at a time that speak nonsense, one connection after another.
pub(crate) async fn malformed(order: Order, tally: Tally) {
    let path = PathBuf::from(&order.more[0]);
    let clients = (0..order.count).map(|n| {
        let (path, tally) = (path.clone(), tally.clone());
        spawn(async move {
            for round in n.. {
                let Ok(mut io) = Async::<UnixStream>::connect(&path).await else {
                    sleep(Duration::from_millis(20)).await;
                    continue;
                };
                tally.add("bad requests", 1);
                let _ = io.write_all(&nonsense(round)).await;
                if round % 3 == 0 {
                    continue;
                }
                let end = async_std::future::timeout(Duration::from_secs(2), drain(&mut io));
                if end.await.is_err() {
                    tally.add("left open", 1);
                }
            }
        })
    });
    join_all(clients.collect::<Vec<_>>()).await;
}

#[test]
fn malformed_control_requests() {
    let mut bout = Bout::loopback("malformed and oversized control requests");
    let socket = bout.victim.daemon.socket();
    let mut order = bout.order("malformed control", 8, 16);
    order.more = vec![socket.display().to_string()];
    let outcome = bout.fight(&[order], |_| {});
    let dropped = bout
        .victim
        .metric("p2p_control_clients_dropped_total{cause=\"malformed\"}");
    bout.report(&outcome, 24 << 20, &format!("{dropped} clients cut off"))
        .unwrap();
    assert!(dropped > 0.0);
    outcome.grew_at_most(96 << 20).unwrap();
    outcome.honest_kept(0.5, 0.3).unwrap();
}
