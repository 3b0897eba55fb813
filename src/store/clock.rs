//! The clocks of this host, as the store reads them. Nothing else in the store reads a
//! clock: what decides is given the time.

use std::time::{Instant, SystemTime};

use crate::system::moment::Moment;

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
            mono: Instant::now(),
        }
    }
}
