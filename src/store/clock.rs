//! The clocks of this host, as the store reads them. Apart from the keeper of bans and
//! reputations, nothing else in the store reads a clock: what decides is given the time.

use std::time::{Instant, SystemTime};

use crate::text::unix_time::unix_millis;

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// By the wall clock, which can be set.
    pub(super) wall: SystemTime,
    /// By the clock that only ever goes on.
    pub(super) monotonic: Instant,
}

impl Moment {
    /// Milliseconds since 1970.
    pub(super) fn millis(self) -> u64 {
        unix_millis(self.wall)
    }
}

/// The clocks.
pub(super) struct Clock {
    wall: Box<dyn Fn() -> SystemTime + Send + Sync>,
}

impl Clock {
    /// Those of the system.
    pub(super) fn system() -> Self {
        Self::with_wall(SystemTime::now)
    }

    /// A wall clock of the caller's, beside the monotonic one of the system.
    pub(super) fn with_wall(wall: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Clock {
            wall: Box::new(wall),
        }
    }

    /// The present moment.
    pub(super) fn now(&self) -> Moment {
        Moment {
            wall: (self.wall)(),
            monotonic: Instant::now(),
        }
    }
}
