//! The regular work of a daemon beside its node: it saves the routing table, removes what
//! has expired, and returns memory to the system.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_std::task::spawn_blocking;
use futures::StreamExt;

use crate::node::{Handle, Pulse};
use crate::store::{KnownPeer, Store};
use crate::system::{allocator, memory};
use crate::telemetry::logs;

/// How often the routing table is saved. After `kill -9` the last few minutes of it are
/// lost, which costs the next start a few extra dials.
const SAVE_PEERS_EVERY: Duration = Duration::from_secs(300);

/// How often the size of the routing table is compared with its size at the last save. It
/// is therefore the shortest time between two saves. The comparison only reads one
/// number.
const LOOK_AT_PEERS: Duration = Duration::from_secs(5);

/// How often expired blocks are removed from the store.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// How often the unused pages of the heap are returned to the kernel, and the resident
/// memory from which on this is done. An idle node has half of that.
const TRIM_EVERY: Duration = Duration::from_secs(30);
const TRIM_FROM: u64 = 48 << 20;

/// Removes what a killed run left behind, and from then on everything that expires.
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

/// Returns memory to the kernel that was used during a burst of work or an attack, and
/// tells how many lines of the log were suppressed in it.
pub(super) async fn tend_memory() {
    let mut ticks = async_io::Timer::interval(TRIM_EVERY);
    while ticks.next().await.is_some() {
        logs::tell_suppressed();
        spawn_blocking(|| {
            if memory::resident().is_ok_and(|bytes| bytes >= TRIM_FROM) {
                allocator::give_back();
            }
        })
        .await;
    }
}

/// When the routing table was last saved, and how many peers it had then.
///
/// A node may be killed in its first minutes and start again when its bootstrap peers are
/// gone. It can then only get back into the network through the peers that it has met. So
/// the table is saved with its first peers, and whenever it holds twice as many as at the
/// last save. For the largest possible table this makes a dozen more saves.
#[derive(Debug)]
struct Saved {
    at: Instant,
    peers: usize,
}

impl Saved {
    /// Returns whether it is time to save a table with this number of peers.
    fn is_over(&self, peers: usize, now: Instant) -> bool {
        let grown = peers > 0 && peers / 2 >= self.peers;
        grown || now.saturating_duration_since(self.at) >= SAVE_PEERS_EVERY
    }
}

/// Saves the routing table every [`SAVE_PEERS_EVERY`], and sooner while it grows.
pub(super) async fn keep_peers_saved(handle: Handle, pulse: Arc<Pulse>, store: Store) {
    let mut saved = Saved {
        at: Instant::now(),
        peers: 0,
    };
    let mut looks = async_io::Timer::interval(LOOK_AT_PEERS);
    while looks.next().await.is_some() {
        let (peers, now) = (pulse.routing_table_size(), Instant::now());
        if saved.is_over(peers, now) {
            save_peers(&handle, &store).await;
            saved = Saved { at: now, peers };
        }
    }
}

/// Saves the routing table. An empty table is not saved, because the peers of the last
/// run are then the only way back into the network.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates a table with the given size at each look, and returns at which looks it
    /// is saved.
    fn saves(sizes: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let begun = Instant::now();
        let mut saved = Saved {
            at: begun,
            peers: 0,
        };
        let mut looks = Vec::new();
        for (look, peers) in sizes.into_iter().enumerate() {
            let now = begun + LOOK_AT_PEERS * look as u32;
            if saved.is_over(peers, now) {
                looks.push(look);
                saved = Saved { at: now, peers };
            }
        }
        looks
    }

    #[test]
    fn the_first_peers_are_saved_at_once_and_then_each_doubling() {
        assert_eq!(saves([0, 0, 1, 1, 2, 3, 4, 9, 10, 17]), [2, 4, 6, 7]);
    }

    #[test]
    fn a_table_of_one_size_is_saved_every_five_minutes() {
        let five_minutes = 60;
        let looks = saves(std::iter::repeat_n(20, 3 * five_minutes));
        assert_eq!(looks, [0, five_minutes, 2 * five_minutes]);
    }

    #[test]
    fn growing_as_slowly_or_fast_as_it_may_costs_a_dozen_saves_more() {
        let largest = 256 * 20;
        for step in [1, 2, 7, 100, largest] {
            let looks = saves((1..=largest).step_by(step));
            let periodic = largest / step / 60;
            assert!(looks.len() <= periodic + 13, "{step}: {looks:?}");
        }
    }

    #[test]
    fn a_table_that_swings_is_not_saved_for_each_swing() {
        let looks = saves((0..600).map(|look| if look % 2 == 0 { 1 } else { 1000 }));
        assert!(looks.len() <= 2 + 600 / 60 * 2, "{looks:?}");
    }
}
