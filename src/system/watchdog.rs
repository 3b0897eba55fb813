//! The watchdog: the event loop tells the service manager that it turns
//! (`WatchdogSec=`, sd_watchdog_enabled(3)).
//!
//! The loop itself owns the [`Watchdog`] and beats between two turns. Nobody
//! else holds one, so that a loop which is stuck is one that does not beat,
//! whatever other threads do.

use std::time::{Duration, Instant};

use super::notify::Notifier;

/// What the event loop beats. Clones beat for themselves.
#[derive(Clone, Debug)]
pub struct Watchdog {
    notifier: Notifier,
    every: Duration,
    last: Option<Instant>,
}

impl Watchdog {
    /// A watchdog that bites when no beat came for `period`.
    pub fn new(notifier: Notifier, period: Duration) -> Watchdog {
        Watchdog {
            notifier,
            // Half would do for a loop that is never late; a quarter lets one
            // beat be late, or lost, and is still one message in many seconds.
            every: (period / 4).max(Duration::from_millis(1)),
            last: None,
        }
    }

    /// How often to beat.
    pub fn every(&self) -> Duration {
        self.every
    }

    /// The loop turned at `now`.
    pub fn beat(&mut self, now: Instant) {
        let due = self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= self.every / 2);
        if due {
            self.last = Some(now);
            self.notifier.watchdog();
        }
    }
}
