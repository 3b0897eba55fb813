//! When which content is announced to the DHT. Pure.
//!
//! Provider records expire, so every root is announced at the start and again
//! before its record can have expired. Whoever is due longest goes first, so
//! that nobody starves; times are spread, so that a restart with many roots does
//! not make a storm, now or one interval later.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use cid::Cid;

/// Announcements under way at once. Each is a walk through the DHT with some
/// twenty dials.
pub(crate) const CONCURRENT: usize = 4;

/// How far the first announcements after a start are apart on average, unless
/// that would take more than a tenth of the interval.
const SPREAD: Duration = Duration::from_millis(250);

/// Wait after a failed announcement; it doubles up to a quarter of the interval.
/// Short at first, since the usual failure is a node that has just started and
/// knows nobody yet.
const RETRY: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
struct Due {
    at: Instant,
    failures: u32,
    under_way: bool,
    /// Asked for again while it was under way.
    again: bool,
}

/// See the module's documentation. One entry of about 200 bytes a root.
#[derive(Debug)]
pub(crate) struct Schedule {
    interval: Duration,
    entries: HashMap<Cid, Due>,
    queue: BTreeSet<(Instant, Cid)>,
    under_way: usize,
    random: RandomState,
    draws: u64,
}

impl Schedule {
    /// Every root again after at most `interval`.
    pub(crate) fn new(interval: Duration) -> Self {
        Schedule {
            interval,
            entries: HashMap::new(),
            queue: BTreeSet::new(),
            under_way: 0,
            random: RandomState::new(),
            draws: 0,
        }
    }

    /// To be announced at once.
    pub(crate) fn announce(&mut self, cid: Cid, now: Instant) {
        match self.entries.get_mut(&cid) {
            Some(due) if due.under_way => due.again = true,
            _ => self.set(
                cid,
                Due {
                    at: now,
                    failures: 0,
                    under_way: false,
                    again: false,
                },
            ),
        }
    }

    /// No longer here.
    pub(crate) fn forget(&mut self, cid: &Cid) {
        if let Some(due) = self.entries.remove(cid) {
            self.queue.remove(&(due.at, *cid));
            self.under_way -= usize::from(due.under_way);
        }
    }

    /// Brings the schedule in line with the roots that are here: new ones are
    /// announced soon, those that are gone no more. Returns the latter.
    pub(crate) fn sync(&mut self, roots: &[Cid], now: Instant) -> Vec<Cid> {
        let live: std::collections::HashSet<&Cid> = roots.iter().collect();
        let gone: Vec<Cid> = self
            .entries
            .keys()
            .filter(|cid| !live.contains(cid))
            .copied()
            .collect();
        for cid in &gone {
            self.forget(cid);
        }
        let count = u32::try_from(roots.len()).unwrap_or(u32::MAX);
        let spread = SPREAD.saturating_mul(count).min(self.interval / 10);
        for cid in roots {
            if !self.entries.contains_key(cid) {
                let at = now + spread.mul_f64(self.draw());
                self.set(
                    *cid,
                    Due {
                        at,
                        failures: 0,
                        under_way: false,
                        again: false,
                    },
                );
            }
        }
        gone
    }

    /// The next to announce, if one is due and there is room; report its end
    /// with [`Schedule::done`].
    pub(crate) fn next(&mut self, now: Instant) -> Option<Cid> {
        let (at, cid) = *self.queue.first()?;
        if at > now || self.under_way >= CONCURRENT {
            return None;
        }
        self.queue.remove(&(at, cid));
        self.under_way += 1;
        if let Some(due) = self.entries.get_mut(&cid) {
            due.under_way = true;
        }
        Some(cid)
    }

    /// Somebody announces `cid` out of turn; its end is reported as of any other.
    pub(crate) fn started(&mut self, cid: Cid, now: Instant) {
        self.forget(&cid);
        self.under_way += 1;
        self.entries.insert(
            cid,
            Due {
                at: now,
                failures: 0,
                under_way: true,
                again: false,
            },
        );
    }

    /// When the next is due.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// The announcement of `cid` has ended.
    pub(crate) fn done(&mut self, cid: &Cid, ok: bool, now: Instant) {
        let Some(due) = self.entries.get(cid).copied().filter(|due| due.under_way) else {
            return;
        };
        self.under_way -= 1;
        let draw = self.draw();
        let (wait, failures) = if due.again {
            (Duration::ZERO, due.failures)
        } else if ok {
            // Between 80% and 100%: what was announced together drifts apart.
            (self.interval.mul_f64(0.8 + 0.2 * draw), 0)
        } else {
            let wait = RETRY
                .saturating_mul(1 << due.failures.min(16))
                .min(self.interval / 4);
            (wait.mul_f64(0.5 + draw), due.failures.saturating_add(1))
        };
        self.set(
            *cid,
            Due {
                at: now + wait,
                failures,
                under_way: false,
                again: false,
            },
        );
    }

    fn set(&mut self, cid: Cid, due: Due) {
        if let Some(old) = self.entries.insert(cid, due) {
            self.queue.remove(&(old.at, cid));
        }
        self.queue.insert((due.at, cid));
    }

    /// Between 0 and 1. Jitter needs no better source.
    fn draw(&mut self) -> f64 {
        self.draws += 1;
        (self.random.hash_one(self.draws) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::{Codec, address};
    use super::*;

    fn cids(count: u32) -> Vec<Cid> {
        (0..count)
            .map(|i| address(&i.to_le_bytes(), Codec::Raw))
            .collect()
    }

    /// Runs the schedule for `span`, each announcement taking `each`; returns
    /// when each root was announced.
    fn simulate(
        schedule: &mut Schedule,
        start: Instant,
        span: Duration,
        each: Duration,
        ok: impl Fn(&Cid) -> bool,
    ) -> HashMap<Cid, Vec<Duration>> {
        let mut log: HashMap<Cid, Vec<Duration>> = HashMap::new();
        let mut running: Vec<(Instant, Cid)> = Vec::new();
        let mut now = start;
        while now < start + span {
            running.retain(|(end, cid)| {
                if *end <= now {
                    schedule.done(cid, ok(cid), now);
                }
                *end > now
            });
            while let Some(cid) = schedule.next(now) {
                log.entry(cid).or_default().push(now - start);
                running.push((now + each, cid));
            }
            assert!(running.len() <= CONCURRENT);
            now += Duration::from_millis(500);
        }
        log
    }

    #[test]
    fn every_root_is_announced_again_before_the_interval_is_over() {
        let interval = Duration::from_secs(3600);
        let start = Instant::now();
        let mut schedule = Schedule::new(interval);
        schedule.sync(&cids(300), start);
        let log = simulate(
            &mut schedule,
            start,
            interval * 3,
            Duration::from_secs(3),
            |_| true,
        );
        assert_eq!(log.len(), 300);
        for times in log.values() {
            assert!(times[0] <= interval / 4, "{times:?}");
            let slack = interval + Duration::from_secs(300);
            assert!(
                times.windows(2).all(|pair| pair[1] - pair[0] <= slack),
                "{times:?}"
            );
        }
    }

    #[test]
    fn failures_are_tried_again_and_do_not_hold_up_others() {
        let interval = Duration::from_secs(3600);
        let start = Instant::now();
        let all = cids(20);
        let broken = all[0];
        let mut schedule = Schedule::new(interval);
        schedule.sync(&all, start);
        let span = Duration::from_secs(1200);
        let log = simulate(&mut schedule, start, span, Duration::from_secs(1), |cid| {
            *cid != broken
        });
        assert_eq!(log.len(), 20);
        assert!(log[&broken].len() >= 3, "{:?}", log[&broken]);
        assert!(
            log.iter()
                .all(|(cid, times)| *cid == broken || times.len() == 1)
        );
    }

    #[test]
    fn what_is_put_goes_first_and_what_is_gone_is_forgotten() {
        let now = Instant::now();
        let all = cids(3);
        let mut schedule = Schedule::new(Duration::from_secs(3600));
        schedule.announce(all[0], now);
        assert_eq!(schedule.next(now), Some(all[0]));
        // Asked for again while it is under way: it follows at once.
        schedule.announce(all[0], now);
        assert_eq!(schedule.next(now), None);
        schedule.done(&all[0], true, now);
        assert_eq!(schedule.next(now), Some(all[0]));
        schedule.sync(&all[1..], now);
        schedule.done(&all[0], true, now);
        let later = now + Duration::from_secs(7200);
        let mut rest = [schedule.next(later), schedule.next(later)];
        rest.sort();
        let mut expected = [Some(all[1]), Some(all[2])];
        expected.sort();
        assert_eq!(rest, expected);
        assert_eq!(schedule.next(later), None);
    }
}
