//! The token bucket.

use std::time::{Duration, Instant};

/// How much a bucket holds and how fast it is filled, in units of the caller's choice.
///
/// A caller that counts in billionths of a token has a bucket for `n` tokens a second
/// when it gains `n` units per nanosecond. All amounts are then whole numbers, and clocks
/// count in nanoseconds. So nothing is ever rounded: nothing is lost however often the
/// bucket is asked, and no error accumulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// The number of units in a full bucket.
    pub(crate) full: i128,
    /// The number of units that flow in per nanosecond; not zero.
    pub(crate) per_nanosecond: i128,
}

/// A level that rises with time up to [`Capacity::full`] and falls by the amount that is
/// taken. It may fall below zero, which is a debt.
///
/// A clock that stands still or goes back does not fill the bucket. After a clock has
/// jumped ahead, the bucket is full, and no more than full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    level: i128,
    /// The time at which the level was computed.
    at: Instant,
}

impl Bucket {
    /// Returns a full bucket.
    pub(crate) fn full(capacity: Capacity, now: Instant) -> Self {
        Bucket {
            level: capacity.full,
            at: now,
        }
    }

    /// Adds the units that have flowed in since the last time. A level that exceeds the
    /// capacity, because the bucket was filled under another one, is reduced to it.
    pub(crate) fn refill(&mut self, capacity: Capacity, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at);
        self.at = self.at.max(now);
        let nanos = i128::try_from(elapsed.as_nanos()).unwrap_or(i128::MAX);
        let more = nanos.saturating_mul(capacity.per_nanosecond);
        self.level = self.level.saturating_add(more).min(capacity.full);
    }

    /// Returns the number of units as of the last refill. It is below zero when the
    /// bucket is in debt.
    pub(crate) fn level(&self) -> i128 {
        self.level
    }

    /// Takes units, even if there are not enough.
    pub(crate) fn take(&mut self, units: i128) {
        self.level = self.level.saturating_sub(units);
    }

    /// Gives back units that were taken but not used.
    pub(crate) fn give_back(&mut self, units: i128) {
        self.level = self.level.saturating_add(units);
    }

    /// Limits the level to the range from `least` to `most`.
    pub(crate) fn clamp(&mut self, least: i128, most: i128) {
        self.level = self.level.clamp(least, most);
    }

    /// Returns how long after the last refill the bucket reaches `level`, rounded up to
    /// the nanosecond.
    pub(crate) fn wait(&self, level: i128, capacity: Capacity) -> Duration {
        let missing = level.saturating_sub(self.level).max(0);
        let rate = capacity.per_nanosecond;
        let nanos = missing / rate + i128::from(missing % rate != 0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Holds three tokens and gains two a second, in billionths of a token.
    const SLOW: Capacity = Capacity {
        full: 3_000_000_000,
        per_nanosecond: 2,
    };

    fn ns(n: u64) -> Duration {
        Duration::from_nanos(n)
    }

    #[test]
    fn the_level_rises_with_time_up_to_what_the_bucket_holds() {
        let t = Instant::now();
        let mut bucket = Bucket::full(SLOW, t);
        bucket.take(SLOW.full);
        assert_eq!(bucket.level(), 0);
        bucket.refill(SLOW, t + ns(7));
        assert_eq!(bucket.level(), 14);
        bucket.refill(SLOW, t + Duration::from_secs(u64::from(u32::MAX)));
        assert_eq!(bucket.level(), SLOW.full);
    }

    #[test]
    fn asking_often_loses_nothing() {
        let t = Instant::now();
        let mut bucket = Bucket::full(SLOW, t);
        bucket.take(SLOW.full);
        for n in 1..=1_000_000 {
            bucket.refill(SLOW, t + ns(n));
        }
        assert_eq!(bucket.level(), 2_000_000);
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_fills_nothing() {
        let t = Instant::now() + Duration::from_secs(100);
        let mut bucket = Bucket::full(SLOW, t);
        bucket.take(SLOW.full);
        bucket.refill(SLOW, t - Duration::from_secs(50));
        bucket.refill(SLOW, t);
        assert_eq!(bucket.level(), 0);
    }

    #[test]
    fn the_wait_is_rounded_up_and_none_when_the_level_is_there() {
        let t = Instant::now();
        let mut bucket = Bucket::full(SLOW, t);
        assert_eq!(bucket.wait(SLOW.full, SLOW), Duration::ZERO);
        bucket.take(SLOW.full + 5);
        assert_eq!(bucket.wait(0, SLOW), ns(3));
        assert_eq!(bucket.wait(1, SLOW), ns(3));
        assert_eq!(bucket.wait(2, SLOW), ns(4));
        bucket.refill(SLOW, t + ns(3));
        assert_eq!(bucket.wait(1, SLOW), Duration::ZERO);
        bucket.give_back(9);
        assert_eq!(bucket.level(), 10);
        bucket.clamp(-4, 4);
        assert_eq!(bucket.level(), 4);
    }

    #[test]
    fn the_largest_numbers_overflow_nothing() {
        let huge = Capacity {
            full: i128::MAX,
            per_nanosecond: i128::MAX,
        };
        let t = Instant::now();
        let mut bucket = Bucket::full(huge, t);
        bucket.take(i128::MAX);
        bucket.take(i128::MAX);
        assert_eq!(bucket.wait(i128::MAX, huge), ns(1));
        bucket.refill(huge, t + Duration::from_secs(u64::from(u32::MAX)));
        assert!(bucket.level() >= 0);
    }
}
