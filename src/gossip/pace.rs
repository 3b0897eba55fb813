//! How fast this host publishes: never faster than its peers take it.
//!
//! Each peer takes of this node what one bucket holds (`P2P_RATE_BURST`,
//! `P2P_RATE_FILL`, see [`crate::peers::bucket`]) and drops the rest without
//! saying so; peers that get it through others count it against a bucket of the same
//! size (see [`super::authors`]). So a publisher that is faster than that
//! would be told "sent" of messages that are lost. What programs on this host
//! publish goes through a bucket of its own first, smaller than those of the
//! receivers, and waits until there is room in it. Its numbers follow from this
//! node's own configuration: that peers take what this node takes is the best
//! that it can know, and true where nobody has changed the defaults.
//!
//! # The numbers
//!
//! Publishing is not all that a receiver charges to that bucket: it also takes one
//! token for each request to the DHT, for each time that the peer says who it is,
//! and for each block asked of it in vain. Of the receiver's defaults, 200 and 100
//! a second:
//!
//! | what | at once | a second |
//! |---|---|---|
//! | published here ([`BURST`], [`FILL`]) | 80 | 45 |
//! | provider records, when very many are announced | 16 | 50 |
//! | other requests to the DHT, who this node is, blocks asked for in vain | 24 | 5 |
//! | kept for what is late | 80 | |
//!
//! What is late comes at once: a connection or a receiver that stands still for a
//! while gets all that was sent meanwhile in one moment. The last line is 1.7
//! seconds of the rate, in the worst moment, right after a burst; a receiver whose
//! bucket has filled again bears twice that.
//!
//! A copy of what this node published, which a receiver has from another already,
//! takes an eighth of a token in place of a whole one, and what this node passes on
//! for others has a budget of its own. Neither needs a part.
//!
//! All topics together have one bucket, since a peer that is on all of them has one
//! bucket for this node; and all peers together, since one that connects now has a
//! full one, in which every stretch of what is sent here fits.
//!
//! # Bytes
//!
//! The same parts are taken of the bytes that a receiver takes of all its peers
//! together, which is less than what it takes of one (see [`super::quotas`]): one
//! publisher alone never comes to a receiver's ceiling. A message that is larger
//! than the burst waits for a full bucket and leaves it owing.
//!
//! # Queues
//!
//! A burst is never more than a quarter of the queue that gossipsub keeps for each
//! peer ([`super::QUEUE`]), whatever is configured. At the default rate a queue
//! holds what is published in eleven seconds, more than gossipsub lets a message
//! wait.

use std::time::{Duration, Instant};

use super::QUEUE;
use crate::peers::bucket::Budget;
use crate::rate::{Bucket, Capacity};

/// What may be published at once, as a part of a receiver's burst.
const BURST: (u64, u64) = (2, 5);

/// What may be published a second, as a part of what flows into a receiver's bucket.
const FILL: (u64, u64) = (9, 20);

/// Units of a level in one token. A bucket gains `fill × FILL.0` of them in a
/// nanosecond, so nothing is ever rounded.
const UNIT: i128 = 1_000_000_000 * FILL.1 as i128;

/// Most messages at once.
const MOST: u64 = QUEUE as u64 / 4;

/// Tokens of one kind.
#[derive(Clone, Copy, Debug)]
struct Tokens {
    bucket: Bucket,
    capacity: Capacity,
}

impl Tokens {
    fn full(budget: Budget, most: u64, now: Instant) -> Self {
        // At least one token, with which everything passes in the end.
        let part = (budget.burst.saturating_mul(BURST.0) / BURST.1).min(most);
        let capacity = Capacity {
            full: i128::from(part.max(1)) * UNIT,
            per_nanosecond: i128::from(budget.fill.max(1)) * i128::from(FILL.0),
        };
        Tokens {
            bucket: Bucket::full(capacity, now),
            capacity,
        }
    }

    fn refill(&mut self, now: Instant) {
        self.bucket.refill(self.capacity, now);
    }

    fn spent(&self) -> i128 {
        self.capacity.full - self.bucket.level()
    }

    /// How long until `tokens` may be taken.
    fn wait(&self, tokens: u64) -> Duration {
        let wanted = (i128::from(tokens) * UNIT).min(self.capacity.full);
        self.bucket.wait(wanted, self.capacity)
    }

    /// Tokens a second.
    fn rate(&self) -> u64 {
        let units = self.capacity.per_nanosecond * 1_000_000_000;
        u64::try_from(units / UNIT).unwrap_or(u64::MAX)
    }
}

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    messages: Tokens,
    bytes: Tokens,
}

impl Pace {
    /// The pace for receivers that take `messages` of each peer and `bytes` of all
    /// peers together; its buckets are full.
    pub(crate) fn new(messages: Budget, bytes: Budget, now: Instant) -> Self {
        Pace {
            messages: Tokens::full(messages, MOST, now),
            bytes: Tokens::full(bytes, u64::MAX, now),
        }
    }

    /// Other receivers from `now` on. A change does not fill a bucket: what was spent
    /// before is still missing in it.
    pub(crate) fn set(&mut self, messages: Budget, bytes: Budget, now: Instant) {
        self.advance(now);
        let mut next = Pace::new(messages, bytes, now);
        next.messages.bucket.take(self.messages.spent());
        next.bytes.bucket.take(self.bytes.spent());
        *self = next;
    }

    fn advance(&mut self, now: Instant) {
        self.messages.refill(now);
        self.bytes.refill(now);
    }

    /// How long a message of `bytes` has to wait at `now`; zero when it may go.
    pub(crate) fn wait(&mut self, bytes: u64, now: Instant) -> Duration {
        self.advance(now);
        self.messages.wait(1).max(self.bytes.wait(bytes))
    }

    /// Counts a message of `bytes` that goes now.
    pub(crate) fn spend(&mut self, bytes: u64, now: Instant) {
        self.advance(now);
        self.messages.bucket.take(UNIT);
        self.bytes.bucket.take(i128::from(bytes) * UNIT);
    }

    /// How long the pace takes for a message of `bytes` in the long run: what it
    /// costs those who wait behind it.
    pub(crate) fn cost(&self, bytes: u64) -> Duration {
        let time = |kind: &Tokens, tokens: u64| {
            let nanos = i128::from(tokens) * UNIT / kind.capacity.per_nanosecond;
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        time(&self.messages, 1).max(time(&self.bytes, bytes))
    }

    /// Messages and bytes a second, rounded down.
    pub(crate) fn rates(&self) -> (u64, u64) {
        (self.messages.rate(), self.bytes.rate())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::bucket::{self, Rates};

    const BYTES: Budget = Budget {
        burst: 6 << 20,
        fill: 768 << 10,
    };

    fn messages() -> Budget {
        Rates::default().messages
    }

    fn pace(now: Instant) -> Pace {
        Pace::new(messages(), BYTES, now)
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// When each of `count` messages of `bytes` goes that all wait from `start` on.
    fn leave(pace: &mut Pace, count: usize, bytes: u64, start: Instant) -> Vec<Instant> {
        let mut now = start;
        (0..count)
            .map(|_| {
                now += pace.wait(bytes, now);
                assert_eq!(pace.wait(bytes, now), Duration::ZERO);
                pace.spend(bytes, now);
                now
            })
            .collect()
    }

    #[test]
    fn eighty_go_at_once_and_then_forty_five_a_second() {
        let t = Instant::now();
        let times = leave(&mut pace(t), 200, 64, t);
        assert!(times[..80].iter().all(|at| *at == t));
        // A second for each forty-five, rounded up to the nanosecond.
        assert_eq!(times[80] - t, Duration::from_nanos(22_222_223));
        assert_eq!(times[124] - t, Duration::from_secs(1));
        assert_eq!(times[169] - t, Duration::from_secs(2));
    }

    #[test]
    fn two_thousand_take_forty_three_seconds() {
        let t = Instant::now();
        let times = leave(&mut pace(t), 2000, 64, t);
        // The last 1,920 at forty-five a second.
        assert_eq!(times[1999] - t, Duration::from_nanos(42_666_666_667));
    }

    #[test]
    fn a_rest_fills_the_bucket_and_no_more() {
        let t = Instant::now();
        let mut pace = pace(t);
        leave(&mut pace, 80, 64, t);
        let later = t + Duration::from_secs(3600);
        let times = leave(&mut pace, 81, 64, later);
        assert_eq!(times[79], later);
        assert_eq!(times[80] - later, Duration::from_nanos(22_222_223));
    }

    #[test]
    fn bytes_have_their_pace_too() {
        let t = Instant::now();
        let mut pace = pace(t);
        // Two fifths of 6 MiB at once, then nine twentieths of 768 KiB a second.
        let (burst, fill) = ((6 << 20) * 2 / 5, (768 << 10) * 9 / 20);
        assert_eq!(pace.wait(burst, t), Duration::ZERO);
        pace.spend(burst, t);
        let wait = pace.wait(1 << 20, t);
        let exact = (1_u64 << 20) as f64 / f64::from(fill as u32);
        // The burst was rounded down to a whole byte.
        assert!((wait.as_secs_f64() - exact).abs() < 1e-5, "{wait:?}");
        assert_eq!(pace.rates(), (45, (768 << 10) * 9 / 20));
    }

    #[test]
    fn what_is_larger_than_the_burst_goes_when_the_bucket_is_full() {
        let t = Instant::now();
        let small = Budget {
            burst: 1 << 20,
            fill: 16 << 10,
        };
        let mut pace = Pace::new(messages(), small, t);
        assert_eq!(pace.wait(1 << 20, t), Duration::ZERO);
        pace.spend(1 << 20, t);
        // What it owes, and as much as the bucket holds, at 7,372.8 bytes a second.
        let wait = pace.wait(1 << 20, t);
        assert_eq!(wait.as_secs(), 142);
        assert_eq!(pace.wait(1 << 20, t + wait), Duration::ZERO);
    }

    #[test]
    fn the_smallest_budget_lets_one_after_the_other_pass() {
        let t = Instant::now();
        let least = Budget { burst: 1, fill: 1 };
        let mut pace = Pace::new(least, BYTES, t);
        let times = leave(&mut pace, 4, 64, t);
        assert_eq!(times[0], t);
        // Three at nine in twenty seconds, each rounded up to the nanosecond.
        assert_eq!((times[3] - t).as_millis(), 6666);
    }

    #[test]
    fn a_large_budget_is_cut_to_what_a_queue_holds_at_once() {
        let t = Instant::now();
        let large = Budget {
            burst: 1_000_000,
            fill: 10_000,
        };
        let mut pace = Pace::new(large, BYTES, t);
        let times = leave(&mut pace, 129, 64, t);
        assert_eq!(times[127], t);
        assert_eq!(times[128] - t, Duration::from_nanos(222_223));
    }

    #[test]
    fn a_change_of_rates_gives_back_nothing_that_was_spent() {
        let t = Instant::now();
        let mut pace = pace(t);
        leave(&mut pace, 80, 64, t);
        pace.set(messages(), BYTES, t);
        assert_eq!(pace.wait(64, t), Duration::from_nanos(22_222_223));
        let double = Budget {
            burst: 400,
            fill: 200,
        };
        pace.set(double, BYTES, t);
        // 128 at once now, of which 80 are spent.
        let times = leave(&mut pace, 49, 64, t);
        assert_eq!(times[47], t);
        assert_eq!(times[48] - t, Duration::from_nanos(11_111_112));
    }

    #[test]
    fn a_clock_that_stops_or_goes_back_fills_nothing() {
        let t = Instant::now() + Duration::from_secs(100);
        let mut pace = pace(t);
        leave(&mut pace, 80, 64, t);
        let back = t - Duration::from_secs(50);
        assert_eq!(pace.wait(64, back), Duration::from_nanos(22_222_223));
        assert_eq!(pace.wait(64, t), Duration::from_nanos(22_222_223));
    }

    #[test]
    fn the_cost_of_a_message_is_the_time_that_it_takes_others() {
        let t = Instant::now();
        let pace = pace(t);
        assert_eq!(pace.cost(64), Duration::from_nanos(22_222_222));
        // A second of bytes.
        let second = (768 << 10) * 9 / 20;
        assert_eq!(pace.cost(second).as_millis(), 999);
    }

    /// Whether a receiver under default limits takes all that leaves at `times`,
    /// when it comes after a standstill of `stall` at `from`, beside other things
    /// that this node asks of it: `at_once` in the same moment, and then `others` a
    /// second.
    fn receiver_takes_all(times: &[Instant], from: Instant, stall: Duration) -> bool {
        const AT_ONCE: u64 = 40;
        const OTHERS: u64 = 55;
        let budget = messages();
        let start = times[0];
        let mut arrivals: Vec<(Instant, u64)> = times
            .iter()
            .map(|at| match *at >= from && *at < from + stall {
                true => (from + stall, 1),
                false => (*at, 1),
            })
            .collect();
        arrivals.push((from + stall, AT_ONCE));
        let end = times[times.len() - 1];
        let mut other = start;
        while other < end {
            // Those wait for nothing: the other things run over other streams.
            arrivals.push((other, 1));
            other += Duration::from_nanos(1_000_000_000 / OTHERS);
        }
        arrivals.sort();
        let mut bucket = bucket::Bucket::full(budget, start);
        arrivals
            .iter()
            .all(|(at, tokens)| bucket.take(*tokens, budget, *at))
    }

    #[test]
    fn a_receiver_takes_all_of_it_beside_what_else_this_node_asks() {
        let t = Instant::now();
        let times = leave(&mut pace(t), 2000, 64, t);
        // From the first moment of a new connection on.
        assert!(receiver_takes_all(&times, t, ms(1000)));
        // Any later moment.
        for second in 1..20 {
            let from = t + Duration::from_secs(second);
            assert!(receiver_takes_all(&times, from, ms(1000)), "{second}");
        }
        // And the test can tell: twice the rate does not pass.
        let mut twice = Pace::new(
            Budget {
                burst: 400,
                fill: 200,
            },
            BYTES,
            t,
        );
        let times = leave(&mut twice, 2000, 64, t);
        assert!(!receiver_takes_all(&times, t, Duration::ZERO));
    }
}
