//! The node's ceiling, and how the peers that send share it.
//!
//! A [`Ceiling`] is a token bucket for all peers together, of which each active
//! sender has a part of its own: its share. The bucket is filled all the time;
//! what it gains is divided among the active senders by weight, and what a sender
//! saves of that is kept for it. What nobody has saved is the surplus, which goes
//! to whoever comes. So:
//!
//! - a sender that stays under `fill × its weight / all weights` always passes,
//!   whatever the others do: what one saves comes from its own share only;
//! - what some do not use, others may: alone, a sender has the whole ceiling;
//! - never does more pass than `burst + fill × time`.
//!
//! Thirty peers that send 50 a second each and an honest one at 20 a second, with
//! a burst of 2,000, a fill of 1,000 a second, and equal weights:
//!
//! ```text
//! time   what comes              guaranteed     passes of the 30   of the honest one
//! 0 s    the 30 begin            33 a second    all (the burst)    -
//! 3 s    the surplus is spent    33 a second    33 of 50 each      -
//! 4 s    the honest one joins    32 a second    32 of 50 each      20 of 20
//! 60 s   as before               32 a second    32 of 50 each      20 of 20
//! ```
//!
//! The twelve a second that the honest one does not use are surplus.
//!
//! # Weights
//!
//! A weight is what reputation makes of a budget
//! ([`crate::peers::bucket::scale`]): an eighth to two. The last of the
//! surplus is reserved: strangers may not take its last quarter of the burst, nor peers
//! with a bad reputation its last half. That is for peers whose blocks have earned them a
//! good reputation, and for newcomers, which get their first credit from it.
//!
//! # What is larger than a share
//!
//! With many senders a share of bytes may be too small for a large message, however
//! long its sender waits. So a sender that has saved as much as it may is let through
//! when the ceiling has the rest to spare without what others have saved, and pays the
//! rest back from its later share.
//!
//! # Messages that always pass
//!
//! Messages of trusted peers and of this host are always let through, and are charged
//! to the ceiling, so that less of it is left for the others, in proportion.
//!
//! The ceiling is divided among direct neighbours only. When an honest neighbour is
//! flooded itself and passes the flood on, this node cannot tell which of its messages
//! are good.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use crate::peers::bucket::Budget;

/// Units of a level in one token: a nanosecond at one token a second.
const UNIT: i128 = 1_000_000_000;

/// A sender counts as active for this long after it has sent. If it
/// were longer, senders that seldom send would take a share from those that do; if it were
/// shorter, a sender that sends every few seconds would begin anew each time.
const ACTIVE: Duration = Duration::from_secs(10);

/// Shares are filled at most this often: it costs a look at every sender.
const FILL_EVERY: Duration = Duration::from_millis(1);

/// All savings together are at most this part of the burst.
const SAVINGS: i128 = 2;

/// What a newcomer gets at once, as a part of what it may save: enough to begin
/// with, and little to come back for.
const CREDIT: i128 = 4;

/// A sender that rests keeps a thousandth of the burst (two messages by default),
/// so that its next message is taken; with many peers less, so that those at rest
/// never hold more than an eighth of the burst.
const KEPT: i128 = 1024;
const KEPT_BY_ALL: i128 = 8;

/// A weight of one.
const WEIGHT: f32 = 1024.0;

/// From this weight on a peer is respected: valid messages alone lift nobody
/// above a reputation of 20, which is 1.2.
const RESPECTED: i128 = 1280;

/// Below this weight a peer has a bad reputation, under -11.
const BAD: i128 = 922;

#[derive(Debug)]
struct Sender {
    weight: i128,
    /// What it has saved, or owes.
    saved: i128,
    /// When it last sent; `None` while it rests.
    active: Option<Instant>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Ceiling {
    budget: Budget,
    level: i128,
    /// What all have saved together, debts apart; never above `level`.
    saved: i128,
    /// Weights of the active.
    weights: i128,
    at: Instant,
    /// Of connected peers only.
    senders: HashMap<PeerId, Sender>,
}

fn units(tokens: u64) -> i128 {
    i128::from(tokens) * UNIT
}

fn fixed(weight: f32) -> i128 {
    (weight.clamp(0.125, 2.0) * WEIGHT) as i128
}

impl Ceiling {
    /// A full one.
    pub(crate) fn new(budget: Budget, now: Instant) -> Self {
        Ceiling {
            budget,
            level: units(budget.burst),
            saved: 0,
            weights: 0,
            at: now,
            senders: HashMap::new(),
        }
    }

    /// Another budget from `now` on: full, and nobody has saved anything yet.
    pub(crate) fn set_budget(&mut self, budget: Budget, now: Instant) {
        let senders = std::mem::take(&mut self.senders);
        *self = Ceiling::new(budget, now);
        self.senders = senders;
        for sender in self.senders.values_mut() {
            sender.saved = 0;
            sender.active = None;
        }
    }

    /// A peer has connected.
    pub(crate) fn enter(&mut self, peer: PeerId, weight: f32) {
        self.senders.entry(peer).or_insert(Sender {
            weight: fixed(weight),
            saved: 0,
            active: None,
        });
    }

    /// A peer is gone; what it saved is surplus.
    pub(crate) fn leave(&mut self, peer: &PeerId) {
        if let Some(sender) = self.senders.remove(peer) {
            self.saved -= sender.saved.max(0);
            if sender.active.is_some() {
                self.weights -= sender.weight;
            }
        }
    }

    /// What a peer's reputation is worth now.
    pub(crate) fn weigh(&mut self, peer: &PeerId, weight: f32) {
        if let Some(sender) = self.senders.get_mut(peer) {
            let weight = fixed(weight);
            if sender.active.is_some() {
                self.weights += weight - sender.weight;
            }
            sender.weight = weight;
        }
    }

    /// The most that a sender of this weight may save.
    fn most(&self, weight: i128) -> i128 {
        units(self.budget.burst) / SAVINGS * weight / self.weights.max(weight)
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at);
        if elapsed < FILL_EVERY {
            return;
        }
        self.at = now;
        let gain = elapsed.as_nanos().min(1 << 64) as i128 * i128::from(self.budget.fill);
        self.level = (self.level + gain).min(units(self.budget.burst));
        // Those at rest keep a little and have no part in what comes.
        let by_all = KEPT.max(KEPT_BY_ALL * self.senders.len() as i128);
        let kept = units(self.budget.burst) / by_all;
        let mut weights = 0;
        for sender in self.senders.values_mut() {
            match sender.active {
                Some(at) if now.saturating_duration_since(at) <= ACTIVE => {
                    weights += sender.weight;
                }
                Some(_) => {
                    sender.active = None;
                    sender.saved = sender.saved.min(kept);
                }
                None => sender.saved = sender.saved.min(kept),
            }
        }
        self.weights = weights;
        // The part of senders that have saved all they may goes to the others.
        let most = |weight| units(self.budget.burst) / SAVINGS * weight / weights.max(weight);
        let wanting: i128 = self
            .senders
            .values()
            .filter(|s| s.active.is_some() && s.saved < most(s.weight))
            .map(|s| s.weight)
            .sum();
        let mut saved = 0;
        for sender in self.senders.values_mut() {
            if sender.active.is_some() {
                if wanting > 0 {
                    sender.saved += gain * sender.weight / wanting;
                }
                sender.saved = sender.saved.min(most(sender.weight));
            }
            saved += sender.saved.max(0);
        }
        self.saved = saved;
        self.settle();
    }

    /// Keeps the savings within the level: what was charged without asking is taken from
    /// all savings in proportion.
    fn settle(&mut self) {
        if self.saved <= self.level.max(0) {
            return;
        }
        let (level, all) = (self.level.max(0), self.saved);
        self.saved = 0;
        for sender in self.senders.values_mut() {
            if sender.saved > 0 {
                sender.saved = sender.saved * level / all;
                self.saved += sender.saved;
            }
        }
    }

    /// Whether `tokens` of this peer would pass. It counts as active from now on,
    /// whether they do or not.
    pub(crate) fn fits(&mut self, peer: &PeerId, tokens: u64, now: Instant) -> bool {
        let wanted = units(tokens);
        self.fill(now);
        let surplus = self.level - self.saved;
        let Some(sender) = self.senders.get_mut(peer) else {
            return surplus >= wanted;
        };
        let weight = sender.weight;
        let begins = sender.active.replace(now).is_none();
        if begins {
            self.weights += weight;
        }
        let most = self.most(weight);
        let credit = (most / CREDIT).min(surplus).max(0);
        let Some(sender) = self.senders.get_mut(peer) else {
            return false;
        };
        if begins && (0..credit).contains(&sender.saved) {
            self.saved += credit - sender.saved;
            sender.saved = credit;
        }
        let surplus = self.level - self.saved;
        if sender.saved >= wanted.min(most) {
            return surplus + sender.saved >= wanted;
        }
        let left = match weight {
            RESPECTED.. => 0,
            BAD.. => units(self.budget.burst) / 4,
            _ => units(self.budget.burst) / 2,
        };
        surplus - left >= wanted
    }

    /// Takes what [`Self::fits`] has just said would pass.
    pub(crate) fn take(&mut self, peer: &PeerId, tokens: u64) {
        let wanted = units(tokens);
        self.level -= wanted;
        let Some(weight) = self.senders.get(peer).map(|s| s.weight) else {
            return;
        };
        let most = self.most(weight);
        if let Some(sender) = self.senders.get_mut(peer)
            && sender.saved >= wanted.min(most)
        {
            self.saved -= sender.saved.max(0);
            sender.saved -= wanted;
            self.saved += sender.saved.max(0);
        }
    }

    /// Takes `tokens` without asking. Nobody owes more than one burst.
    pub(crate) fn charge(&mut self, tokens: u64, now: Instant) {
        self.fill(now);
        self.level = (self.level - units(tokens)).max(-units(self.budget.burst));
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BUDGET: Budget = Budget {
        burst: 2000,
        fill: 1000,
    };

    fn us(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    /// One sender: how many tokens it sends at once, how often, its weight, and how many
    /// of them passed.
    #[derive(Clone, Debug)]
    struct Load {
        peer: PeerId,
        every: Duration,
        tokens: u64,
        weight: f32,
        from: Duration,
        sent: u64,
        passed: u64,
    }

    impl Load {
        fn new(every: Duration, tokens: u64) -> Self {
            Load {
                peer: PeerId::random(),
                every,
                tokens,
                weight: 1.0,
                from: Duration::ZERO,
                sent: 0,
                passed: 0,
            }
        }
    }

    /// Runs all for `long`; counts what is sent after `counted`. What passed in
    /// all is checked against the ceiling at every step.
    fn run(budget: Budget, loads: &mut [Load], counted: Duration, long: Duration) {
        let start = Instant::now();
        let mut ceiling = Ceiling::new(budget, start);
        let mut next: Vec<Duration> = loads.iter().map(|l| l.from).collect();
        for load in &*loads {
            ceiling.enter(load.peer, load.weight);
        }
        let mut all = 0;
        while let Some((at, n)) = next.iter().zip(0..).min().filter(|(at, _)| **at < long) {
            let (at, load) = (*at, &mut loads[n]);
            next[n] = at + load.every;
            let passes = ceiling.fits(&load.peer, load.tokens, start + at);
            if passes {
                ceiling.take(&load.peer, load.tokens);
                all += load.tokens;
            }
            let most = budget.burst as f64 + budget.fill as f64 * at.as_secs_f64();
            assert!(all as f64 <= most + 0.01, "{all} of {most} after {at:?}");
            if at >= counted {
                load.sent += 1;
                load.passed += u64::from(passes);
            }
            assert!(ceiling.saved <= ceiling.level.max(0), "{ceiling:?}");
        }
    }

    #[test]
    fn the_example_in_the_documentation_is_true() {
        let mut loads: Vec<Load> = (0..30)
            .map(|n| Load {
                from: us(n * 600),
                ..Load::new(us(20_000), 1)
            })
            .collect();
        loads.push(Load {
            from: Duration::from_secs(4),
            ..Load::new(us(50_000), 1)
        });
        let (from, to) = (Duration::from_secs(4), Duration::from_secs(60));
        run(BUDGET, &mut loads, from, to);
        let honest = loads.last().unwrap();
        assert_eq!((honest.sent, honest.passed), (1120, 1120));
        for flood in &loads[..30] {
            let a_second = flood.passed as f64 / 56.0;
            assert!((31.0..34.0).contains(&a_second), "{a_second}");
        }
    }

    #[test]
    fn alone_a_sender_has_the_whole_ceiling() {
        let mut loads = [Load::new(us(500), 1)];
        run(
            BUDGET,
            &mut loads,
            Duration::from_secs(10),
            Duration::from_secs(20),
        );
        let passed = loads[0].passed;
        assert!((9_900..=10_100).contains(&passed), "{passed}");
    }

    #[test]
    fn a_busy_and_honest_network_loses_nothing() {
        // Five neighbours bring the 250 messages a second of fifty publishers,
        // in frames of ten.
        let mut loads: Vec<Load> = (0..5)
            .map(|n| Load {
                from: us(n * 11_000),
                ..Load::new(us(200_000), 10)
            })
            .collect();
        run(BUDGET, &mut loads, Duration::ZERO, Duration::from_secs(30));
        for load in loads {
            assert_eq!(load.sent, load.passed);
        }
    }

    #[test]
    fn a_bad_reputation_gets_less_and_a_good_one_more() {
        let mut loads: Vec<Load> = [0.125, 1.0, 2.0]
            .map(|weight| Load {
                weight,
                ..Load::new(us(700), 1)
            })
            .into();
        let (from, to) = (Duration::from_secs(10), Duration::from_secs(20));
        run(BUDGET, &mut loads, from, to);
        let passed: Vec<u64> = loads.iter().map(|l| l.passed).collect();
        assert!(passed[0] * 6 < passed[1], "{passed:?}");
        assert!(passed[1] * 3 < passed[2] * 2, "{passed:?}");
        assert!(passed[0] > 100, "{passed:?}");
    }

    #[test]
    fn a_message_larger_than_any_share_passes_now_and_then() {
        let bytes = Budget {
            burst: 6 << 20,
            fill: 768 << 10,
        };
        let mut loads: Vec<Load> = (0..40).map(|_| Load::new(us(100_000), 40 << 10)).collect();
        loads.push(Load::new(Duration::from_secs(1), 1 << 20));
        run(
            bytes,
            &mut loads,
            Duration::from_secs(30),
            Duration::from_secs(330),
        );
        let large = loads.last().unwrap();
        // Its share in 300 seconds is 5.6 of them.
        assert!(large.passed >= 4, "{large:?}");
    }

    #[test]
    fn what_passes_unasked_is_charged_to_all_the_others() {
        let start = Instant::now();
        let mut ceiling = Ceiling::new(BUDGET, start);
        let peer = PeerId::random();
        ceiling.enter(peer, 1.0);
        assert!(ceiling.fits(&peer, 1, start));
        ceiling.charge(2000, start);
        assert!(!ceiling.fits(&peer, 1, start));
        ceiling.charge(1_000_000, start);
        assert!(!ceiling.fits(&peer, 1, start + Duration::from_millis(1900)));
        assert!(ceiling.fits(&peer, 1, start + Duration::from_millis(2100)));
    }

    #[test]
    fn nothing_is_kept_of_who_has_left() {
        let start = Instant::now();
        let mut ceiling = Ceiling::new(BUDGET, start);
        for n in 0..100 {
            let peer = PeerId::random();
            ceiling.enter(peer, 1.0);
            assert!(ceiling.fits(&peer, 1, start + us(n * 2000)));
            ceiling.take(&peer, 1);
            ceiling.leave(&peer);
        }
        assert!(ceiling.senders.is_empty());
        assert_eq!((ceiling.saved, ceiling.weights), (0, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// A sender that stays under its share loses nothing, whatever others send;
        /// all others get something; and the ceiling holds (checked in `run`).
        #[test]
        fn the_guaranteed_share_holds_and_nobody_starves(
            floods in prop::collection::vec((500_u64..20_000, 1_u64..20, 0.2_f32..1.2), 1..25),
            part in 0.1_f64..0.95,
            weight in 0.5_f32..1.2,
            late in 0_u64..3_000_000,
        ) {
            let mut loads: Vec<Load> = floods
                .into_iter()
                .map(|(every, tokens, weight)| Load { weight, ..Load::new(us(every), tokens) })
                .collect();
            let weights: f32 = loads.iter().map(|l| l.weight).sum();
            let share = f64::from(weight / (weight + weights)) * BUDGET.fill as f64 * part;
            loads.push(Load {
                weight,
                from: us(late),
                ..Load::new(Duration::from_secs_f64(1.0 / share), 1)
            });
            run(BUDGET, &mut loads, Duration::from_secs(3), Duration::from_secs(13));
            let honest = loads.pop().unwrap();
            prop_assert_eq!(honest.sent, honest.passed, "{:?}", honest);
            for load in &loads {
                prop_assert!(load.passed > 0, "{:?}", load);
            }
        }
    }
}
