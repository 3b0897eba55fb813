//! Identify: thousands of addresses, huge names, and pushes in a loop.

use std::sync::Arc;
use std::time::Duration;

use async_std::task::{sleep, spawn};
use futures::AsyncWriteExt;
use futures::future::join_all;
use libp2p::identity::Keypair;

use crate::bout::Bout;
use crate::peer::{Peer, Polite, bytes};
use crate::process::{Order, Tally};
use crate::wire::{Identify, framed};

/// The most that libp2p reads of an identify message.
const LARGEST: usize = 4096;

/// As many addresses as fit into `room`, other ones each time.
fn addresses(mut told: Identify, room: usize) -> Identify {
    let base = rand::random::<u32>();
    let mut len = bytes(&told).len();
    for n in 0.. {
        let ip = std::net::Ipv4Addr::from(0x0b00_0000 | (base.wrapping_add(n) & 0x00ff_ffff));
        let address: libp2p::Multiaddr =
            format!("/ip4/{ip}/tcp/{}", 1 + n % 65_000).parse().unwrap();
        let address = address.to_vec();
        len += address.len() + 2;
        if len > room {
            break;
        }
        told.listen_addrs.push(address);
    }
    told
}

/// `count` peers: each says at first what fits or far more than fits, and then
/// pushes something else again and again, on 8 streams.
pub(crate) async fn stuff(order: Order, tally: Tally) {
    let peers = (0..order.count).map(|n| {
        let (target, tally) = (order.target.clone(), tally.clone());
        spawn(async move {
            let key = Keypair::generate_ed25519();
            let told = Polite::new(&key).identify;
            let (first, pushed) = match n % 4 {
                // All that fits, of addresses, of agent, of protocols.
                0 => (addresses(told.clone(), LARGEST), addresses(told, LARGEST)),
                1 => {
                    let agent = Identify {
                        agent_version: Some("\u{1b}[2J<script>\n".repeat(200)),
                        ..told.clone()
                    };
                    (agent.clone(), agent)
                }
                2 => {
                    let protocols = (0..300).map(|n| format!("/x/{n}")).collect();
                    let many = Identify {
                        protocols,
                        ..told.clone()
                    };
                    (many.clone(), many)
                }
                // Thousands, a hundred times over the limit.
                _ => (
                    addresses(told.clone(), 100 * LARGEST),
                    addresses(told, 100 * LARGEST),
                ),
            };
            let manners = Arc::new(Polite { identify: first });
            let pushed = framed(&bytes(&pushed));
            loop {
                let connected = Peer::connect(&target, None, &key, manners.clone()).await;
                let Ok(peer) = connected else {
                    tally.add("refused connections", 1);
                    sleep(Duration::from_millis(300)).await;
                    continue;
                };
                let streams = (0..8).map(|_| async {
                    while !peer.is_gone() {
                        // Sent in one go: waiting for the agreement would slow it down.
                        let push = peer.open_unread("/ipfs/id/push/1.0.0", &pushed);
                        match push.await {
                            Ok(mut stream) => {
                                let _ = stream.close().await;
                                crate::peer::drain(&mut stream).await;
                                tally.add("pushes", 1);
                            }
                            Err(_) => sleep(Duration::from_millis(20)).await,
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
fn identify_with_thousands_of_addresses() {
    let mut bout = Bout::loopback("identify, 8 peers, pushes in a loop");
    let order = bout.order("identify", 10, 8);
    let mut longest = 0;
    let outcome = bout.fight(&[order], |bout| {
        for _ in 0..10 {
            let peers = bout.victim.daemon.json(&["peers"]);
            for peer in peers.as_array().unwrap() {
                longest = longest.max(peer["agent"].as_str().unwrap_or_default().len());
            }
            std::thread::park_timeout(Duration::from_millis(500));
        }
    });
    let defence = format!(
        "longest agent kept {longest} bytes, {} times cut off",
        outcome.tally.get("times cut off")
    );
    bout.report(&outcome, 16 << 20, &defence).unwrap();
    assert!(longest <= 256, "an agent of {longest} bytes is kept");
    outcome.grew_at_most(48 << 20).unwrap();
    outcome.honest_kept(0.5, 0.3).unwrap();
}
