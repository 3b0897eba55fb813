//! When something that is done again and again is done next: searches for the
//! members of a topic, and announcements of this node as one.

use std::time::{Duration, Instant};

/// The least time between the beginnings of two, whatever hurries them: a topic
/// whose only member comes and goes must not search without a pause.
const LEAST: Duration = Duration::from_secs(3);

/// Members that go hurry a search so many times in [`REST`] at most, and after that
/// its pauses go on growing. A walk takes some tens of requests and dials, and one
/// peer that subscribes and leaves again and again must not make this node walk
/// through the DHT without end. Three: too few members, nobody, and once more.
const HURRIES: u32 = 3;

/// See [`HURRIES`].
const REST: Duration = Duration::from_secs(60);

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    /// How many were done since the last hurry.
    step: u32,
    /// Not before this; at once when there is none.
    next: Option<Instant>,
    begun: Option<Instant>,
    under_way: bool,
    /// Hurries by those who are not this node, and since when they are counted.
    hurries: (u32, Option<Instant>),
}

impl Pace {
    /// Whether to begin one now.
    pub(super) fn due(&self, now: Instant) -> bool {
        !self.under_way && self.next.is_none_or(|t| now >= t)
    }

    /// Since when it is due; those that wait longest go first.
    pub(super) fn since(&self) -> Option<Instant> {
        self.next
    }

    /// How many were done since the last hurry.
    pub(super) fn step(&self) -> u32 {
        self.step
    }

    /// When the last one began.
    pub(super) fn begun(&self) -> Option<Instant> {
        self.begun
    }

    /// Whether one is under way.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// One begins.
    pub(super) fn begin(&mut self, now: Instant) {
        self.under_way = true;
        self.begun = Some(now);
        self.next = None;
    }

    /// The one under way has ended. The next one follows after `first`, then after
    /// `factor` times as long each time and `longest` at most; `chance` (0.0 to
    /// 1.0) takes up to a quarter off, so that many who began together drift apart.
    ///
    /// When it was hurried meanwhile, the next one follows as soon as that said.
    pub(super) fn end(
        &mut self,
        now: Instant,
        (first, factor, longest): (Duration, u32, Duration),
        chance: f64,
    ) {
        self.under_way = false;
        if self.next.is_some() {
            return;
        }
        let full = first
            .saturating_mul(factor.saturating_pow(self.step))
            .min(longest);
        self.step = self.step.saturating_add(1);
        self.next = Some(now + full.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 4.0));
    }

    /// Begin anew, at once or as soon as [`LEAST`] allows.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.step = 0;
        self.next = Some(self.begun.map_or(now, |t| (t + LEAST).max(now)));
    }

    /// As [`Pace::hurry`], for what a remote can bring about: see [`HURRIES`].
    pub(super) fn hurry_if_rested(&mut self, now: Instant) {
        let (count, since) = &mut self.hurries;
        if since.is_none_or(|t| now.saturating_duration_since(t) >= REST) {
            (*count, *since) = (0, Some(now));
        }
        *count += 1;
        if *count <= HURRIES {
            self.hurry(now);
        }
    }

    /// The pause that goes on may be no longer than `most`.
    pub(super) fn within(&mut self, most: Duration, now: Instant) {
        if let Some(next) = &mut self.next {
            *next = (*next).min(now + most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_grow_to_the_longest_and_a_hurry_begins_anew() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        for pause in [2, 4, 8, 16, 30, 30] {
            assert!(pace.due(now));
            pace.begin(now);
            assert!(!pace.due(now), "one at a time");
            pace.end(now, (2 * S, 2, 30 * S), 0.0);
            assert!(!pace.due(now + pause * S - S / 10));
            now += pause * S;
        }
        pace.begin(now);
        pace.end(now, (2 * S, 2, 30 * S), 1.0);
        assert!(pace.due(now + 30 * S * 3 / 4), "chance takes a quarter off");
        // It began just now: not at once, but soon.
        pace.hurry(now + S);
        assert!(!pace.due(now + S));
        assert!(pace.due(now + LEAST));
        pace.begin(now + LEAST);
        // Hurried while one is under way: it follows at once.
        pace.hurry(now + 10 * S);
        pace.end(now + 10 * S, (2 * S, 2, 30 * S), 0.0);
        assert!(pace.due(now + 10 * S));
    }

    #[test]
    fn a_long_pause_is_cut_short_and_a_short_one_stays() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.begin(now);
        pace.end(now, (600 * S, 2, 600 * S), 0.0);
        pace.within(20 * S, now);
        assert!(pace.due(now + 20 * S) && !pace.due(now + 19 * S));
        pace.within(60 * S, now);
        assert!(pace.due(now + 20 * S));
    }
}
