//! How many streams the remote may hold open: few at first, and as many as the limit
//! allows once it uses those.
//!
//! quinn makes an entry for each stream that a remote may open, whether it opens it
//! or not. The default of `P2P_MAX_INBOUND_STREAMS`, 128, costs 10.5 KiB a
//! connection, and an idle one uses two or three streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Streams of a remote that has not used half of them yet: a hash table of 64
/// places holds 56 entries, and some are for this node's own streams. A remote that
/// opens more than these at once waits one round trip for the rest.
const FIRST: u32 = 48;

/// What a connection that allows `max` streams begins with.
pub(super) fn first(max: u32) -> u32 {
    max.min(FIRST)
}

/// Streams of one connection that its remote opened.
#[derive(Debug)]
pub(super) struct Credit {
    open: Arc<AtomicU32>,
    given: u32,
    max: u32,
    /// When the first stream of the present round trip was opened.
    round: Option<Instant>,
    /// How many streams were opened in it.
    in_round: u32,
}

impl Credit {
    pub(super) fn new(max: u32) -> Self {
        Credit {
            open: Arc::default(),
            given: first(max),
            max,
            round: None,
            in_round: 0,
        }
    }

    /// Counts a stream that was opened at `now`, on a path with the round trip time
    /// `rtt`. Says how many the remote may hold from now on, if that has changed.
    ///
    /// A remote uses what it has when half of it is open at once, or was opened within
    /// one round trip. The second matters for short streams on a long path: they have
    /// ended here before the remote learns of it and may open others in their place.
    pub(super) fn opened(&mut self, now: Instant, rtt: Duration) -> (OpenStream, Option<u32>) {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        let stream = OpenStream(self.open.clone());
        if self.given == self.max {
            return (stream, None);
        }
        if self.round.is_none_or(|begun| now > begun + rtt) {
            self.round = Some(now);
            self.in_round = 0;
        }
        self.in_round += 1;
        if open.max(self.in_round) < self.given / 2 {
            return (stream, None);
        }
        self.given = self.max;
        (stream, Some(self.max))
    }
}

/// Counts one open stream until it is dropped.
#[derive(Debug)]
pub(super) struct OpenStream(Arc<AtomicU32>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    #[test]
    fn one_stream_after_the_other_needs_no_more_than_the_first() {
        let mut credit = Credit::new(128);
        let mut now = Instant::now();
        for _ in 0..1000 {
            now += RTT;
            let (_stream, more) = credit.opened(now, RTT);
            assert_eq!(more, None);
        }
    }

    #[test]
    fn all_are_given_once_when_half_of_the_first_are_open() {
        let mut credit = Credit::new(128);
        let mut now = Instant::now();
        let mut streams = Vec::new();
        for n in 1..=30 {
            now += RTT;
            let (stream, more) = credit.opened(now, RTT);
            assert_eq!(more, (n == 24).then_some(128), "stream {n}");
            streams.push(stream);
        }
    }

    #[test]
    fn all_are_given_when_half_of_the_first_were_opened_in_one_round_trip() {
        let mut credit = Credit::new(128);
        let now = Instant::now();
        for n in 1..=30 {
            let (_stream, more) = credit.opened(now + RTT * n / 30, RTT);
            assert_eq!(more, (n == 24).then_some(128), "stream {n}");
        }
    }

    #[test]
    fn a_small_limit_stays_what_it_is() {
        assert_eq!((first(2), first(48), first(49)), (2, 48, 48));
        let mut credit = Credit::new(2);
        let now = Instant::now();
        let open: Vec<_> = (0..2).map(|_| credit.opened(now, RTT)).collect();
        assert!(open.iter().all(|(_, more)| more.is_none()));
    }
}
