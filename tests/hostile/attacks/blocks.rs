//! The block exchange when the victim fetches: providers that serve anything
//! except the right block.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_std::task::{block_on, sleep, spawn};
use futures::future::{BoxFuture, join_all};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::muxing::SubstreamBox;
use libp2p::identity::Keypair;
use p2p_node::control::Client;
use p2p_node::control::client::{Event, PutOptions};
use p2p_node::message::signer::Signer;
use p2p_node::text::unix_time::unix_millis;
use prost::Message;

use crate::bout::Bout;
use crate::honest::noise;
use crate::peer::{Manners, Peer, Polite, drain, read_frame};
use crate::process::{Order, Tally};
use crate::wire::{exchange, frame, kad, varint};

const EXCHANGE: &str = "/p2p-node/block/1.0.0";

const FILE: usize = 1 << 20;

/// Ways to answer a want, one for each attacker.
const WAYS: usize = 10;

/// Serves every want in its own bad way.
struct Cheat {
    polite: Polite,
    signer: Signer,
    /// The files that are asked for, by multihash.
    files: Arc<Vec<(Vec<u8>, bytes::Bytes)>>,
    way: usize,
    tally: Tally,
}

fn answer(cheat: &Cheat, way: usize, want: &exchange::Want) -> Vec<u8> {
    // Behind version, codec (one byte each) is the multihash.
    let hash = want.cid[2..].to_vec();
    let data = cheat
        .files
        .iter()
        .find(|(h, _)| *h == hash)
        .map(|(_, d)| d.to_vec())
        .unwrap_or_default();
    let now = unix_millis(SystemTime::now());
    let signed = |timestamp, ttl| cheat.signer.sign(&hash, timestamp, ttl).unwrap();
    let provenance = signed(now, 3600);
    let good = exchange::Block {
        hash: hash.clone(),
        data,
        timestamp: provenance.timestamp,
        ttl: provenance.ttl,
        version: provenance.version,
        signature: provenance.signature.to_vec(),
        key: provenance.key.to_vec(),
        compression: 0,
    };
    let dated = |timestamp, ttl| {
        let p = signed(timestamp, ttl);
        exchange::Block {
            timestamp,
            ttl,
            signature: p.signature.to_vec(),
            ..good.clone()
        }
    };
    let block = match way {
        // Other bytes of the right length.
        0 => exchange::Block {
            data: vec![0x44; FILE],
            ..good
        },
        // The right bytes, badly signed, or not at all.
        1 => {
            let mut block = good;
            block.signature[3] ^= 1;
            block
        }
        2 => exchange::Block {
            signature: Vec::new(),
            key: Vec::new(),
            ..good
        },
        // A bomb that says 4 GiB, and one that truly unpacks to 40 MiB.
        3 => exchange::Block {
            data: [&varint((1 << 32) - 1)[..], &[0; 100]].concat(),
            compression: 1,
            ..good
        },
        4 => exchange::Block {
            data: snap::raw::Encoder::new()
                .compress_vec(&vec![0; 40 << 20])
                .unwrap(),
            compression: 1,
            ..good
        },
        // Over, and not yet.
        5 => dated(now - 7_200_000, 3600),
        6 => dated(now + 7_200_000, 3600),
        // An announced length of 2^40, and no more.
        7 => return varint(1 << 40),
        // Answers to what nobody asked.
        8 => {
            return frame(&exchange::Response {
                id: want.id + 1_000_000,
                status: 0,
                block: Some(good),
            });
        }
        _ => return [&varint(300)[..], &[0xff; 300]].concat(),
    };
    frame(&exchange::Response {
        id: want.id,
        status: 0,
        block: Some(block),
    })
}

impl Manners for Cheat {
    fn speaks(&self, protocol: &str) -> bool {
        protocol == EXCHANGE || self.polite.speaks(protocol)
    }

    fn serve(&self, protocol: String, mut stream: SubstreamBox) -> BoxFuture<'static, ()> {
        if protocol != EXCHANGE {
            return self.polite.serve(protocol, stream);
        }
        let cheat = Cheat {
            polite: Polite {
                identify: self.polite.identify.clone(),
            },
            signer: self.signer.clone(),
            files: self.files.clone(),
            way: self.way,
            tally: self.tally.clone(),
        };
        Box::pin(async move {
            while let Ok(bytes) = read_frame(&mut stream).await {
                let Ok(request) = exchange::Request::decode(&bytes[..]) else {
                    return;
                };
                for want in &request.wants {
                    cheat.tally.add("bad answers", 1);
                    let bytes = answer(&cheat, cheat.way, want);
                    if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                }
            }
        })
    }
}

/// The files that an order names: pairs of CID and seed.
fn files(order: &Order) -> Vec<(Vec<u8>, bytes::Bytes)> {
    let pairs = order.more.chunks(2);
    pairs
        .map(|pair| {
            let cid: cid::Cid = pair[0].parse().unwrap();
            let seed = pair[1].parse().unwrap();
            (cid.hash().to_bytes(), noise(FILE, seed))
        })
        .collect()
}

/// `count` peers that say they provide files and serve something else, each in
/// its own way; they come back under new names when they are hung up on.
pub(crate) async fn cheat(order: Order, tally: Tally) {
    let files = Arc::new(files(&order));
    let peers = (0..order.count).map(|n| {
        let (order, tally, files) = (order.clone(), tally.clone(), files.clone());
        spawn(async move {
            let mut key = Keypair::generate_ed25519();
            loop {
                // Half of them come back as the same peer, until it is banned.
                if n >= order.count / 2 {
                    key = Keypair::generate_ed25519();
                }
                let manners = Arc::new(Cheat {
                    polite: Polite::new(&key),
                    signer: Signer::new(key.clone()),
                    files: files.clone(),
                    way: n % WAYS,
                    tally: tally.clone(),
                });
                let Ok(peer) = Peer::connect(&order.target, None, &key, manners).await else {
                    tally.add("refused connections", 1);
                    sleep(Duration::from_millis(300)).await;
                    continue;
                };
                let _ = announce(&peer, &key, &files).await;
                peer.ends().await;
                tally.add("times cut off", 1);
            }
        })
    });
    join_all(peers.collect::<Vec<_>>()).await;
}

async fn announce(
    peer: &Peer,
    key: &Keypair,
    files: &[(Vec<u8>, bytes::Bytes)],
) -> std::io::Result<()> {
    for (hash, _) in files {
        let mut stream = peer.open("/p2p-node/kad/1.0.0").await?;
        let record = kad::Message {
            kind: kad::ADD_PROVIDER,
            key: hash.clone(),
            providers: vec![kad::Peer {
                id: key.public().to_peer_id().to_bytes(),
                addrs: vec![],
            }],
            ..kad::Message::default()
        };
        stream.write_all(&frame(&record)).await?;
        stream.close().await?;
    }
    Ok(())
}

/// Fetches through a daemon; the bytes.
pub(super) async fn get(socket: &Path, cid: &cid::Cid) -> Result<Vec<u8>, String> {
    let mut client = Client::connect(socket).await.map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    let patience = Some(Duration::from_secs(20));
    {
        let mut get = client.get(cid, patience).await.map_err(|e| e.to_string())?;
        while let Some(event) = get.next().await.map_err(|e| e.to_string())? {
            if let Event::Data(data) = event {
                bytes.extend_from_slice(&data);
            }
        }
    }
    // The next fetch is to go to the network again.
    client.remove_block(cid).await.map_err(|e| e.to_string())?;
    Ok(bytes)
}

#[test]
fn wrong_blocks() {
    const FILES: u64 = 10;
    let mut bout = Bout::loopback("wrong blocks from 20 providers");
    let put: Vec<(cid::Cid, u64)> = block_on(async {
        let mut client = Client::connect(bout.honest.publisher.socket())
            .await
            .unwrap();
        let mut list = Vec::new();
        for seed in 1000..1000 + FILES {
            let file = noise(FILE, seed);
            let put = client.put(&file[..], PutOptions::default(), |_| {}).await;
            list.push((put.unwrap().cid, seed));
        }
        list
    });
    let mut order = bout.order("cheat", 12, 20);
    order.more = put
        .iter()
        .flat_map(|(cid, seed)| [cid.to_string(), seed.to_string()])
        .collect();
    let (mut fetches, mut right, mut slowest) = (0, 0, Duration::ZERO);
    let outcome = bout.fight(&[order], |bout| {
        // The cheats are there before the first fetch.
        crate::common::eventually("providers of something else", || {
            let peers = bout.victim.daemon.json(&["peers"]);
            (peers.as_array().unwrap().len() > 12).then_some(())
        });
        let end = Instant::now() + Duration::from_secs(8);
        for (cid, seed) in put.iter().cycle().take_while(|_| Instant::now() < end) {
            let begun = Instant::now();
            fetches += 1;
            match block_on(get(&bout.victim.daemon.socket(), cid)) {
                Ok(bytes) => {
                    assert!(bytes == noise(FILE, *seed), "wrong bytes were handed out");
                    right += 1;
                }
                Err(e) => crate::report::say(&format!("a fetch failed: {e}")),
            }
            slowest = slowest.max(begun.elapsed());
        }
    });
    let refused = bout.victim.metric("p2p_blocks_refused_total");
    let bans = bout.victim.metric("p2p_blacklist_total");
    let defence = format!(
        "{right} of {fetches} files fetched right (slowest {:.1} s), {refused} blocks refused, {} times cut off, {bans} bans",
        slowest.as_secs_f64(),
        outcome.tally.get("times cut off"),
    );
    bout.report(&outcome, 32 << 20, &defence).unwrap();
    assert!(
        right == fetches,
        "only {right} of {fetches} files were fetched beside the cheats"
    );
    for reason in [
        "wrong_hash",
        "wrong_signature",
        "unsigned",
        "bomb",
        "expired",
        "future",
    ] {
        let sample = format!("p2p_blocks_refused_total{{reason=\"{reason}\"}}");
        let count = bout.victim.metric(&sample);
        assert!(count > 0.0, "no block was refused as {reason}");
    }
    let cheated = bout.victim.metric("p2p_misbehaviour_total");
    assert!(cheated > 0.0, "wrong blocks cost no reputation");
    outcome.grew_at_most(96 << 20).unwrap();
    outcome.honest_kept(0.5, 0.3).unwrap();
}

/// What an exchange stream is sent that is no request, or too much of one.
fn nonsense(n: usize) -> Vec<u8> {
    let cid = [&[1, 0x55, 0x12, 0x20][..], &[7; 32]].concat();
    let want = |id| exchange::Want {
        id,
        cid: cid.clone(),
    };
    match n % 9 {
        // Lengths: over the limit, 2^63, no varint at all.
        0 => varint((64 << 10) + 1),
        1 => varint(1 << 63),
        2 => vec![0xff; 40],
        // No protobuf; a field's length that leaves the frame.
        3 => [&varint(200)[..], &[0xfe; 200]].concat(),
        4 => [&varint(3)[..], &[10, 100, 0]].concat(),
        // More wants than may be, wants of nothing, wants under one id.
        5 => frame(&exchange::Request {
            wants: (0..1000).map(want).collect(),
            ..Default::default()
        }),
        6 => frame(&exchange::Request {
            wants: vec![exchange::Want {
                id: 0,
                cid: vec![0xee; 60],
            }],
            ..Default::default()
        }),
        7 => frame(&exchange::Request {
            wants: (0..200).map(|_| want(5)).collect(),
            cancel: vec![5; 300],
        }),
        // A valid beginning and then the end.
        _ => [&varint(60_000)[..], &[10, 36]].concat(),
    }
}

/// `count` peers that open exchange streams and say nonsense on them.
pub(crate) async fn malformed(order: Order, tally: Tally) {
    let peers = (0..order.count).map(|n| {
        let (order, tally) = (order.clone(), tally.clone());
        spawn(async move {
            let mut key = Keypair::generate_ed25519();
            for round in 0.. {
                if n % 2 == 0 {
                    key = Keypair::generate_ed25519();
                }
                let Ok(peer) = Peer::polite(&order.target, None, &key).await else {
                    tally.add("refused connections", 1);
                    sleep(Duration::from_millis(300)).await;
                    continue;
                };
                let mut m = n + round;
                while !peer.is_gone() {
                    m += 1;
                    let opened = peer.open_unread(EXCHANGE, &nonsense(m)).await;
                    let Ok(mut stream) = opened else {
                        sleep(Duration::from_millis(50)).await;
                        continue;
                    };
                    tally.add("bad requests", 1);
                    if m % 2 == 0 {
                        let _ = stream.close().await;
                    }
                    // Until the victim ends it, but not for long.
                    let end = async_std::future::timeout(Duration::from_millis(500), async {
                        drain(&mut stream).await;
                        let _ = stream.read(&mut [0]).await;
                    });
                    if end.await.is_err() {
                        tally.add("left open", 1);
                    }
                }
                tally.add("times cut off", 1);
            }
        })
    });
    join_all(peers.collect::<Vec<_>>()).await;
}

#[test]
fn malformed_requests_for_blocks() {
    let mut bout = Bout::loopback("malformed and oversized exchange frames");
    let order = bout.order("malformed exchange", 8, 6);
    let outcome = bout.fight(&[order], |_| {});
    let bans = bout.victim.metric("p2p_blacklist_total");
    let cut = outcome.tally.get("times cut off");
    let defence = format!("{cut} times cut off, {bans} bans");
    bout.report(&outcome, 16 << 20, &defence).unwrap();
    assert!(cut > 0, "nobody was cut off for malformed requests");
    assert!(bans > 0.0, "nobody was banned for malformed requests");
    outcome.grew_at_most(48 << 20).unwrap();
    outcome.honest_kept(0.5, 0.3).unwrap();
}
