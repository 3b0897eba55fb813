//! One log line a minute for each cause, however often a remote provokes it.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A line for the same cause is written at most this often.
pub const INTERVAL: Duration = Duration::from_secs(60);

/// Remembers when each cause was last logged. Causes are names in the code, so
/// there are as many as there are call sites.
#[derive(Debug, Default)]
pub struct Throttle {
    causes: HashMap<&'static str, (Instant, u64)>,
}

impl Throttle {
    /// Whether to log `cause` at `now`: `Some(n)` for yes, with the number of
    /// times that it was kept back since the last line; `None` for not now.
    pub fn allow(&mut self, cause: &'static str, now: Instant) -> Option<u64> {
        match self.causes.get_mut(cause) {
            Some((last, suppressed)) if now.saturating_duration_since(*last) < INTERVAL => {
                *suppressed += 1;
                None
            }
            Some(entry) => {
                let suppressed = entry.1;
                *entry = (now, 0);
                Some(suppressed)
            }
            None => {
                self.causes.insert(cause, (now, 0));
                Some(0)
            }
        }
    }
}

static PROCESS: LazyLock<Mutex<Throttle>> = LazyLock::new(Mutex::default);

/// As [`Throttle::allow`] at this moment, with one memory for the whole process:
/// for code that many connections or streams run, each of which a remote can
/// make anew. A cause is then a name of its own in the whole program.
pub fn allow(cause: &'static str) -> Option<u64> {
    // The map is valid between any two statements.
    let mut throttle = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
    throttle.allow(cause, Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_becomes_one_line_a_minute_with_its_count() {
        let start = Instant::now();
        let mut throttle = Throttle::default();
        assert_eq!(throttle.allow("a", start), Some(0));
        for _ in 0..1000 {
            assert_eq!(throttle.allow("a", start + Duration::from_secs(1)), None);
        }
        assert_eq!(throttle.allow("b", start), Some(0));
        assert_eq!(throttle.allow("a", start + INTERVAL), Some(1000));
        assert_eq!(throttle.allow("a", start + INTERVAL * 2), Some(0));
    }

    #[test]
    fn the_memory_of_the_process_outlives_who_asks() {
        let asked = || allow("a cause of this test");
        assert_eq!(std::thread::spawn(asked).join().unwrap(), Some(0));
        // Within the same minute unless this machine stops for one.
        assert_eq!(std::thread::spawn(asked).join().unwrap(), None);
    }
}
