//! A budget of events: a burst, and a number per second in the long run.

use std::time::{Duration, Instant};

use super::bucket::{Bucket, Capacity};

/// The number of units of the bucket that one event takes.
const UNIT: i128 = 1_000_000_000;

/// A bucket that counts every event, including those that come too early.
///
/// For example, 500 events a second and 1,000 at once: the first thousand pass however
/// close together they come, and from then on one passes every 2 ms. After two seconds
/// without an event there is room for a thousand again, and after one second for five
/// hundred.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    capacity: Capacity,
    bucket: Bucket,
}

impl Pace {
    /// Creates a budget of `per_second` events (not zero) in the long run, and `burst` at
    /// once.
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let capacity = Capacity {
            full: i128::from(burst) * UNIT,
            per_nanosecond: i128::from(per_second.max(1)),
        };
        Pace {
            capacity,
            bucket: Bucket::full(capacity, now),
        }
    }

    /// Counts one event.
    ///
    /// # Errors
    /// Returns an error when there is no room for the event. It says how long it takes
    /// until there is room for the next one. That event may come earlier all the same,
    /// and then counts as much.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let full = self.capacity.full;
        self.bucket.refill(self.capacity, now);
        self.bucket.take(UNIT);
        // A debt is bounded by what the bucket holds, so that a caller that pauses for as
        // long as the burst takes begins afresh.
        self.bucket.clamp(-full, full);
        let wait = self.bucket.wait(0, self.capacity);
        match wait.is_zero() {
            true => Ok(()),
            false => Err(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut pace = Pace::new(500, 1000, start);
        for n in 0..1000 {
            assert!(pace.take(start).is_ok(), "event {n}");
        }
        assert_eq!(pace.take(start), Err(Duration::from_millis(2)));
        // A caller that waits as it is told passes at this rate for ever.
        let mut now = start;
        for _ in 0..2000 {
            now += Duration::from_millis(2);
            assert_eq!(pace.take(now), Err(Duration::from_millis(2)));
        }
        now += Duration::from_secs(4);
        for n in 0..1000 {
            assert!(pace.take(now).is_ok(), "event {n} after a rest");
        }
        assert!(pace.take(now).is_err());
    }

    #[test]
    fn a_flood_is_forgotten_in_bounded_time() {
        let start = Instant::now();
        let mut pace = Pace::new(100, 100, start);
        for _ in 0..1_000_000 {
            let _ = pace.take(start);
        }
        assert!(pace.take(start + Duration::from_secs(2)).is_ok());
    }
}
