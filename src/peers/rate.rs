//! How often strangers may connect: token buckets in fixed memory.
//!
//! A bucket holds `burst` tokens and gets `per_second` new ones each second,
//! continuously. Each connection takes one token. When there is none, the rate is
//! exceeded.
//!
//! # One bucket for each subnet, without a map that strangers can grow
//!
//! [`Table`] has [`ROWS`] rows of [`CELLS`] buckets. A subnet has one bucket in each row,
//! chosen by a hash whose key nobody outside knows. It exceeds its rate only when all of
//! its buckets are empty. So a subnet is refused because of others only when it shares
//! its bucket in every row with subnets that flood. With 100 of those, that is so for
//! (100/4096)² = 0.06 % of all subnets; with 1,000, for 4.7 %. After [`REKEY`], new keys
//! are drawn, and other subnets are affected. The memory is 2 × 4096 × 8 bytes = 64 KiB
//! in any case.

use std::hash::{BuildHasher, Hash, RandomState};
use std::time::{Duration, Instant};

/// The number of rows of a table. The second one squares the chance that a subnet shares
/// its buckets with a flood. A third would make each decision slower for little benefit.
const ROWS: usize = 2;

/// The number of buckets in a row; see the module's page.
const CELLS: usize = 4096;

/// How long a key is used. A subnet that shares its buckets with a flood waits no longer
/// than this. Every bucket is full again afterwards, so a flooding subnet gains one burst
/// in ten minutes.
const REKEY: Duration = Duration::from_secs(600);

/// A rate: how much a bucket holds, and how much flows in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// The number of tokens that flow in each second.
    pub per_second: f32,
    /// The number of tokens in a full bucket.
    pub burst: f32,
}

impl Rate {
    /// Returns a rate of `n` a second, with a burst of two seconds' worth. A restart
    /// makes all peers come back at the same time, and they should not be refused for it.
    pub fn per_second(n: u32) -> Rate {
        let n = n as f32;
        Rate {
            per_second: n,
            burst: 2.0 * n,
        }
    }
}

/// The number of tokens at a time, which is in milliseconds since some start.
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
        // If the clock has not moved between two calls, nothing is lost.
        if passed > 0 {
            let more = passed as f32 / 1000.0 * rate.per_second;
            self.tokens = (self.tokens + more).min(rate.burst);
            self.at = now;
        }
    }
}

/// One bucket for all peers together.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    rate: Rate,
    level: Level,
    start: Instant,
}

impl Bucket {
    /// Returns a full bucket.
    pub fn new(rate: Rate, now: Instant) -> Bucket {
        Bucket {
            rate,
            level: Level::full(rate),
            start: now,
        }
    }

    /// Returns the number of tokens in the bucket at `now`.
    pub fn tokens(&mut self, now: Instant) -> f32 {
        if now.saturating_duration_since(self.start) >= REKEY {
            // 32 bits hold the milliseconds of 49 days.
            self.level.refill(self.rate, millis(self.start, now));
            self.level.at = 0;
            self.start = now;
        }
        self.level.refill(self.rate, millis(self.start, now));
        self.level.tokens
    }

    /// Takes a token, and returns `false` when there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        let enough = self.tokens(now) >= 1.0;
        if enough {
            self.level.tokens -= 1.0;
        }
        enough
    }

    /// Changes the rate from `now` on. The tokens in the bucket stay, as far as they fit.
    pub fn set_rate(&mut self, rate: Rate, now: Instant) {
        let tokens = self.tokens(now);
        self.level.tokens = tokens.min(rate.burst);
        self.rate = rate;
    }

    /// Returns the rate of this bucket.
    pub fn rate(&self) -> Rate {
        self.rate
    }
}

/// One bucket for each subnet, in fixed memory; see the module's page.
#[derive(Clone, Debug)]
pub struct Table {
    rate: Rate,
    rows: [Box<[Level]>; ROWS],
    keys: [RandomState; ROWS],
    start: Instant,
}

impl Table {
    /// Returns a table in which all buckets are full.
    pub fn new(rate: Rate, now: Instant) -> Table {
        Table {
            rate,
            rows: std::array::from_fn(|_| vec![Level::full(rate); CELLS].into()),
            keys: std::array::from_fn(|_| RandomState::new()),
            start: now,
        }
    }

    /// Changes the rate from `now` on, and fills all buckets. To keep the levels of
    /// thousands of subnets is not worth the work when somebody changes a rate by hand.
    pub fn set_rate(&mut self, rate: Rate, now: Instant) {
        if rate != self.rate {
            *self = Table::new(rate, now);
        }
    }

    /// Takes a token of `subnet`, and returns `false` when it has none.
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

    /// Returns the rate of this table.
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
        // Many small steps yield as many tokens as one large step.
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
        // One of the 4096 × 4096 pairs of buckets is the flood's. A thousand other
        // subnets hit that pair with a chance of one in 17,000.
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
        // 4.7 % is expected, and 20 % cannot happen by chance.
        assert!(first.len() < 400, "{}", first.len());
        let later = start + REKEY;
        assert!(table.take(&0, later), "a new key is a new start");
    }
}
