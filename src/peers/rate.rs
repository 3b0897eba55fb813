//! How often strangers may come: token buckets in fixed memory.
//!
//! A bucket holds `burst` tokens and gets `per_second` new ones each second,
//! continuously. Who comes takes one; when there is none, the rate is exceeded.
//!
//! # One bucket a subnet, without a map that strangers can grow
//!
//! [`Table`] has [`ROWS`] rows of [`CELLS`] buckets. A subnet has one bucket in
//! each row, chosen by a hash whose key nobody outside knows, and is over its
//! rate only when all of its buckets are empty. So it suffers for the sake of
//! another only when it shares its bucket in every row with subnets that flood:
//! with 100 of those, (100/4096)² = 0.06 % of all subnets do; with 1,000, 4.7 %.
//! Those are others after [`REKEY`], when new keys are drawn. The memory is
//! 2 × 4096 × 8 bytes = 64 KiB, whatever happens.

use std::hash::{BuildHasher, Hash, RandomState};
use std::time::{Duration, Instant};

/// Rows of a table. A second one squares the chance of an unlucky neighbour; a
/// third would make each decision slower for little.
const ROWS: usize = 2;

/// Buckets in a row, see the module's page.
const CELLS: usize = 4096;

/// How long a key is used. An unlucky neighbour waits no longer than this; and
/// since every bucket is full again after it, a flooding subnet gains one burst
/// in ten minutes.
const REKEY: Duration = Duration::from_secs(600);

/// A rate: what a bucket holds, and what flows in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Tokens a second.
    pub per_second: f32,
    /// Tokens in a full bucket.
    pub burst: f32,
}

impl Rate {
    /// `n` a second, and two seconds' worth at once: a restart makes all peers
    /// come back at the same time, and they should not be told off for it.
    pub fn per_second(n: u32) -> Rate {
        let n = n as f32;
        Rate {
            per_second: n,
            burst: 2.0 * n,
        }
    }
}

/// Tokens at a moment, in milliseconds since some start.
#[derive(Clone, Copy, Debug)]
struct Level {
    tokens: f32,
    at: u32,
}

impl Level {
    fn full(rate: Rate) -> Level {
        Level {
            tokens: rate.burst,
            at: 0,
        }
    }

    fn refill(&mut self, rate: Rate, now: u32) {
        let passed = now.saturating_sub(self.at);
        // A clock that stands still between two calls loses nothing.
        if passed > 0 {
            let more = passed as f32 / 1000.0 * rate.per_second;
            self.tokens = (self.tokens + more).min(rate.burst);
            self.at = now;
        }
    }
}

/// One bucket for everybody.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    rate: Rate,
    level: Level,
    start: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn new(rate: Rate, now: Instant) -> Bucket {
        Bucket {
            rate,
            level: Level::full(rate),
            start: now,
        }
    }

    /// Tokens in it at `now`.
    pub fn tokens(&mut self, now: Instant) -> f32 {
        if now.saturating_duration_since(self.start) >= REKEY {
            // Milliseconds in 32 bits last for 49 days.
            self.level.refill(self.rate, millis(self.start, now));
            self.level.at = 0;
            self.start = now;
        }
        self.level.refill(self.rate, millis(self.start, now));
        self.level.tokens
    }

    /// Takes a token; `false` when there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        let enough = self.tokens(now) >= 1.0;
        if enough {
            self.level.tokens -= 1.0;
        }
        enough
    }

    /// Another rate from `now` on. What is in the bucket stays, as far as it fits.
    pub fn set_rate(&mut self, rate: Rate, now: Instant) {
        let tokens = self.tokens(now);
        self.level.tokens = tokens.min(rate.burst);
        self.rate = rate;
    }

    /// What it was made for.
    pub fn rate(&self) -> Rate {
        self.rate
    }
}

/// A bucket for each subnet, in fixed memory; see the module's page.
#[derive(Clone, Debug)]
pub struct Table {
    rate: Rate,
    rows: [Box<[Level]>; ROWS],
    keys: [RandomState; ROWS],
    start: Instant,
}

impl Table {
    /// Full buckets for everybody.
    pub fn new(rate: Rate, now: Instant) -> Table {
        Table {
            rate,
            rows: std::array::from_fn(|_| vec![Level::full(rate); CELLS].into()),
            keys: std::array::from_fn(|_| RandomState::new()),
            start: now,
        }
    }

    /// Another rate from `now` on, with full buckets for everybody: levels of
    /// thousands of subnets are not worth a walk for a change by hand.
    pub fn set_rate(&mut self, rate: Rate, now: Instant) {
        if rate != self.rate {
            *self = Table::new(rate, now);
        }
    }

    /// Takes a token of `subnet`; `false` when it has none.
    pub fn take(&mut self, subnet: &impl Hash, now: Instant) -> bool {
        if now.saturating_duration_since(self.start) >= REKEY {
            *self = Table::new(self.rate, now);
        }
        let (rate, at) = (self.rate, millis(self.start, now));
        let mut most = 0.0_f32;
        let mut cells = [0; ROWS];
        for (row, cell) in cells.iter_mut().enumerate() {
            *cell = self.keys[row].hash_one(subnet) as usize % CELLS;
            let level = &mut self.rows[row][*cell];
            level.refill(rate, at);
            most = most.max(level.tokens);
        }
        if most < 1.0 {
            return false;
        }
        for (row, cell) in cells.into_iter().enumerate() {
            let level = &mut self.rows[row][cell];
            level.tokens = (level.tokens - 1.0).max(0.0);
        }
        true
    }

    /// What it was made for.
    pub fn rate(&self) -> Rate {
        self.rate
    }
}

fn millis(start: Instant, now: Instant) -> u32 {
    let passed = now.saturating_duration_since(start).as_millis();
    u32::try_from(passed).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 4.0,
        burst: 8.0,
    };

    fn taken(mut take: impl FnMut() -> bool) -> usize {
        (0..10_000).filter(|_| take()).count()
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(RATE, start);
        assert_eq!(taken(|| bucket.take(start)), 8);
        let later = start + Duration::from_millis(1500);
        assert_eq!(taken(|| bucket.take(later)), 6);
        // Many small steps give as much as a large one.
        let mut steps = 0;
        for ms in 0..1000 {
            steps += usize::from(bucket.take(later + Duration::from_millis(ms)));
        }
        assert!((3..=4).contains(&steps), "{steps}");
        let far = start + Duration::from_secs(100 * 24 * 3600);
        assert_eq!(taken(|| bucket.take(far)), 8);
        assert_eq!(taken(|| bucket.take(far + Duration::from_secs(1))), 4);
    }

    #[test]
    fn another_rate_counts_from_its_moment_on() {
        let start = Instant::now();
        let mut bucket = Bucket::new(RATE, start);
        let slow = Rate {
            per_second: 1.0,
            burst: 2.0,
        };
        bucket.set_rate(slow, start);
        assert_eq!(taken(|| bucket.take(start)), 2);
        let later = start + Duration::from_secs(1);
        assert_eq!(taken(|| bucket.take(later)), 1);
        bucket.set_rate(RATE, later);
        let later = later + Duration::from_secs(1);
        assert_eq!(taken(|| bucket.take(later)), 4);
        let mut table = Table::new(RATE, start);
        table.set_rate(slow, start);
        assert_eq!(taken(|| table.take(&1, start)), 2);
    }

    #[test]
    fn each_subnet_has_its_own_bucket() {
        let start = Instant::now();
        let mut table = Table::new(RATE, start);
        assert_eq!(taken(|| table.take(&"flood", start)), 8);
        // One of the 4096 × 4096 pairs of buckets is the flood's; a thousand
        // others meet it with a chance of one in 17,000.
        for n in 0..1000_u32 {
            assert!(table.take(&n, start), "{n}");
        }
        let later = start + Duration::from_secs(1);
        assert_eq!(taken(|| table.take(&"flood", later)), 4);
    }

    #[test]
    fn a_flood_from_a_thousand_subnets_hits_few_others_and_new_ones_later() {
        let start = Instant::now();
        let mut table = Table::new(RATE, start);
        for n in 0..1000_u32 {
            while table.take(&("flood", n), start) {}
        }
        let unlucky = |table: &mut Table, now| -> Vec<u32> {
            (0..2000_u32).filter(|n| !table.take(n, now)).collect()
        };
        let first = unlucky(&mut table.clone(), start);
        // 4.7 % expected; 20 % is beyond any chance.
        assert!(first.len() < 400, "{}", first.len());
        let later = start + REKEY;
        assert!(table.take(&0, later), "a new key is a new start");
    }
}
