//! The DHT: values and provider records without end.

use std::time::Duration;

use async_std::task::{sleep, spawn};
use futures::AsyncWriteExt;
use futures::future::join_all;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};

use crate::bout::Bout;
use crate::peer::{Peer, read_frame, within};
use crate::process::{Order, Tally};
use crate::wire::{frame, kad};

const KAD: &str = "/p2p-node/kad/1.0.0";

fn key() -> Vec<u8> {
    // A multihash: sha2-256 of nothing in particular.
    [&[0x12, 0x20][..], &rand::random::<[u8; 32]>()].concat()
}

fn value() -> kad::Message {
    let key = key();
    kad::Message {
        kind: kad::PUT_VALUE,
        record: Some(kad::Record {
            key: key.clone(),
            value: vec![0x77; 13 << 10],
            ..kad::Record::default()
        }),
        key,
        ..kad::Message::default()
    }
}

fn provider(id: &PeerId, address: &Multiaddr) -> kad::Message {
    kad::Message {
        kind: kad::ADD_PROVIDER,
        key: key(),
        providers: vec![kad::Peer {
            id: id.to_bytes(),
            addrs: vec![address.to_vec(); 16],
        }],
        ..kad::Message::default()
    }
}

/// `count` peers that store under random keys, half of them values of 13 KiB,
/// half provider records, one after the other on 16 streams each.
pub(crate) async fn stuff(order: Order, tally: Tally) {
    let peers = (0..order.count).map(|n| {
        let (target, tally) = (order.target.clone(), tally.clone());
        spawn(async move {
            let key = Keypair::generate_ed25519();
            let id = key.public().to_peer_id();
            let address: Multiaddr = format!("/dns4/{}.invalid/tcp/1", "x".repeat(60))
                .parse()
                .unwrap();
            loop {
                let Ok(peer) = Peer::polite(&target, None, &key).await else {
                    tally.add("refused connections", 1);
                    sleep(Duration::from_millis(300)).await;
                    continue;
                };
                let streams = (0..16).map(|_| async {
                    while !peer.is_gone() {
                        let asked = async {
                            let mut stream = peer.open(KAD).await?;
                            if n % 2 == 0 {
                                stream.write_all(&frame(&value())).await?;
                                stream.flush().await?;
                                within("the answer", read_frame(&mut stream)).await?;
                            } else {
                                stream.write_all(&frame(&provider(&id, &address))).await?;
                                stream.flush().await?;
                            }
                            stream.close().await
                        };
                        match asked.await {
                            Ok(()) => tally.add("records", 1),
                            Err(_) => {
                                tally.add("refused records", 1);
                                sleep(Duration::from_millis(20)).await;
                            }
                        }
                    }
                });
                join_all(streams).await;
                tally.add("times cut off", 1);
            }
        })
    });
    join_all(peers.collect::<Vec<_>>()).await;
}

#[test]
fn record_stuffing() {
    let mut bout = Bout::loopback("DHT record stuffing");
    let order = bout.order("records", 12, 4);
    let outcome = bout.fight(&[order], |_| {});
    let values = bout.victim.metric("libp2p_dht_records{kind=\"value\"}");
    let providers = bout.victim.metric("libp2p_dht_records{kind=\"provider\"}");
    let defence = format!(
        "{values} values and {providers} provider records kept, {} times cut off",
        outcome.tally.get("times cut off")
    );
    // What it holds for the DHT stays until it expires: 64 MiB of values and as
    // much of provider records are the most.
    bout.report(&outcome, 160 << 20, &defence).unwrap();
    outcome.grew_at_most(192 << 20).unwrap();
    outcome.honest_kept(0.5, 0.3).unwrap();
}
