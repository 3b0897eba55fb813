//! Random keys are looked up in the DHT: are those found that are nearest, how
//! many are asked for it, and over how many hops.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use libp2p::PeerId;
use libp2p::kad::{KBucketDistance, KBucketKey};

use crate::Result;
use crate::world::World;

/// Peers in the answer to a question, and those that a lookup ends with: K of Kademlia.
const K: usize = 20;

/// Peers that a lookup asks at a time, as libp2p does.
const ALPHA: usize = 3;

/// What was seen.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) times: Vec<Duration>,
    /// Of the nearest that there are, how many were found, from 0 to 1, on average.
    pub(crate) recall: f64,
    /// Requests that a lookup sent, on average.
    pub(crate) requests: f64,
    /// Peers that told each other the way to the nearest one, on average, by the
    /// routing tables as they are.
    pub(crate) hops: f64,
    pub(crate) failures: Vec<String>,
}

/// Requests that every node has sent in the DHT so far.
fn requests(world: &World) -> u64 {
    world
        .peers()
        .map(|(_, peer)| {
            let sent = &peer.metrics.node.traffic.messages;
            sent.with_label_values(&["out", "dht"]).get()
        })
        .sum()
}

/// `count` lookups from random nodes, one after another.
pub(crate) async fn search(world: &mut World, count: usize) -> Result<Outcome> {
    let live = world.live();
    let mut outcome = Outcome::default();
    let tables = tables(world).await?;
    let mut found = 0.0;
    let before = requests(world);
    let mut hops = Vec::new();
    for _ in 0..count {
        let from = world.chance.one(&live);
        let key = world.chance.bytes(32);
        let own = world.site(from).peer();
        let target = KBucketKey::new(key.clone());
        let mut nearest: Vec<PeerId> = live.iter().map(|n| world.site(*n).peer()).collect();
        nearest.retain(|peer| *peer != own);
        sort(&mut nearest, &target);
        nearest.truncate(K);
        hops.extend(walk(&tables, own, &target, nearest[0]));
        let begun = Instant::now();
        match world.peer(from)?.handle().closest_peers(key).await {
            Ok(peers) => {
                outcome.times.push(begun.elapsed());
                let peers: HashSet<PeerId> = peers.into_iter().map(|p| p.peer).collect();
                let hits = nearest.iter().filter(|p| peers.contains(p)).count();
                found += hits as f64 / nearest.len() as f64;
            }
            Err(e) => outcome.failures.push(e.to_string()),
        }
    }
    let lookups = outcome.times.len().max(1) as f64;
    outcome.recall = found / lookups;
    outcome.requests = (requests(world) - before) as f64 / count as f64;
    outcome.hops = hops.iter().sum::<usize>() as f64 / hops.len().max(1) as f64;
    Ok(outcome)
}

pub(crate) type Tables = HashMap<PeerId, Vec<PeerId>>;

async fn tables(world: &World) -> Result<Tables> {
    let all = world.peers().map(|(_, peer)| peer.handle());
    let tables: Vec<_> = stream::iter(all)
        .map(|handle| async move {
            let table = handle.routing_table().await?;
            let peers = table.into_iter().map(|entry| entry.peer).collect();
            Ok::<_, crate::Failure>((handle.local_peer_id(), peers))
        })
        .buffer_unordered(64)
        .collect()
        .await;
    tables.into_iter().collect()
}

fn distance<T>(peer: &PeerId, key: &KBucketKey<T>) -> KBucketDistance {
    KBucketKey::from(*peer).distance(key)
}

fn sort<T>(peers: &mut [PeerId], key: &KBucketKey<T>) {
    peers.sort_by_cached_key(|peer| distance(peer, key));
}

/// Walks the routing tables from `from` towards `key` as a lookup does; gives the
/// number of peers that told the way until `goal` was heard of. None when the
/// tables do not lead there.
pub(crate) fn walk<T>(
    tables: &Tables,
    from: PeerId,
    key: &KBucketKey<T>,
    goal: PeerId,
) -> Option<usize> {
    let told = |by: &PeerId| {
        let mut peers = tables.get(by).cloned().unwrap_or_default();
        sort(&mut peers, key);
        peers.truncate(K);
        peers
    };
    let mut depths: HashMap<PeerId, usize> = HashMap::from([(from, 0)]);
    let mut known = told(&from);
    depths.extend(known.iter().map(|peer| (*peer, 1)));
    let mut asked = HashSet::new();
    while !depths.contains_key(&goal) {
        sort(&mut known, key);
        let next: Vec<PeerId> = known
            .iter()
            .take(K)
            .filter(|peer| !asked.contains(*peer))
            .take(ALPHA)
            .copied()
            .collect();
        if next.is_empty() {
            return None;
        }
        for peer in next {
            asked.insert(peer);
            let depth = depths[&peer] + 1;
            for other in told(&peer) {
                depths.entry(other).or_insert_with(|| {
                    known.push(other);
                    depth
                });
            }
        }
    }
    depths.get(&goal).copied()
}
