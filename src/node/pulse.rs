//! The pulse of the event loop, which proves that the loop itself makes progress, and
//! not only that some thread is alive.
//!
//! The loop beats once a second while it makes progress; `/health/live` and the
//! watchdog look at the age of the last beat.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::api::Health;

/// The pulse: written by the event loop, and read by everything that reports health.
#[derive(Debug)]
pub struct Pulse {
    started: Instant,
    last_beat_ms: AtomicU64,
    connected_peers: AtomicUsize,
    routing_table_size: AtomicUsize,
    mesh_peers: AtomicUsize,
}

/// A loop that has not beaten for this long, which is fifteen missed beats, is stuck.
/// One turn of a healthy loop takes well under a millisecond.
pub const STUCK_AFTER: Duration = Duration::from_secs(15);

impl Pulse {
    /// Returns a pulse that has just beaten.
    pub fn new() -> Self {
        Pulse {
            started: Instant::now(),
            last_beat_ms: AtomicU64::new(0),
            connected_peers: AtomicUsize::new(0),
            routing_table_size: AtomicUsize::new(0),
            mesh_peers: AtomicUsize::new(0),
        }
    }

    /// Records that the loop made progress at `now`.
    pub(super) fn beat(
        &self,
        now: Instant,
        connected_peers: usize,
        routing_table_size: usize,
        mesh_peers: usize,
    ) {
        let ms = u64::try_from(now.saturating_duration_since(self.started).as_millis());
        self.last_beat_ms
            .store(ms.unwrap_or(u64::MAX), Ordering::Relaxed);
        self.connected_peers
            .store(connected_peers, Ordering::Relaxed);
        self.routing_table_size
            .store(routing_table_size, Ordering::Relaxed);
        self.mesh_peers.store(mesh_peers, Ordering::Relaxed);
    }

    /// The time since the node started.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The age of the last beat at `now`.
    pub fn age(&self, now: Instant) -> Duration {
        let beat = Duration::from_millis(self.last_beat_ms.load(Ordering::Relaxed));
        now.saturating_duration_since(self.started)
            .saturating_sub(beat)
    }

    /// Whether the loop has made progress recently.
    pub fn is_alive(&self, now: Instant) -> bool {
        self.age(now) < STUCK_AFTER
    }

    /// The health of the node at `now`. `not_ready` is why the node does not serve, as far
    /// as others than the event loop know. Never waits, even while the loop is stuck.
    pub fn health(&self, not_ready: Option<String>, now: Instant) -> Health {
        let live = self.is_alive(now);
        let reason = if live {
            not_ready
        } else {
            let age = self.age(now).as_secs();
            Some(format!("the event loop has not turned for {age} s"))
        };
        Health {
            live,
            ready: reason.is_none(),
            reason,
            connected_peers: self.connected_peers() as u64,
            routing_table_size: self.routing_table_size() as u64,
            uptime: self.uptime(),
        }
    }

    /// The number of peers connected at the last beat.
    pub fn connected_peers(&self) -> usize {
        self.connected_peers.load(Ordering::Relaxed)
    }

    /// The number of peers in the DHT routing table at the last beat.
    pub fn routing_table_size(&self) -> usize {
        self.routing_table_size.load(Ordering::Relaxed)
    }

    /// The number of peers in gossip meshes at the last beat, each counted once.
    pub fn mesh_peers(&self) -> usize {
        self.mesh_peers.load(Ordering::Relaxed)
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Pulse::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stops_beating_is_not_alive() {
        let pulse = Pulse::new();
        let now = Instant::now();
        pulse.beat(now, 3, 7, 2);
        assert!(pulse.is_alive(now));
        assert!(!pulse.is_alive(now + STUCK_AFTER + Duration::from_secs(1)));
        assert_eq!(
            (
                pulse.connected_peers(),
                pulse.routing_table_size(),
                pulse.mesh_peers()
            ),
            (3, 7, 2)
        );
    }
}
