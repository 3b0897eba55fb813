//! When to try again: exponential backoff with jitter, which never gives up.

use std::time::{Duration, Instant};

/// First pause after a failure.
const FIRST: Duration = Duration::from_secs(1);
/// Longest pause. Long enough that a network that is down costs nothing, short
/// enough that a bootstrap node that comes back is found within minutes.
const LONGEST: Duration = Duration::from_secs(300);

/// State of one thing that is tried again and again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    not_before: Option<Instant>,
}

impl Backoff {
    /// Whether it may be tried at `now`.
    pub(crate) fn due(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|t| now >= t)
    }

    /// How often in a row it failed.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// When it may be tried again; `None` when that is at once.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.not_before
    }

    /// It was tried at `now` and failed, or may yet fail: the pause doubles from
    /// one second to five minutes, and `chance` (0.0 to 1.0) takes up to half of
    /// it off, so that nodes that lost the same peer do not return in step.
    pub(crate) fn failed(&mut self, now: Instant, chance: f64) {
        self.failed_within(LONGEST, now, chance);
    }

    /// As [`Self::failed`], for what cannot wait: the pause is `most` at the longest.
    pub(crate) fn failed_within(&mut self, most: Duration, now: Instant, chance: f64) {
        let full = FIRST.saturating_mul(1 << self.failures.min(16)).min(most);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + full.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0));
    }

    /// It worked: the next failure starts from the shortest pause again, and
    /// nothing is tried before a long pause has passed.
    pub(crate) fn succeeded(&mut self, now: Instant, chance: f64) {
        self.failures = 0;
        self.not_before = Some(now + LONGEST.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0));
    }

    /// It is needed soon: it may be tried within `most`, however long the pause would be.
    pub(crate) fn within(&mut self, most: Duration, now: Instant, chance: f64) {
        let soon = now + most.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0);
        self.not_before = Some(self.not_before.map_or(soon, |t| t.min(soon)));
    }

    /// It may be tried at once, unless the last try failed: a pause after a failure is
    /// kept.
    pub(crate) fn hurry(&mut self) {
        if self.failures == 0 {
            self.not_before = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_never_end() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        assert!(backoff.due(start));
        let mut now = start;
        let mut last = Duration::ZERO;
        for _ in 0..40 {
            backoff.failed(now, 0.0);
            assert!(!backoff.due(now));
            let pause = backoff.not_before.unwrap() - now;
            assert!(pause >= last && pause <= LONGEST);
            last = pause;
            now += pause;
            assert!(backoff.due(now));
        }
        assert_eq!(last, LONGEST);
    }

    #[test]
    fn chance_takes_off_at_most_half() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        backoff.failed(now, 1.0);
        assert_eq!(backoff.not_before, Some(now + FIRST / 2));
    }

    #[test]
    fn what_is_needed_is_tried_soon_and_not_at_once() {
        let now = Instant::now();
        let most = Duration::from_secs(20);
        let mut backoff = Backoff::default();
        backoff.succeeded(now, 0.0);
        backoff.within(most, now, 0.0);
        assert_eq!(backoff.not_before, Some(now + most));
        backoff.within(most * 2, now, 0.0);
        assert_eq!(backoff.not_before, Some(now + most));
        for _ in 0..10 {
            backoff.failed(now, 0.0);
        }
        assert_eq!(backoff.next(), Some(now + LONGEST));
        backoff.within(most, now, 1.0);
        assert_eq!(backoff.next(), Some(now + most / 2));
    }

    #[test]
    fn a_pause_can_have_a_shorter_end() {
        let mut now = Instant::now();
        let most = Duration::from_secs(20);
        let mut backoff = Backoff::default();
        for pause in [1, 2, 4, 8, 16, 20, 20] {
            backoff.failed_within(most, now, 0.0);
            assert_eq!(backoff.next(), Some(now + Duration::from_secs(pause)));
            now += most;
        }
    }

    #[test]
    fn success_starts_over() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        for _ in 0..10 {
            backoff.failed(now, 0.0);
        }
        backoff.succeeded(now, 0.0);
        assert!(!backoff.due(now));
        backoff.hurry();
        assert!(backoff.due(now));
        backoff.failed(now, 0.0);
        assert_eq!(backoff.not_before, Some(now + FIRST));
    }
}
