//! Gossip: more than a peer may say, forged, repeated, and swollen.

use std::time::Duration;

use async_std::task::{sleep, spawn};
use futures::AsyncWriteExt;
use futures::future::join_all;
use libp2p::identity::Keypair;

use crate::bout::Bout;
use crate::peer::{GOSSIP, Peer, within};
use crate::process::{Order, Tally};
use crate::victim::TOPIC;
use crate::wire::{frame, gossip};

/// Publishers behind one attacker: message authors are free.
const AUTHORS: usize = 50;

/// Sends what `next` makes, ten at a time, `rate` a second; connects again when
/// it is hung up on.
async fn publish(
    order: Order,
    tally: Tally,
    rate: u64,
    mut next: impl FnMut(u64) -> gossip::Publish,
) {
    let key = Keypair::generate_ed25519();
    let mut n = 0;
    loop {
        let opened = async {
            let peer = Peer::polite(&order.target, None, &key).await?;
            let mut stream = peer.open(GOSSIP).await?;
            stream.write_all(&frame(&gossip::join(TOPIC))).await?;
            stream.flush().await?;
            Ok::<_, std::io::Error>((peer, stream))
        };
        let Ok((peer, mut stream)) = opened.await else {
            tally.add("refused connections", 1);
            sleep(Duration::from_millis(300)).await;
            continue;
        };
        let mut ticks = async_io::Timer::interval(Duration::from_millis(10_000 / rate));
        while !peer.is_gone() {
            futures::StreamExt::next(&mut ticks).await;
            let batch = (0..10).map(|i| next(n + i)).collect();
            n += 10;
            let bytes = frame(&gossip::publish(batch));
            let sent = within("gossip", async {
                stream.write_all(&bytes).await?;
                stream.flush().await
            });
            if sent.await.is_err() {
                break;
            }
            tally.add("messages", 10);
        }
        tally.add("times cut off", 1);
    }
}

/// `count` peers that publish what is valid in everything but its amount:
/// `more[0]` messages a second each.
pub(crate) async fn flood(order: Order, tally: Tally) {
    let rate: u64 = order.more[0].parse().unwrap();
    let peers = (0..order.count).map(|_| {
        let (order, tally) = (order.clone(), tally.clone());
        let authors: Vec<_> = (0..AUTHORS).map(|_| Keypair::generate_ed25519()).collect();
        spawn(publish(order, tally, rate, move |n| {
            let author = &authors[n as usize % AUTHORS];
            gossip::Publish::signed(author, TOPIC, n + 1, vec![0x11; 300])
        }))
    });
    join_all(peers.collect::<Vec<_>>()).await;
}

fn flooded(name: &'static str, peers: usize, rate: u64) {
    let mut bout = Bout::loopback(name);
    let mut order = bout.order("gossip flood", 10, peers);
    order.more = vec![rate.to_string()];
    let outcome = bout.fight(&[order], |_| {});
    let defence = format!("{} times cut off", outcome.tally.get("times cut off"));
    bout.report(&outcome, 32 << 20, &defence);
    outcome.grew_at_most(96 << 20);
    outcome.honest_kept(0.3, 0.3);
}

#[test]
fn gossip_flood_above_the_bucket() {
    flooded("gossip flood, 4 peers at 1,000/s", 4, 1000);
}

#[test]
fn gossip_flood_of_many_within_theirs() {
    flooded("gossip flood, 30 peers at 50/s", 30, 50);
}
