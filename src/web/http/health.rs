//! The health of the node, as the health pages report it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use crate::api::{Health, State};
use crate::node::Pulse;

/// Something that can report the health of the node without waiting.
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
            reason: Mutex::new(Some(State::Starting.as_str().into())),
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

    /// From now on it does not, for `reason`, such as the word for [`State::Draining`].
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

/// The real node: the pulse of its event loop, and the readiness that the daemon reports.
#[derive(Clone, Debug)]
pub struct NodeProbe {
    /// Written by the event loop.
    pub pulse: Arc<Pulse>,
    /// Written by the daemon.
    pub readiness: Arc<Readiness>,
}

impl Probe for NodeProbe {
    fn health(&self, now: Instant) -> Health {
        self.pulse.health(self.readiness.reason(), now)
    }
}
