//! What the announcer does regularly beside announcing, and when.

use std::time::{Duration, Instant};

/// A task that is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chore {
    /// Compare the schedule with the store, to find roots that have expired or were
    /// evicted there. The store is read only when a root has been added or removed.
    Sync,
    /// Store the times of announcements.
    Save,
    /// Count the backlog for the metrics.
    Count,
}

impl Chore {
    const ALL: [Chore; 3] = [Chore::Sync, Chore::Save, Chore::Count];

    /// Returns the time from the end of one run of the task to the beginning of the next.
    fn interval(self) -> Duration {
        match self {
            Chore::Sync => Duration::from_secs(60),
            // When the process is killed, this much is forgotten and announced once more.
            Chore::Save => Duration::from_secs(10),
            Chore::Count => Duration::from_secs(1),
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Upkeep {
    /// In the order of [`Chore::ALL`].
    due: [Instant; Chore::ALL.len()],
}

impl Upkeep {
    /// Makes everything due at once, except for saving, since there is nothing to save
    /// yet.
    pub(crate) fn new(now: Instant) -> Self {
        Upkeep {
            due: Chore::ALL.map(|chore| match chore {
                Chore::Save => now + chore.interval(),
                Chore::Sync | Chore::Count => now,
            }),
        }
    }

    /// Returns the next task that is due. Report its end with [`Upkeep::done`].
    pub(crate) fn due(&self, now: Instant) -> Option<Chore> {
        let mut all = Chore::ALL.into_iter().zip(self.due);
        all.find(|(_, due)| *due <= now).map(|(chore, _)| chore)
    }

    /// Notes that the task was done.
    pub(crate) fn done(&mut self, chore: Chore, now: Instant) {
        self.due[chore as usize] = now + chore.interval();
    }

    /// Returns when the next task is due.
    pub(crate) fn wake_at(&self) -> Instant {
        let [first, rest @ ..] = self.due;
        rest.into_iter().fold(first, Instant::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_chore_comes_again_after_its_own_interval() {
        let start = Instant::now();
        let mut upkeep = Upkeep::new(start);
        let mut seen = Vec::new();
        let mut now = start;
        while now <= start + Duration::from_secs(61) {
            while let Some(chore) = upkeep.due(now) {
                if chore != Chore::Count {
                    seen.push(((now - start).as_secs(), chore));
                }
                upkeep.done(chore, now);
            }
            assert_eq!(upkeep.wake_at(), now + Duration::from_secs(1));
            now = upkeep.wake_at();
        }
        let saves = (1..=6).map(|n| (n * 10, Chore::Save));
        let mut expected: Vec<_> = [(0, Chore::Sync)].into_iter().chain(saves).collect();
        expected.insert(6, (60, Chore::Sync));
        assert_eq!(seen, expected);
    }

    #[test]
    fn the_interval_begins_at_the_end_of_the_chore() {
        let start = Instant::now();
        let mut upkeep = Upkeep::new(start);
        assert_eq!(upkeep.due(start), Some(Chore::Sync));
        let end = start + Duration::from_secs(100);
        upkeep.done(Chore::Sync, end);
        assert_eq!(upkeep.due(end), Some(Chore::Save));
        upkeep.done(Chore::Save, end);
        upkeep.done(Chore::Count, end);
        assert_eq!(upkeep.due(end), None);
        assert_eq!(upkeep.wake_at(), end + Duration::from_secs(1));
    }
}
