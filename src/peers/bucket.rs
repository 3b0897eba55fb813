//! The token bucket: how many messages, and bytes, one peer may send.
//!
//! A bucket holds up to `burst` tokens and is refilled at `fill` tokens a second,
//! all the time and not once a second. A message takes one token, or is over
//! budget. With the defaults, 200 and 100:
//!
//! ```text
//! time      what comes          level before   passes   level after
//! 0 s       150 messages        200            150       50
//! 0.25 s    100 messages         75 (50 + 25)   75        0
//! 0.255 s   1 message             0.5            0        0.5
//! 0.26 s    1 message             1              1        0
//! 2.26 s    nothing             200 (full)       -      200
//! ```
//!
//! A refill that came once a second would refuse the message at 0.26 s, and let
//! 400 through around the turn of a second.
//!
//! # Arithmetic
//!
//! The level is counted in billionths of a token, so that nothing is ever rounded (see
//! [`crate::rate`]).
//!
//! # Reputation
//!
//! Burst and fill are both multiplied by [`scale`].
//!
//! # Excess
//!
//! What is over budget is dropped and counted. It costs reputation when it is
//! persistent, which is itself measured by a bucket, of the size that a stranger
//! has: each refused message takes a token of it, and when it is empty the peer
//! is reported and the bucket begins anew. So a stranger is reported when it was
//! over its budget by a whole burst, or for long at more than twice its rate, and
//! at most once a second; one burst of twice the size, or a rate of up to twice
//! the budget, is only dropped. This bucket is not scaled: who has lost some
//! reputation and goes on at a rate that was right for it loses messages, and
//! does not sink by that alone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::reputation::{BEST, DISCONNECT};
use crate::rate::{self, Capacity};

/// Units of the level in one token.
const UNIT: i128 = 1_000_000_000;

/// A peer is reported for persistent excess at most this often.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Accounts kept. Only connected peers have one, and those that left with their
/// bucket not yet full again, which takes seconds: far more than there can be of
/// both with the default limits. Some 400 bytes of resident memory each
/// (`benches/peers.rs`).
pub const CAPACITY: usize = 8_192;

/// The smallest part of its budget that a peer keeps. An eighth of the default
/// bytes is one message of the largest size.
const LEAST: f32 = 0.125;

/// A trusted peer has so many times the budget of a stranger: its operator
/// vouches for it, and a bug in it should still not take this node down.
const TRUSTED: f32 = 10.0;

/// A budget: what may come at once, and a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Tokens that a full bucket holds.
    pub burst: u64,
    /// Tokens a second.
    pub fill: u64,
}

impl Budget {
    fn scaled(self, by: f32) -> Budget {
        // At least one: with none a peer could never do anything again.
        let times = |n: u64| ((n as f64 * f64::from(by)) as u64).max(1);
        Budget {
            burst: times(self.burst),
            fill: times(self.fill),
        }
    }

    /// In units: a token a second is a unit each nanosecond.
    fn capacity(self) -> Capacity {
        Capacity {
            full: i128::from(self.burst) * UNIT,
            per_nanosecond: self.fill.into(),
        }
    }
}

/// By how much reputation scales a budget: a trusted peer has ten times; a score
/// of 100 twice, 0 once, and from there it falls evenly to an eighth at -50,
/// where the peer is about to be disconnected.
pub fn scale(score: f32, trusted: bool) -> f32 {
    if trusted {
        TRUSTED
    } else if score >= 0.0 {
        1.0 + score / BEST
    } else {
        (1.0 - (1.0 - LEAST) * score / DISCONNECT).max(LEAST)
    }
}

/// One bucket. See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket(rate::Bucket);

impl Bucket {
    /// A full bucket.
    pub fn full(budget: Budget, now: Instant) -> Self {
        Bucket(rate::Bucket::full(budget.capacity(), now))
    }

    /// Takes `tokens` if they are there, all or nothing.
    pub fn take(&mut self, tokens: u64, budget: Budget, now: Instant) -> bool {
        self.0.refill(budget.capacity(), now);
        let wanted = i128::from(tokens) * UNIT;
        let enough = self.0.level() >= wanted;
        if enough {
            self.0.take(wanted);
        }
        enough
    }

    /// Takes `tokens` in any case. When that leaves less than nothing, says how
    /// long it takes to come back to nothing. Nobody owes more than one burst.
    pub fn charge(&mut self, tokens: u64, budget: Budget, now: Instant) -> Option<Duration> {
        let capacity = budget.capacity();
        self.0.refill(capacity, now);
        self.0.take(i128::from(tokens) * UNIT);
        self.0.clamp(-capacity.full, capacity.full);
        (self.0.level() < 0).then(|| self.0.wait(0, capacity))
    }

    /// Whole tokens in it.
    pub fn tokens(&self, budget: Budget, now: Instant) -> u64 {
        let tokens = self.level(budget, now).max(0) / UNIT;
        u64::try_from(tokens).unwrap_or(u64::MAX)
    }

    fn is_full(&self, budget: Budget, now: Instant) -> bool {
        self.level(budget, now) >= budget.capacity().full
    }

    fn level(&self, budget: Budget, now: Instant) -> i128 {
        let mut copy = self.0;
        copy.refill(budget.capacity(), now);
        copy.level()
    }
}

/// The budgets of a peer with a score of zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// `P2P_RATE_BURST` and `P2P_RATE_FILL`.
    pub messages: Budget,
    /// `P2P_RATE_BYTES_BURST` and `P2P_RATE_BYTES_FILL`.
    pub bytes: Budget,
}

impl Default for Rates {
    fn default() -> Self {
        Rates {
            messages: Budget {
                burst: 200,
                fill: 100,
            },
            bytes: Budget {
                burst: 8 << 20,
                fill: 1 << 20,
            },
        }
    }
}

/// How a request for tokens went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// Within budget.
    Yes,
    /// Over budget.
    No {
        /// And persistently so: it is to cost reputation.
        persistent: bool,
    },
}

#[derive(Debug)]
struct Account {
    messages: Bucket,
    bytes: Bucket,
    excess: Bucket,
    /// What reputation makes of the budgets, and when that was asked.
    scale: f32,
    scaled_at: Instant,
    reported_at: Option<Instant>,
}

/// The scale of an account is asked anew after this long: scores change slowly,
/// and a token decision should not have to look them up.
const SCALE_FOR: Duration = Duration::from_secs(1);

/// The buckets of all peers.
///
/// A peer that leaves keeps its account until its buckets are full again; from
/// then on forgetting it changes nothing. So to hang up and come back gives
/// nobody a fresh bucket. A new id does, which is why the gate counts
/// connections by address.
#[derive(Debug, Default)]
pub struct Accounts {
    rates: Rates,
    map: HashMap<PeerId, Account>,
}

impl Accounts {
    /// Accounts with these budgets.
    pub fn new(rates: Rates) -> Self {
        Accounts {
            rates,
            map: HashMap::new(),
        }
    }

    /// The budgets before scaling.
    pub fn rates(&self) -> Rates {
        self.rates
    }

    /// Other budgets from now on: what a bucket holds above them is lost at the
    /// peer's next request.
    pub fn set_rates(&mut self, rates: Rates) {
        self.rates = rates;
    }

    /// Takes `messages` tokens of `peer`'s bucket, all or nothing. `scale` is
    /// asked now and then for what its reputation makes of the budget.
    pub fn messages(
        &mut self,
        peer: &PeerId,
        messages: u64,
        now: Instant,
        scale: impl FnOnce() -> f32,
    ) -> Granted {
        let rates = self.rates;
        let account = self.account(peer, now, scale);
        let budget = rates.messages.scaled(account.scale);
        if account.messages.take(messages, budget, now) {
            return Granted::Yes;
        }
        account.refused(messages, rates.messages, now)
    }

    /// Takes `tokens` messages in any case; the wait when the peer now owes.
    pub fn charge_messages(
        &mut self,
        peer: &PeerId,
        tokens: u64,
        now: Instant,
        scale: impl FnOnce() -> f32,
    ) -> Option<Duration> {
        let rates = self.rates;
        let account = self.account(peer, now, scale);
        let budget = rates.messages.scaled(account.scale);
        account.messages.charge(tokens, budget, now)
    }

    /// Takes `bytes` in any case; the wait when the peer now owes.
    pub fn charge_bytes(
        &mut self,
        peer: &PeerId,
        bytes: u64,
        now: Instant,
        scale: impl FnOnce() -> f32,
    ) -> Option<Duration> {
        let rates = self.rates;
        let account = self.account(peer, now, scale);
        let budget = rates.bytes.scaled(account.scale);
        account.bytes.charge(bytes, budget, now)
    }

    /// Reputation has changed: the scale is asked anew at the next request.
    pub fn rescale(&mut self, peer: &PeerId, scale: f32, now: Instant) {
        if let Some(account) = self.map.get_mut(peer) {
            account.scale = scale;
            account.scaled_at = now;
        }
    }

    /// Forgets accounts whose buckets are full.
    pub fn sweep(&mut self, now: Instant) {
        let rates = self.rates;
        self.map.retain(|_, account| !account.is_fresh(rates, now));
        if self.map.capacity() > 4 * self.map.len().max(64) {
            self.map.shrink_to(2 * self.map.len());
        }
    }

    /// Accounts held.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    fn account(
        &mut self,
        peer: &PeerId,
        now: Instant,
        scale: impl FnOnce() -> f32,
    ) -> &mut Account {
        let rates = self.rates;
        if self.map.len() >= CAPACITY && !self.map.contains_key(peer) {
            self.make_room(now);
        }
        match self.map.entry(*peer) {
            std::collections::hash_map::Entry::Occupied(entry) => {
                let account = entry.into_mut();
                if now.saturating_duration_since(account.scaled_at) >= SCALE_FOR {
                    account.scale = scale();
                    account.scaled_at = now;
                }
                account
            }
            std::collections::hash_map::Entry::Vacant(entry) => {
                let scale = scale();
                let messages = rates.messages.scaled(scale);
                entry.insert(Account {
                    messages: Bucket::full(messages, now),
                    bytes: Bucket::full(rates.bytes.scaled(scale), now),
                    excess: Bucket::full(rates.messages, now),
                    scale,
                    scaled_at: now,
                    reported_at: None,
                })
            }
        }
    }

    /// Forgets what is full, and if that is not enough the fuller part: whoever
    /// has spent least gains least by it.
    fn make_room(&mut self, now: Instant) {
        self.sweep(now);
        if self.map.len() < CAPACITY {
            return;
        }
        let rates = self.rates;
        let mut levels: Vec<(u64, PeerId)> = self
            .map
            .iter()
            .map(|(peer, a)| {
                let budget = rates.messages.scaled(a.scale);
                (a.messages.tokens(budget, now), *peer)
            })
            .collect();
        let keep = levels.len() - levels.len() / 16;
        levels.select_nth_unstable(keep);
        for (_, peer) in levels.drain(keep..) {
            self.map.remove(&peer);
        }
    }
}

impl Account {
    fn refused(&mut self, messages: u64, budget: Budget, now: Instant) -> Granted {
        let within = self.excess.take(messages.min(budget.burst), budget, now);
        let recently = self
            .reported_at
            .is_some_and(|at| now.saturating_duration_since(at) < REPORT_EVERY);
        let persistent = !within && !recently;
        if persistent {
            self.excess = Bucket::full(budget, now);
            self.reported_at = Some(now);
        }
        Granted::No { persistent }
    }

    fn is_fresh(&self, rates: Rates, now: Instant) -> bool {
        let messages = rates.messages.scaled(self.scale);
        self.messages.is_full(messages, now)
            && self.excess.is_full(rates.messages, now)
            && self.bytes.is_full(rates.bytes.scaled(self.scale), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget {
        burst: 200,
        fill: 100,
    };

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn one() -> f32 {
        1.0
    }

    fn passes(bucket: &mut Bucket, messages: u64, now: Instant) -> u64 {
        (0..messages)
            .filter(|_| bucket.take(1, BUDGET, now))
            .count() as u64
    }

    #[test]
    fn the_example_in_the_documentation_is_true() {
        let t = Instant::now();
        let mut bucket = Bucket::full(BUDGET, t);
        assert_eq!(passes(&mut bucket, 150, t), 150);
        assert_eq!(passes(&mut bucket, 100, t + ms(250)), 75);
        assert_eq!(passes(&mut bucket, 1, t + ms(255)), 0);
        assert_eq!(passes(&mut bucket, 1, t + ms(260)), 1);
        assert_eq!(bucket.tokens(BUDGET, t + ms(2260)), 200);
    }

    #[test]
    fn asking_often_loses_no_fraction() {
        let slow = Budget { burst: 3, fill: 1 };
        let t = Instant::now();
        let mut bucket = Bucket::full(slow, t);
        assert!(bucket.take(3, slow, t));
        // Asked 999,999 times in a second, each time for more than there is.
        for n in 1..1_000_000u64 {
            assert!(!bucket.take(1, slow, t + Duration::from_micros(n)));
        }
        assert!(bucket.take(1, slow, t + Duration::from_secs(1)));
    }

    #[test]
    fn a_clock_that_leaps_or_goes_back_does_no_harm() {
        let t = Instant::now() + Duration::from_secs(100);
        let mut bucket = Bucket::full(BUDGET, t);
        assert!(bucket.take(200, BUDGET, t));
        assert!(!bucket.take(1, BUDGET, t - Duration::from_secs(50)));
        assert!(!bucket.take(1, BUDGET, t));
        let far = t + Duration::from_secs(u64::from(u32::MAX));
        assert_eq!(bucket.tokens(BUDGET, far), 200);
        let huge = Budget {
            burst: u64::MAX,
            fill: u64::MAX,
        };
        let mut bucket = Bucket::full(huge, t);
        assert!(bucket.take(1, huge, far));
    }

    #[test]
    fn what_is_owed_is_bounded_and_paid_back_in_time() {
        let t = Instant::now();
        let mut bucket = Bucket::full(BUDGET, t);
        assert_eq!(bucket.charge(200, BUDGET, t), None);
        assert_eq!(bucket.charge(50, BUDGET, t), Some(ms(500)));
        assert_eq!(bucket.charge(10_000_000, BUDGET, t), Some(ms(2000)));
        assert!(!bucket.take(1, BUDGET, t + ms(2000)));
        assert!(bucket.take(1, BUDGET, t + ms(2010)));
    }

    #[test]
    fn reputation_scales_evenly_between_its_ends() {
        let near = |a: f32, b: f32| (a - b).abs() < 1e-6;
        assert!(near(scale(100.0, false), 2.0));
        assert!(near(scale(0.0, false), 1.0));
        assert!(near(scale(-25.0, false), 0.5625));
        assert!(near(scale(-50.0, false), 0.125));
        assert!(near(scale(-100.0, false), 0.125));
        assert!(near(scale(-100.0, true), 10.0));
        // What a peer of the worst standing may send is still one message of
        // the largest size.
        let least = Rates::default().bytes.scaled(scale(-100.0, false));
        assert_eq!(least.burst, 1 << 20);
        let none = Budget { burst: 1, fill: 1 }.scaled(0.125);
        assert_eq!(none, Budget { burst: 1, fill: 1 });
    }

    #[test]
    fn coming_back_gives_no_fresh_bucket_and_a_full_one_is_forgotten() {
        let (t, peer) = (Instant::now(), PeerId::random());
        let mut accounts = Accounts::default();
        assert_eq!(accounts.messages(&peer, 200, t, one), Granted::Yes);
        accounts.sweep(t + ms(100));
        assert_eq!(accounts.len(), 1);
        let refused = accounts.messages(&peer, 11, t + ms(100), one);
        assert_eq!(refused, Granted::No { persistent: false });
        accounts.sweep(t + ms(2000));
        assert!(accounts.is_empty());
    }

    #[test]
    fn a_rate_that_is_right_for_a_stranger_does_not_sink_who_lost_some_reputation() {
        let t = Instant::now();
        let (mut accounts, peer) = (Accounts::default(), PeerId::random());
        let scale = || scale(-40.0, false);
        let mut dropped = 0;
        // Ninety a second for two minutes, of a budget of about thirty.
        for n in 0..10_800u64 {
            let granted = accounts.messages(&peer, 1, t + ms(n * 1000 / 90), scale);
            assert_ne!(granted, Granted::No { persistent: true }, "message {n}");
            dropped += u32::from(granted != Granted::Yes);
        }
        assert!(dropped > 5_000, "{dropped}");
    }

    #[test]
    fn only_persistent_excess_is_reported_and_at_most_once_a_second() {
        let t = Instant::now();
        let reports = |per_ms: u64, millis: u64| {
            let (mut accounts, peer) = (Accounts::default(), PeerId::random());
            let mut reports = 0;
            for n in 0..millis {
                for _ in 0..per_ms {
                    let granted = accounts.messages(&peer, 1, t + ms(n), one);
                    reports += u32::from(granted == Granted::No { persistent: true });
                }
            }
            reports
        };
        // Four hundred at once are a burst over budget, and no more than that.
        assert_eq!(reports(400, 1), 0);
        assert_eq!(reports(402, 1), 1);
        // A thousand a second, ten thousand a second, each for ten seconds.
        assert!((3..=10).contains(&reports(1, 10_000)));
        assert_eq!(reports(10, 10_000), 10);
        // Twice the rate for a minute is only dropped.
        let (mut accounts, peer) = (Accounts::default(), PeerId::random());
        let mut dropped = 0;
        for n in 0..12_000u64 {
            match accounts.messages(&peer, 1, t + ms(5 * n), one) {
                Granted::Yes => {}
                Granted::No { persistent } => {
                    dropped += 1;
                    assert!(!persistent);
                }
            }
        }
        assert!((5_700..=5_900).contains(&dropped), "{dropped}");
    }

    #[test]
    fn bytes_have_a_budget_of_their_own() {
        let (t, peer) = (Instant::now(), PeerId::random());
        let mut accounts = Accounts::default();
        for _ in 0..8 {
            assert_eq!(accounts.charge_bytes(&peer, 1 << 20, t, one), None);
        }
        assert_eq!(accounts.messages(&peer, 1, t, one), Granted::Yes);
        let wait = accounts.charge_bytes(&peer, 1 << 19, t, one);
        assert_eq!(wait, Some(ms(500)));
    }

    #[test]
    fn accounts_of_the_largest_burst_are_forgotten_too() {
        let t = Instant::now();
        let mut accounts = Accounts::new(Rates {
            bytes: Budget {
                burst: 1 << 40,
                fill: 1 << 40,
            },
            ..Rates::default()
        });
        accounts.charge_bytes(&PeerId::random(), 1 << 20, t, one);
        accounts.sweep(t);
        assert_eq!(accounts.len(), 1);
        accounts.sweep(t + Duration::from_secs(10));
        assert_eq!(accounts.len(), 0);
    }

    #[test]
    fn accounts_are_bounded_and_those_who_spent_most_stay() {
        let (t, spender) = (Instant::now(), PeerId::random());
        let mut accounts = Accounts::default();
        accounts.messages(&spender, 200, t, one);
        for _ in 0..2 * CAPACITY {
            accounts.messages(&PeerId::random(), 1, t, one);
        }
        assert!(accounts.len() <= CAPACITY);
        assert_ne!(accounts.messages(&spender, 1, t, one), Granted::Yes);
    }
}
