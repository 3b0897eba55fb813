//! The DHT: values that are not the sender's to change.

use std::time::{Duration, Instant};

use async_std::task::{sleep, spawn};
use futures::future::join_all;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::PeerId;
use libp2p::identity::Keypair;

use crate::bout::Bout;
use crate::common::{Daemon, Start, eventually};
use crate::peer::{Peer, read_frame, within};
use crate::process::{Order, Tally};
use crate::wire::{frame, kad};

const KAD: &str = "/p2p-node/kad/1.0.0";

/// A daemon with default limits that knows only the victim.
fn stranger(bout: &Bout, name: &str, n: usize) -> Daemon {
    let known = bout.victim.address().to_string();
    let listen = format!("/ip4/127.0.0.{n}/tcp/0");
    Start::new(&bout.path().join(name))
        .with(&[
            ("P2P_LISTEN_ADDRS", &listen),
            ("P2P_BOOTSTRAP_PEERS", &known),
        ])
        .spawn()
        .wait_ready()
}

/// Puts `record` under its key; whether it was answered.
async fn put(peer: &Peer, record: kad::Record) -> std::io::Result<()> {
    let mut stream = peer.open(KAD).await?;
    let message = kad::Message {
        kind: kad::PUT_VALUE,
        key: record.key.clone(),
        record: Some(record),
        ..kad::Message::default()
    };
    stream.write_all(&frame(&message)).await?;
    stream.flush().await?;
    within("the answer", read_frame(&mut stream)).await?;
    let _ = stream.close().await;
    let _ = stream.read(&mut [0]).await;
    Ok(())
}

/// `count` peers that put values of their own under the keys that an order names, behind
/// the id of who wrote them: for a second, for ever, and in the writer's name.
pub(crate) async fn overwrite(order: Order, tally: Tally) {
    let writer: PeerId = order.more[0].parse().unwrap();
    let peers = (0..order.count).map(|n| {
        let (order, tally) = (order.clone(), tally.clone());
        spawn(async move {
            let key = Keypair::generate_ed25519();
            loop {
                let Ok(peer) = Peer::polite(&order.target, None, &key).await else {
                    sleep(Duration::from_millis(300)).await;
                    continue;
                };
                let own = key.public().to_peer_id();
                while !peer.is_gone() {
                    for name in &order.more[1..] {
                        let (publisher, ttl) = match n % 4 {
                            0 => (own.to_bytes(), 1),
                            1 => (writer.to_bytes(), 1),
                            2 => (writer.to_bytes(), 1_000_000),
                            _ => (Vec::new(), 0),
                        };
                        let record = kad::Record {
                            key: name.as_bytes().to_vec(),
                            value: b"forged".to_vec(),
                            publisher,
                            ttl,
                        };
                        if put(&peer, record).await.is_err() {
                            break;
                        }
                        tally.add("values put", 1);
                    }
                    sleep(Duration::from_millis(200)).await;
                }
            }
        })
    });
    join_all(peers.collect::<Vec<_>>()).await;
}

#[test]
fn values_of_others() {
    const VALUES: usize = 8;
    let mut bout = Bout::loopback("values of others replaced");
    let (writer, reader) = (stranger(&bout, "writer", 7), stranger(&bout, "reader", 8));
    let names: Vec<String> = (0..VALUES).map(|n| format!("name {n}")).collect();
    for name in &names {
        // Until it has met the victim, there is nobody to hold it.
        eventually("a value in the DHT", || {
            let put = writer.cli(&["dht", "put", name, "true"]);
            put.status.success().then_some(())
        });
    }
    let mut order = bout.order("values", 8, 4);
    order.more = [writer.id()].into_iter().chain(names.clone()).collect();
    let (mut asked, mut right) = (0, 0);
    let outcome = bout.fight(&[order], |_| {
        let end = Instant::now() + Duration::from_secs(6);
        while Instant::now() < end {
            for name in &names {
                asked += 1;
                let told = reader.cli(&["dht", "get", name]);
                right += u64::from(told.stdout == b"true");
            }
        }
    });
    let defence = format!("{right} of {asked} times the writer's own value was found");
    bout.report(&outcome, 32 << 20, &defence).unwrap();
    assert!(outcome.tally.get("values put") > 50, "{}", outcome.tally);
    assert_eq!(right, asked, "values of others were replaced");
    outcome.honest_kept(0.5, 0.3).unwrap();
}
