//! The watchdog: the event loop tells the service manager that it makes progress
//! (`WatchdogSec=`, sd_watchdog_enabled(3)).
//!
//! The loop itself owns the [`Watchdog`] and reports between two turns. Nobody else holds
//! one, so that the reports end when the loop is stuck, whatever other threads do.

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
    /// A watchdog that restarts the service when no report came for `period`.
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

    /// Reports that the loop made progress, at `now`.
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
