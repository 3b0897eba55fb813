//! The health of the node, as the health pages report it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use crate::api::{Health, State};
use crate::node::Pulse;

/// Something that can report the health of the node without waiting.
pub trait Probe: Send + Sync {
    /// Returns the health of the node at `now`.
    fn health(&self, now: Instant) -> Health;
}

/// Whether the daemon is ready, which the daemon itself sets.
#[derive(Debug)]
pub struct Readiness {
    /// Why the daemon is not ready; `None` when it is.
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
    /// Creates a value that is not ready, because the daemon is starting.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets that the node serves from now on.
    pub fn set_ready(&self) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Sets that the node does not serve from now on, for `reason`, such as the word for
    /// [`State::Draining`].
    pub fn set_not_ready(&self, reason: impl Into<String>) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.into());
    }

    /// Returns why the node is not ready, or `None` when it is.
    pub fn reason(&self) -> Option<String> {
        self.reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Reports the health of the real node, from the pulse of its event loop and the
/// readiness that the daemon sets.
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
