//! A budget of events: so many at once, and so many a second for long. Pure.

use std::time::{Duration, Instant};

/// The generic cell rate algorithm (ITU-T I.371): a token bucket of which one
/// instant is the whole state.
///
/// Example: one event each 2 ms, 1,000 at once. The first thousand pass however
/// close together they come; from then on one each 2 ms. After two quiet seconds
/// there is room for a thousand again, after one for five hundred.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Between two events of one that never stops.
    interval: Duration,
    /// How far the account may run ahead of the clock.
    ahead: Duration,
    /// When all that happened is paid for.
    paid: Instant,
}

impl Pace {
    /// `per_second` (not zero) for long, `burst` at once.
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Pace {
            interval,
            ahead: interval * burst,
            paid: now,
        }
    }

    /// Counts one event. `Err`: how long until there is room for the next, which
    /// may come all the same; it costs as much.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.paid = self.paid.max(now) + self.interval;
        // An account far in debt is no more than one that is full: who stops
        // for the time of the burst begins afresh.
        self.paid = self.paid.min(now + self.ahead * 2);
        match self.paid.checked_duration_since(now + self.ahead) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => Ok(()),
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
        // Whoever waits as told passes at the rate for ever.
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
