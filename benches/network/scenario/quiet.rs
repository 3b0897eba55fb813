//! Nobody does anything: what a node costs that is only there.

use std::time::{Duration, Instant};

use crate::world::World;
use crate::{Result, usage};

/// What was seen, by node where it says so.
pub(crate) struct Outcome {
    /// Connections made, by node and minute.
    pub(crate) handshakes: f64,
    /// Bytes sent, by node and second.
    pub(crate) bytes: f64,
    /// Milliseconds of CPU, by node and second.
    pub(crate) cpu: f64,
    /// Bytes of anonymous memory by node, the harness included.
    pub(crate) memory: f64,
    /// Peers that a node is connected to, at the end.
    pub(crate) peers: f64,
    /// The fewest that any node had, at any time.
    pub(crate) fewest: i64,
    /// The most that a bootstrap node had, at any time.
    pub(crate) most_of_bootstrap: i64,
}

/// Looks on for `time`.
pub(crate) async fn watch(world: &World, time: Duration) -> Result<Outcome> {
    let nodes = world.live().len() as f64;
    let begun = Instant::now();
    let (bytes, dials) = world.traffic();
    let cpu = usage::cpu()?;
    let (mut fewest, mut most_of_bootstrap) = (i64::MAX, 0);
    while begun.elapsed() < time {
        async_io::Timer::after(Duration::from_secs(1).min(time)).await;
        for (n, peer) in world.peers() {
            let peers = peer.metrics.node.connected_peers.get();
            fewest = fewest.min(peers);
            if n < world.settings.bootstraps {
                most_of_bootstrap = most_of_bootstrap.max(peers);
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let used = usage::cpu()?.saturating_sub(cpu);
    let (all_bytes, all_dials) = world.traffic();
    let peers: i64 = world
        .peers()
        .map(|(_, peer)| peer.metrics.node.connected_peers.get())
        .sum();
    Ok(Outcome {
        handshakes: (all_dials - dials) as f64 / nodes / (seconds / 60.0),
        bytes: (all_bytes - bytes) as f64 / nodes / seconds,
        cpu: used.as_secs_f64() * 1e3 / nodes / seconds,
        memory: usage::memory()? as f64 / nodes,
        peers: peers as f64 / nodes,
        fewest,
        most_of_bootstrap,
    })
}
