//! How the node is, as the health pages tell it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use crate::node::Pulse;

/// The state of the node at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The event loop makes progress.
    pub live: bool,
    /// The node serves: it is neither starting nor draining nor stuck.
    pub ready: bool,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// Peers with at least one connection.
    pub connected_peers: usize,
    /// Peers in the DHT routing table.
    pub routing_table_size: usize,
    /// Seconds since the node started.
    pub uptime_seconds: u64,
}

/// Whoever can tell how the node is, at once and without waiting.
pub trait Probe: Send + Sync {
    /// The state at `now`.
    fn health(&self, now: Instant) -> Health;
}

/// Whether the daemon is ready, written by the daemon.
#[derive(Debug)]
pub struct Readiness {
    /// Why not; `None` when ready.
    reason: Mutex<Option<String>>,
}

impl Default for Readiness {
    fn default() -> Self {
        Readiness {
            reason: Mutex::new(Some("starting".into())),
        }
    }
}

impl Readiness {
    /// Not ready yet: starting.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on the node serves.
    pub fn set_ready(&self) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// From now on it does not, for `reason`, such as `draining`.
    pub fn set_not_ready(&self, reason: impl Into<String>) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.into());
    }

    /// Why the node is not ready; `None` when it is.
    pub fn reason(&self) -> Option<String> {
        self.reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The real node: its event loop's pulse, and what the daemon says.
#[derive(Clone, Debug)]
pub struct NodeProbe {
    /// Written by the event loop.
    pub pulse: Arc<Pulse>,
    /// Written by the daemon.
    pub readiness: Arc<Readiness>,
}

impl Probe for NodeProbe {
    fn health(&self, now: Instant) -> Health {
        let live = self.pulse.is_alive(now);
        let reason = if live {
            self.readiness.reason()
        } else {
            let age = self.pulse.age(now).as_secs();
            Some(format!("the event loop has not turned for {age} s"))
        };
        Health {
            live,
            ready: reason.is_none(),
            reason,
            connected_peers: self.pulse.connected_peers(),
            routing_table_size: self.pulse.routing_table_size(),
            uptime_seconds: self.pulse.uptime().as_secs(),
        }
    }
}
