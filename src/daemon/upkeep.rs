//! What goes on beside the node for as long as the daemon runs.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_std::task::spawn_blocking;
use futures::StreamExt;

use crate::node::Handle;
use crate::observe::hour;
use crate::observe::metrics::Metrics;
use crate::store::{KnownPeer, Store};
use crate::system::{allocator, memory, rlimits};

/// How often the routing table is saved. After `kill -9` the last few minutes of
/// it are lost, which costs the next start a few dials.
const SAVE_PEERS_EVERY: Duration = Duration::from_secs(300);

/// How often what has expired leaves the store.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// How often the heap's unused pages go back to the kernel, and from how much
/// resident memory on: an idle node has half of that.
const TRIM_EVERY: Duration = Duration::from_secs(30);
const TRIM_FROM: u64 = 48 << 20;

/// Clears what a killed run left, then what expires.
pub(super) async fn tend_store(store: Store) {
    let scrubbed = {
        let store = store.clone();
        spawn_blocking(move || store.scrub()).await
    };
    if let Err(e) = scrubbed {
        log::warn!(error:% = e; "cannot clear what an earlier run left in the store");
    }
    let mut ticks = async_io::Timer::interval(SWEEP_EVERY);
    while ticks.next().await.is_some() {
        let store = store.clone();
        let swept = spawn_blocking(move || {
            store.measure_disk();
            store.sweep(SystemTime::now(), Instant::now())
        });
        if let Err(e) = swept.await {
            log::warn!(error:% = e; "cannot remove expired blocks");
        }
    }
}

/// Gives memory back to the kernel that a burst of work or an attack has left
/// unused.
pub(super) async fn tend_memory() {
    let mut ticks = async_io::Timer::interval(TRIM_EVERY);
    while ticks.next().await.is_some() {
        spawn_blocking(|| {
            if memory::resident().is_ok_and(|bytes| bytes >= TRIM_FROM) {
                allocator::give_back();
            }
        })
        .await;
    }
}

pub(super) async fn save_peers_periodically(handle: Handle, store: Store) {
    let mut ticks = async_io::Timer::interval(SAVE_PEERS_EVERY);
    while ticks.next().await.is_some() {
        save_peers(&handle, &store).await;
    }
}

/// Saves the routing table. An empty one is not saved: the peers of the last
/// run are then the only way back in.
pub(super) async fn save_peers(handle: &Handle, store: &Store) {
    let Ok(table) = handle.routing_table().await else {
        return;
    };
    if table.is_empty() {
        return;
    }
    let now = SystemTime::now();
    let peers: Vec<KnownPeer> = table
        .into_iter()
        .map(|p| KnownPeer {
            peer: p.peer,
            addrs: p.addrs,
            last_seen: now,
        })
        .collect();
    let store = store.clone();
    match spawn_blocking(move || store.save_peers(&peers).map(|()| peers.len())).await {
        Ok(count) => log::debug!(peers = count; "routing table saved"),
        Err(e) => log::warn!(error:% = e; "cannot save the routing table"),
    }
}

/// What the status page shows of limits beside those of the event loop.
pub(super) fn limits(store: Store, metrics: Arc<Metrics>) -> hour::Limits {
    Arc::new(move || {
        let stored = store.usage();
        let bytes = |limit, used, allowed| hour::Use {
            limit,
            used,
            allowed,
            bytes: true,
        };
        let mut all = vec![bytes("P2P_STORE_MAX_BYTES", stored.bytes, stored.max_bytes)];
        // As it is now: a reload may have changed it. Without a limit it is 0.
        let max_memory = u64::try_from(metrics.memory_limit.get()).unwrap_or(0);
        if let (1.., Ok(resident)) = (max_memory, memory::resident()) {
            all.push(bytes("P2P_MAX_MEMORY", resident, max_memory));
        }
        if let (Ok(used), Ok(allowed)) = (rlimits::open_descriptors(), rlimits::descriptors()) {
            all.push(hour::Use {
                limit: "LimitNOFILE",
                used,
                allowed,
                bytes: false,
            });
        }
        all
    })
}
