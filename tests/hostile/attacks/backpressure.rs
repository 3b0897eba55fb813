//! Streams on which a peer asks, or sends, and never reads.
//!
//! (Tests are run in the order of their names: this one, which waits for a long time,
//! has to begin first so that the others can run at the same time.)

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use async_std::task::{block_on, sleep, spawn};
use futures::AsyncWriteExt;
use futures::future::join_all;
use libp2p::Multiaddr;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use p2p_node::control::Client;

use crate::bout::Bout;
use crate::peer::Peer;
use crate::process::{Order, Tally};
use crate::wire::{exchange, frame};

/// `count` peers with eight exchange streams each, on which they want as much as
/// may be wanted, and read nothing. `more` are CIDs that the victim has.
pub(crate) async fn unread_blocks(order: Order, tally: Tally) {
    let cids: Vec<Vec<u8>> = order
        .more
        .iter()
        .map(|c| c.parse::<cid::Cid>().unwrap().to_bytes())
        .collect();
    let wants = exchange::Request {
        wants: (0..256)
            .map(|id| exchange::Want {
                id,
                cid: cids[id as usize % cids.len()].clone(),
            })
            .collect(),
        ..exchange::Request::default()
    };
    let first = frame(&wants);
    let peers = (0..order.count).map(|_| {
        let (target, tally, first) = (order.target.clone(), tally.clone(), first.clone());
        spawn(async move {
            let key = Keypair::generate_ed25519();
            loop {
                let Ok(peer) = Peer::polite(&target, None, &key).await else {
                    tally.add("refused connections", 1);
                    sleep(Duration::from_millis(500)).await;
                    continue;
                };
                let mut streams = Vec::new();
                for _ in 0..8 {
                    if let Ok(stream) = peer.open_unread("/p2p-node/block/1.0.0", &first).await {
                        tally.add("streams", 1);
                        streams.push(stream);
                    }
                }
                peer.ends().await;
                tally.add("times cut off", 1);
            }
        })
    });
    join_all(peers.collect::<Vec<_>>()).await;
}

/// `count` peers that open all the streams they may to a program behind the
/// victim: half never read what it says, half never stop talking to it.
pub(crate) async fn unread_program(order: Order, tally: Tally) {
    let peers = (0..order.count).map(|n| {
        let (order, tally) = (order.clone(), tally.clone());
        spawn(async move {
            let key = Keypair::generate_ed25519();
            loop {
                let Ok(peer) = Peer::polite(&order.target, None, &key).await else {
                    tally.add("refused connections", 1);
                    sleep(Duration::from_millis(500)).await;
                    continue;
                };
                let mut streams = Vec::new();
                for _ in 0..120 {
                    let Ok(mut stream) = peer.open_unread(&order.more[n % 2], &[]).await else {
                        tally.add("refused streams", 1);
                        continue;
                    };
                    tally.add("streams", 1);
                    if n % 2 == 0 {
                        streams.push(stream);
                    } else {
                        let tally = tally.clone();
                        spawn(async move {
                            let chunk = vec![0; 64 << 10];
                            while stream.write_all(&chunk).await.is_ok() {
                                tally.add("KiB pushed", 64);
                            }
                        });
                    }
                }
                peer.ends().await;
                tally.add("times cut off", 1);
            }
        })
    });
    join_all(peers.collect::<Vec<_>>()).await;
}

/// Programs that take streams for the victim: one talks without end, the other
/// never listens. They go with the test's process.
fn programs(dir: &Path, victim: &Path) -> [&'static str; 2] {
    let names = ["/hostile/chatty/1", "/hostile/deaf/1"];
    for (n, name) in names.into_iter().enumerate() {
        let path = dir.join(format!("program{n}"));
        let listener = UnixListener::bind(&path).unwrap();
        let address = Multiaddr::from(Protocol::Unix(path.to_str().unwrap().into()));
        block_on(async {
            let mut client = Client::connect(victim).await.unwrap();
            client.handle_streams(&address, &[name]).await.unwrap();
        });
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                std::thread::spawn(move || {
                    if n == 0 {
                        let chunk = vec![0; 64 << 10];
                        while stream.write_all(&chunk).is_ok() {}
                    } else {
                        // Until the victim gives it up.
                        let mut poll = [nix::poll::PollFd::new(
                            std::os::fd::AsFd::as_fd(&stream),
                            nix::poll::PollFlags::empty(),
                        )];
                        let _ = nix::poll::poll(&mut poll, nix::poll::PollTimeout::NONE);
                    }
                });
            }
        });
    }
    names
}

#[test]
fn streams_that_never_read() {
    let mut bout = Bout::of_patience("streams that never read");
    let names = programs(bout.path(), &bout.victim.daemon.socket());
    let files = bout.victim.daemon.json(&["ls"]);
    let cids: Vec<String> = files
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["cid"].as_str().unwrap().to_owned())
        .collect();
    let mut blocks = bout.order("unread blocks", 75, 16);
    blocks.more = cids;
    let mut program = bout.order("unread program", 75, 4);
    program.more = names.map(Into::into).to_vec();
    let outcome = bout.fight(&[blocks, program], |_| {});
    let idle = bout.victim.metric("p2p_streams_idle_closed_total");
    let defence = format!(
        "{idle} streams closed, {} times cut off",
        outcome.tally.get("times cut off")
    );
    bout.report(&outcome, 48 << 20, &defence).unwrap();
    assert!(idle > 0.0, "no stream was closed for being idle");
    // The exchange: a block of 1 MiB for each of 128 streams and 32 MiB ahead.
    // The program: a window of 256 KiB for each of 480 streams, and what the
    // windows of four connections may grow by.
    outcome.grew_at_most((128 + 32 + 120 + 64) << 20).unwrap();
    outcome.honest_kept(0.5, 0.2).unwrap();
}
