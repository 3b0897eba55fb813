//! A point in time by both clocks of the host.

use std::time::{Instant, SystemTime};

/// A point in time by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The monotonic clock, which goes on evenly while the process runs.
    pub mono: Instant,
    /// The time of day, which may be set.
    pub wall: SystemTime,
}

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        Moment {
            mono: Instant::now(),
            wall: SystemTime::now(),
        }
    }
}
