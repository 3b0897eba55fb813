//! A point in time on both clocks of the host.

use std::time::{Instant, SystemTime};

/// A point in time on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time of the monotonic clock, which goes on evenly while the process runs.
    pub mono: Instant,
    /// The time of day, which may be changed.
    pub wall: SystemTime,
}

impl Moment {
    /// Returns the current moment.
    pub fn now() -> Self {
        Moment {
            mono: Instant::now(),
            wall: SystemTime::now(),
        }
    }
}
