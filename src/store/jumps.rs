//! Whether the wall clock was set, as opposed to time that passed.

use std::time::{Duration, Instant};

use crate::system::moment::Moment;

/// A wall clock that goes ahead of the monotonic one by more than this has been
/// set. Daemons that correct a clock slowly stay far below.
const JUMP: Duration = Duration::from_secs(3600);

/// Nothing expires for this long after a jump: the time between two sweeps, in
/// which a clock that was set wrongly can be set right.
const HOLD: Duration = Duration::from_secs(60);

/// Notices when the wall clock was set ahead. By such a clock everything would expire at
/// once, pinned content too.
#[derive(Debug)]
pub(super) struct Jumps {
    last: Moment,
    hold_until: Option<Instant>,
}

impl Jumps {
    /// Watches from this moment on.
    pub(super) fn since(start: Moment) -> Self {
        Jumps {
            last: start,
            hold_until: None,
        }
    }

    /// Whether roots may expire by the wall clock now.
    pub(super) fn may_expire(&mut self, now: Moment) -> bool {
        let last = std::mem::replace(&mut self.last, now);
        // A clock that was set back makes nothing expire.
        let seen = now.wall.duration_since(last.wall).unwrap_or_default();
        let passed = now.mono.saturating_duration_since(last.mono);
        let ahead = seen.saturating_sub(passed);
        if ahead > JUMP {
            self.hold_until = Some(now.mono + HOLD);
            log::warn!(
                seconds = ahead.as_secs();
                "the clock went ahead by more than the time that passed (it was set, or the host \
                 slept); nothing expires in the next minute"
            );
        }
        self.hold_until.is_none_or(|until| now.mono >= until)
    }
}
