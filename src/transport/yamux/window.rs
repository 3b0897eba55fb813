//! How much the remote may send on a stream, and how that grows with the measured path.

use std::time::{Duration, Instant};

/// Receive window that every stream has from its start, by the specification.
pub(super) const DEFAULT_WINDOW: u32 = 256 * 1024;

/// Bytes by which the windows of all streams of a connection together may grow
/// beyond the default, as their traffic is measured. 16 MiB carry 1 Gbit/s over
/// 128 ms, and are the most that a remote can make this node hold beyond what
/// the specification grants it.
pub(super) const WINDOW_GROWTH: u32 = 16 * 1024 * 1024;

/// Time between two measurements of the round trip. It changes slowly, and is needed only
/// while a window might grow.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// The part of [`WINDOW_GROWTH`] that the streams of a connection have not taken.
#[derive(Debug)]
pub(super) struct Growth(u32);

impl Growth {
    pub(super) fn new() -> Self {
        Growth(WINDOW_GROWTH)
    }
}

/// The receive window of one stream.
#[derive(Debug)]
pub(super) struct Window {
    /// What the window is when everything has been read.
    size: u32,
    /// What the remote may still send.
    left: u32,
    /// When the window was last raised.
    raised: Instant,
}

impl Window {
    pub(super) fn new(now: Instant) -> Self {
        Window {
            size: DEFAULT_WINDOW,
            left: DEFAULT_WINDOW,
            raised: now,
        }
    }

    /// The window when everything has been read.
    #[cfg(feature = "fuzzing")]
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// What the remote may still send.
    pub(super) fn left(&self) -> u32 {
        self.left
    }

    /// Takes `bytes` of the window. Says whether it had as many.
    pub(super) fn take(&mut self, bytes: u32) -> bool {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// Returns by how much the window is to be raised, now that only `unread` bytes of
    /// what the remote sent wait to be read. It is none while that is less than half of
    /// the window, so that there are at most two updates for each window of data.
    ///
    /// When half a window arrived and was read in less than two round trips, the window
    /// is what limits the remote, and is doubled, as far as `growth` allows. It never
    /// shrinks while the stream lasts.
    pub(super) fn raise(
        &mut self,
        unread: usize,
        growth: &mut Growth,
        round_trip: Option<Duration>,
        now: Instant,
    ) -> Option<u32> {
        let unread = u32::try_from(unread).unwrap_or(u32::MAX);
        let read = |window: &Self| (window.size - window.left).saturating_sub(unread);
        if read(self) < self.size / 2 {
            return None;
        }
        let took = now.saturating_duration_since(self.raised);
        if round_trip.is_some_and(|trip| took < trip * 2) {
            let more = self.size.min(growth.0);
            growth.0 -= more;
            self.size += more;
        }
        let credit = read(self);
        self.raised = now;
        self.left += credit;
        Some(credit)
    }

    /// Gives back what the window took of `growth`, at the end of its stream.
    pub(super) fn release(&self, growth: &mut Growth) {
        growth.0 += self.size - DEFAULT_WINDOW;
    }
}

/// The measured round trip to the remote.
#[derive(Debug)]
pub(super) struct RoundTrip {
    measured: Option<Duration>,
    next_id: u32,
    state: PingState,
}

#[derive(Clone, Copy, Debug)]
enum PingState {
    /// The next ping is due at this time, if anything moves then.
    Due(Instant),
    /// The answer to this ping, sent at this time, is under way.
    Sent(u32, Instant),
}

impl RoundTrip {
    pub(super) fn new(now: Instant) -> Self {
        RoundTrip {
            measured: None,
            next_id: 0,
            state: PingState::Due(now),
        }
    }

    /// The last measurement.
    pub(super) fn get(&self) -> Option<Duration> {
        self.measured
    }

    /// The id of a ping that is to be sent now. There is none on an idle connection, which
    /// does not need a measurement, since only a connection that moves asks.
    pub(super) fn ping(&mut self, now: Instant) -> Option<u32> {
        match self.state {
            PingState::Due(at) if at <= now => {
                let id = self.next_id;
                self.next_id = id.wrapping_add(1);
                self.state = PingState::Sent(id, now);
                Some(id)
            }
            _ => None,
        }
    }

    /// Takes the answer to a ping. Says whether it was awaited.
    pub(super) fn pong(&mut self, id: u32, now: Instant) -> bool {
        match self.state {
            PingState::Sent(awaited, at) if awaited == id => {
                self.measured = Some(now.saturating_duration_since(at));
                self.state = PingState::Due(now + PING_INTERVAL);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIP: Option<Duration> = Some(Duration::from_millis(10));

    #[test]
    fn a_window_is_raised_by_halves() {
        let now = Instant::now();
        let mut growth = Growth::new();
        let mut window = Window::new(now);
        assert!(window.take(DEFAULT_WINDOW / 2 - 1));
        assert_eq!(window.raise(0, &mut growth, None, now), None);
        assert!(window.take(1));
        // Not while it is unread.
        assert_eq!(window.raise(1, &mut growth, None, now), None);
        let half = DEFAULT_WINDOW / 2;
        assert_eq!(window.raise(0, &mut growth, None, now), Some(half));
        assert_eq!(window.left(), DEFAULT_WINDOW);
        assert!(!window.take(DEFAULT_WINDOW + 1), "more than the window");
        assert!(window.take(DEFAULT_WINDOW));
    }

    #[test]
    fn windows_grow_together_up_to_the_bound_and_give_it_back() {
        let now = Instant::now();
        let mut growth = Growth::new();
        let mut windows = [Window::new(now), Window::new(now)];
        for _ in 0..20 {
            for window in &mut windows {
                assert!(window.take(window.left()));
                assert!(window.raise(0, &mut growth, TRIP, now).is_some());
            }
        }
        assert_eq!(growth.0, 0);
        let sum: u32 = windows.iter().map(Window::left).sum();
        assert_eq!(sum, 2 * DEFAULT_WINDOW + WINDOW_GROWTH);
        windows.iter().for_each(|w| w.release(&mut growth));
        assert_eq!(growth.0, WINDOW_GROWTH);
    }

    #[test]
    fn a_slow_reader_gets_no_larger_window() {
        let now = Instant::now();
        let mut growth = Growth::new();
        let mut window = Window::new(now);
        assert!(window.take(DEFAULT_WINDOW));
        let later = now + Duration::from_millis(20);
        let credit = window.raise(0, &mut growth, TRIP, later);
        assert_eq!(credit, Some(DEFAULT_WINDOW));
        assert_eq!(growth.0, WINDOW_GROWTH);
    }

    #[test]
    fn round_trips_are_measured_at_intervals() {
        let now = Instant::now();
        let mut trip = RoundTrip::new(now);
        assert_eq!(trip.ping(now), Some(0));
        assert_eq!(trip.ping(now), None);
        let later = now + Duration::from_millis(7);
        assert!(!trip.pong(1, later), "of another ping");
        assert!(trip.pong(0, later));
        assert!(!trip.pong(0, later), "a second time");
        assert_eq!(trip.get(), Some(Duration::from_millis(7)));
        assert_eq!(trip.ping(later), None);
        assert_eq!(trip.ping(later + PING_INTERVAL), Some(1));
    }
}
