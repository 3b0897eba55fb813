//! How many providers to ask for the block at the head of the content, for which the
//! delivery is waiting.
//!
//! The first block of the content that is missing is asked of one provider. While it does
//! not arrive, more providers are asked, and their number doubles every [`STEP`]. So a
//! crowd of peers that say they have the content but deliver nothing costs one step for
//! each doubling of its size. While bytes flow from a provider, no more are asked, for up
//! to [`MAX_PAUSE`]. In this way a slow link does not have to carry blocks that nobody
//! needs, and a trickle of bytes cannot hold up the content. For as long as a provider
//! that has shown its pace keeps it, no more are asked.

use std::time::{Duration, Instant};

use cid::Cid;

/// The time after which twice as many providers are asked. A block of 1 MiB takes about
/// that long over a link of 100 Mbit/s with a latency of 50 ms each way.
pub(crate) const STEP: Duration = Duration::from_millis(200);

/// How long, in total, flowing bytes can keep more providers from being asked for one
/// block.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The number of bytes per second from which on they count as flowing.
pub(crate) const FLOW: f64 = 64.0 * 1024.0;

/// The number of blocks after which a provider has shown its pace. The first one may be a
/// list of links, which is small.
pub(crate) const PACED: u64 = 3;

/// How long a provider that has not said that it has the block may be the only one asked,
/// when another says that it has it. This is enough for an answer from half a continent
/// away.
const UNCONFIRMED: Duration = Duration::from_millis(50);

/// The maximum number of providers that are asked. It takes one and a half seconds to
/// reach it.
const MAX_WIDTH: usize = 64;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Hedge {
    cid: Cid,
    /// When the block was first asked for, or came to the head.
    since: Instant,
    paused: Duration,
    paced: Duration,
    looked: Instant,
}

impl Hedge {
    /// Starts at `since`, the time at which the block was asked for, if that was before
    /// it came to the head.
    pub(crate) fn new(cid: Cid, since: Option<Instant>, now: Instant) -> Self {
        Hedge {
            cid,
            since: since.unwrap_or(now),
            paused: Duration::ZERO,
            paced: Duration::ZERO,
            looked: now,
        }
    }

    pub(crate) fn cid(&self) -> &Cid {
        &self.cid
    }

    /// Takes into account that this number of bytes has arrived, since the last call,
    /// from providers that are asked for the block. `paced` says whether one of them
    /// keeps the pace that it has shown.
    pub(crate) fn came(&mut self, bytes: u64, paced: bool, now: Instant) {
        let passed = now.saturating_duration_since(self.looked);
        self.looked = now;
        if paced {
            self.paced += passed;
        } else if bytes as f64 >= FLOW * passed.as_secs_f64() && bytes > 0 {
            self.paused = (self.paused + passed).min(MAX_PAUSE);
        }
    }

    /// Returns how many providers should have been asked by now.
    pub(crate) fn width(&self, now: Instant) -> usize {
        let waited = now.saturating_duration_since(self.since + self.paused + self.paced);
        let steps = waited.as_millis() / STEP.as_millis();
        1_usize
            .checked_shl(u32::try_from(steps).unwrap_or(u32::MAX))
            .unwrap_or(MAX_WIDTH)
            .clamp(1, MAX_WIDTH)
    }

    /// Returns whether a provider that says it has the block should be asked too, when
    /// the one that was asked has not said so.
    pub(crate) fn is_unconfirmed(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= UNCONFIRMED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::address::{Codec, address};

    fn hedge(now: Instant) -> Hedge {
        Hedge::new(address(b"head", Codec::Raw), None, now)
    }

    #[test]
    fn a_block_that_does_not_come_is_asked_of_twice_as_many_each_time() {
        let start = Instant::now();
        let hedge = hedge(start);
        let widths = [0, 199, 200, 400, 600, 800, 1000, 1200, 100_000];
        let widths = widths.map(|ms| hedge.width(start + Duration::from_millis(ms)));
        assert_eq!(widths, [1, 1, 2, 4, 8, 16, 32, 64, 64]);
        let earlier = Hedge::new(*hedge.cid(), Some(start), start + STEP * 3);
        assert_eq!(earlier.width(start + STEP * 3), 8);
        assert!(!hedge.is_unconfirmed(start));
        assert!(hedge.is_unconfirmed(start + UNCONFIRMED));
    }

    #[test]
    fn bytes_that_flow_put_it_off_and_a_trickle_does_not() {
        let start = Instant::now();
        let tick = Duration::from_millis(100);
        let width = |bytes: u64, paced: bool, ticks: u32| {
            let mut hedge = hedge(start);
            for n in 1..=ticks {
                hedge.came(bytes, paced, start + tick * n);
            }
            hedge.width(start + tick * ticks)
        };
        let width_after = |bytes, ticks| width(bytes, false, ticks);
        assert_eq!(width(0, true, 100), 1, "it keeps its pace");
        assert_eq!(width_after(100_000, 10), 1);
        assert_eq!(width_after(100_000, 12), 2, "not for longer than a second");
        assert_eq!(width_after(100_000, 18), 16);
        assert_eq!(width_after(1_000, 8), 16);
        assert_eq!(width_after(0, 8), 16);
    }
}
