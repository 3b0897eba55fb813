//! How fast a provider is, and how much to ask of it at once.

use std::time::{Duration, Instant};

/// The number of blocks that are asked of a provider whose speed is not known yet. It is
/// large enough to measure the speed, and small enough that others can be asked for these
/// blocks if the provider turns out to be slow.
const FIRST_WINDOW: usize = 4;

/// The maximum number of blocks that are asked of one provider at once. It is a quarter
/// of what the protocol allows and, at 1 MiB per block, more than any path holds.
const MAX_WINDOW: usize = 64;

/// How much work a provider is given in addition to what covers its latency.
const HORIZON: Duration = Duration::from_millis(250);

/// A provider that has not delivered anything for this long after the first request may
/// never deliver anything. While its bytes flow, [`SLOW_AT_FIRST`] applies instead.
const SILENT_AT_FIRST: Duration = Duration::from_millis(200);
const SLOW_AT_FIRST: Duration = Duration::from_secs(1);

/// The weight of the newest sample in the averages.
const NEWEST: f64 = 0.25;

/// What is known about a provider's speed.
#[derive(Debug, Clone)]
pub(crate) struct Speed {
    /// The average number of bytes per second; 0 before the first block.
    rate: f64,
    /// The average time from a request to its answer, in seconds.
    latency: f64,
    /// The shortest of these times.
    shortest: f64,
    /// The average number of bytes of a block.
    block: f64,
    last: Option<Instant>,
    /// The number of blocks in a row that another provider brought first.
    lost: u32,
}

impl Speed {
    pub(crate) fn new() -> Self {
        Speed {
            rate: 0.0,
            latency: 0.0,
            shortest: 0.0,
            block: 0.0,
            last: None,
            lost: 0,
        }
    }

    /// Takes into account that a block of `bytes`, which was asked for at `asked`, has
    /// arrived.
    pub(crate) fn delivered(&mut self, bytes: usize, asked: Instant, now: Instant) {
        // The provider has worked on it since it was asked or since it sent the block
        // before, whichever is later.
        let since = self.last.map_or(asked, |last| last.max(asked));
        // Blocks that were read together seem to have taken no time. A millisecond keeps
        // the rate finite, and the average corrects it.
        let seconds = now.duration_since(since).as_secs_f64().max(0.001);
        let latency = now.duration_since(asked).as_secs_f64();
        let bytes = bytes as f64;
        if self.last.is_none() {
            self.rate = bytes / seconds;
            self.latency = latency;
            self.shortest = latency;
            self.block = bytes;
        } else {
            // The average is taken over time rather than over blocks: bytes and seconds
            // are averaged separately, so that a burst does not count for more than the
            // time that it took.
            let keep = 1.0 - NEWEST;
            let mean_seconds = self.block / self.rate.max(1.0);
            self.block = self.block * keep + bytes * NEWEST;
            let mean_seconds = mean_seconds * keep + seconds * NEWEST;
            self.rate = self.block / mean_seconds.max(1e-6);
            self.latency = self.latency * keep + latency * NEWEST;
            self.shortest = self.shortest.min(latency);
        }
        self.last = Some(now);
        self.lost = 0;
    }

    /// Notes that another provider has brought a block that this one was asked for as
    /// well.
    pub(crate) fn lost(&mut self) {
        self.lost = self.lost.saturating_add(1);
    }

    /// Notes that the provider does answer, so that its losses do not count.
    pub(crate) fn forgive(&mut self) {
        self.lost = 0;
    }

    /// Returns how often in a row another provider was faster.
    pub(crate) fn losses(&self) -> u32 {
        self.lost
    }

    /// Returns the bytes per second, or 0 when the speed is not known.
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    /// Returns the usual time from a request to its answer, or `None` when it is not
    /// known.
    pub(crate) fn latency(&self) -> Option<Duration> {
        self.last
            .map(|_| Duration::from_secs_f64(self.latency.min(3600.0)))
    }

    /// Returns how long it takes until the block at `position` in its queue (1 is the
    /// next) arrives, which was asked for at `asked`. The result is [`Duration::MAX`]
    /// when nothing has arrived for much longer than a block usually takes. `flows` says
    /// whether bytes have just arrived.
    pub(crate) fn expected(
        &self,
        position: u32,
        asked: Instant,
        flows: bool,
        now: Instant,
    ) -> Duration {
        let Some(last) = self.last else {
            let most = if flows {
                SLOW_AT_FIRST
            } else {
                SILENT_AT_FIRST
            };
            let silent = now.duration_since(asked) > most;
            return if silent {
                Duration::MAX
            } else {
                Duration::ZERO
            };
        };
        let each = Duration::from_secs_f64((self.block / self.rate.max(1.0)).min(3600.0));
        let silent = now.duration_since(last.max(asked));
        let usual = each * 4 + Duration::from_secs_f64(2.0 * self.shortest.min(3600.0));
        if silent > usual + Duration::from_millis(100) {
            return Duration::MAX;
        }
        each.saturating_mul(position)
    }

    /// Returns how many blocks may be asked of it at once.
    pub(crate) fn window(&self) -> usize {
        if self.lost > 0 {
            return 1;
        }
        if self.last.is_none() {
            return FIRST_WINDOW;
        }
        let seconds = HORIZON.as_secs_f64() + 2.0 * self.shortest;
        let blocks = self.rate * seconds / self.block.max(1.0);
        (blocks.ceil() as usize).clamp(2, MAX_WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(interval: Duration, blocks: usize) -> Speed {
        let start = Instant::now();
        let mut speed = Speed::new();
        for i in 1..=blocks {
            let now = start + interval * i as u32;
            speed.delivered(1 << 20, now - interval, now);
        }
        speed
    }

    #[test]
    fn a_fast_provider_gets_a_wide_window_and_a_slow_one_a_narrow_one() {
        assert_eq!(Speed::new().window(), FIRST_WINDOW);
        let fast = run(Duration::from_millis(3), 50);
        assert_eq!(fast.window(), MAX_WINDOW);
        // The provider sends a mebibyte every 3 ms.
        assert_eq!(fast.rate().round(), 349_525_333.0);
        let slow = run(Duration::from_secs(5), 5);
        assert_eq!(slow.window(), 3);
        assert_eq!(slow.latency(), Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_long_path_gets_its_bandwidth_delay_product() {
        // At a distance of 300 ms and with 10 blocks per second, three blocks are on the
        // path.
        let start = Instant::now();
        let mut speed = Speed::new();
        for i in 1..100_u32 {
            let now = start + Duration::from_millis(100) * i + Duration::from_millis(300);
            speed.delivered(1 << 20, now - Duration::from_millis(300), now);
        }
        assert!(speed.window() > 3, "{}", speed.window());
    }

    #[test]
    fn who_loses_gets_one_block_until_it_delivers() {
        let mut speed = run(Duration::from_millis(3), 50);
        speed.lost();
        speed.lost();
        assert_eq!((speed.window(), speed.losses()), (1, 2));
        let now = Instant::now() + Duration::from_secs(1);
        speed.delivered(1 << 20, now - Duration::from_millis(3), now);
        assert!(speed.window() > 1);
    }

    #[test]
    fn what_a_queue_will_take_follows_from_its_speed_and_its_silence() {
        let start = Instant::now();
        let mut speed = Speed::new();
        let wait = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(speed.expected(1, start, false, start), Duration::ZERO);
        let soon = start + SILENT_AT_FIRST * 2;
        assert_eq!(speed.expected(1, start, false, soon), Duration::MAX);
        assert_eq!(speed.expected(1, start, true, soon), Duration::ZERO);
        assert_eq!(speed.expected(1, start, true, wait(2)), Duration::MAX);
        // The provider sends one block per second.
        for i in 1..10 {
            speed.delivered(1 << 20, wait(i - 1), wait(i));
        }
        let third = speed.expected(3, wait(8), true, wait(9));
        assert_eq!(third.as_secs_f64().round(), 3.0, "{third:?}");
        assert_eq!(speed.expected(1, wait(8), false, wait(20)), Duration::MAX);
    }
}
