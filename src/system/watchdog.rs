//! The watchdog: the event loop tells the service manager that it makes progress
//! (`WatchdogSec=`, sd_watchdog_enabled(3)).
//!
//! The loop itself owns the [`Watchdog`] and reports between two turns. No other code
//! holds one, so the reports end when the loop is stuck, whatever other threads do.

use std::time::{Duration, Instant};

use super::notify::Notifier;

/// The watchdog that the event loop reports to. Each clone reports for itself.
#[derive(Clone, Debug)]
pub struct Watchdog {
    notifier: Notifier,
    every: Duration,
    last: Option<Instant>,
}

impl Watchdog {
    /// Returns a watchdog for a manager that restarts the service when no report has
    /// arrived for `period`.
    pub fn new(notifier: Notifier, period: Duration) -> Watchdog {
        Watchdog {
            notifier,
            // Half the period would be enough for a loop that is never late. With a
            // quarter, one report may be late or lost, and it is still only one message
            // in many seconds.
            every: (period / 4).max(Duration::from_millis(1)),
            last: None,
        }
    }

    /// Returns how often to report.
    pub fn every(&self) -> Duration {
        self.every
    }

    /// Reports at `now` that the loop made progress.
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
