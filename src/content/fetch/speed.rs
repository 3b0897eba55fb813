//! How fast a provider is, and how much to ask of it at once.

use std::time::{Duration, Instant};

/// Blocks asked of a provider whose speed is not known yet. Enough to see its
/// speed, and few enough to ask others for them when it turns out to be slow.
const FIRST_WINDOW: usize = 4;

/// Most blocks asked of one provider at once; a quarter of what the protocol
/// allows, and at 1 MiB a block more than any path holds.
const MAX_WINDOW: usize = 64;

/// How much work to keep at a provider, beside what covers its latency.
const HORIZON: Duration = Duration::from_millis(250);

/// A provider that has not delivered anything for this long since it was asked
/// may not deliver at all. When its bytes flow, the first of these is not counted.
const SILENT_AT_FIRST: Duration = Duration::from_millis(200);
const SLOW_AT_FIRST: Duration = Duration::from_secs(1);

/// Weight of the newest sample in the averages.
const NEWEST: f64 = 0.25;

/// What is known of a provider's speed.
#[derive(Debug, Clone)]
pub(crate) struct Speed {
    /// Bytes a second, averaged; 0 before the first block.
    rate: f64,
    /// Seconds from ask to answer, averaged.
    latency: f64,
    /// The shortest of them.
    shortest: f64,
    /// Bytes of a block, averaged.
    block: f64,
    last: Option<Instant>,
    /// Blocks in a row that another provider brought first.
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

    /// A block of `bytes` that was asked for at `asked` is here.
    pub(crate) fn delivered(&mut self, bytes: usize, asked: Instant, now: Instant) {
        // The provider worked on it since it was asked or since the block
        // before, whichever is later.
        let since = self.last.map_or(asked, |last| last.max(asked));
        // Blocks that were read at once seem to have taken no time. A millisecond keeps
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
            // Averaged over time and not over blocks: bytes and seconds apart,
            // so that a burst does not count for more than it took.
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

    /// Somebody else brought a block that this provider was asked for as well.
    pub(crate) fn lost(&mut self) {
        self.lost = self.lost.saturating_add(1);
    }

    /// It answers, so that its losses do not count.
    pub(crate) fn forgive(&mut self) {
        self.lost = 0;
    }

    /// How often in a row it lost.
    pub(crate) fn losses(&self) -> u32 {
        self.lost
    }

    /// Bytes a second; 0 when not known.
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    /// Usual time from ask to answer; `None` when not known.
    pub(crate) fn latency(&self) -> Option<Duration> {
        self.last
            .map(|_| Duration::from_secs_f64(self.latency.min(3600.0)))
    }

    /// How long it takes until the block at `position` in its queue (1 is the next), which
    /// was asked for at `asked`, is here. For ever when nothing has come for much longer
    /// than a block usually takes. `flows`: bytes came just now.
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

    /// How many blocks may be asked of it at once.
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
        // A mebibyte each 3 ms.
        assert_eq!(fast.rate().round(), 349_525_333.0);
        let slow = run(Duration::from_secs(5), 5);
        assert_eq!(slow.window(), 3);
        assert_eq!(slow.latency(), Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_long_path_gets_its_bandwidth_delay_product() {
        // 300 ms away, 10 blocks a second: three blocks are on the path.
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
        // A block each second.
        for i in 1..10 {
            speed.delivered(1 << 20, wait(i - 1), wait(i));
        }
        let third = speed.expected(3, wait(8), true, wait(9));
        assert_eq!(third.as_secs_f64().round(), 3.0, "{third:?}");
        assert_eq!(speed.expected(1, wait(8), false, wait(20)), Duration::MAX);
    }
}
