//! What is known of one receiver of provider records: its pace, and how it answers.

use std::time::{Duration, Instant};

/// Time between two requests to a receiver: half of the default `P2P_RATE_FILL`.
pub(super) const EVERY: Duration = Duration::from_millis(20);

/// Requests that may go to a receiver at once.
pub(super) const BURST: u32 = 16;

/// The longest time between two requests to a receiver that misses records.
const SLOWEST: Duration = Duration::from_secs(1);

/// Misses in a row after which a receiver is left alone.
pub(super) const REFUSES_AFTER: u32 = 8;

/// Answers of a receiver that has never named this node after which it is hardly
/// asked any more: for one record in [`SILENT_ONE_IN`].
pub(super) const SILENT_AFTER: u32 = 4;
pub(super) const SILENT_ONE_IN: u32 = 16;

/// How long it is left alone at first, and at most. An hour: the store of a peer
/// that is full has room when what it holds expires.
pub(super) const PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// When the next request to a receiver would be due if they came evenly. A request
/// may come [`BURST`] earlier.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) next: Instant,
    pub(super) every: Duration,
    misses: u32,
    /// It has named this node.
    pub(super) names: bool,
    /// Answers that did not, before it ever has.
    silences: u32,
    pub(super) pause: Duration,
    paused_until: Option<Instant>,
}

impl Receiver {
    /// One of which nothing is known.
    pub(super) fn new(now: Instant) -> Self {
        Receiver {
            next: now,
            every: EVERY,
            misses: 0,
            names: false,
            silences: 0,
            pause: PAUSE,
            paused_until: None,
        }
    }

    /// Takes a token; when it may be used, which is `now` or later.
    pub(super) fn reserve(&mut self, now: Instant) -> Instant {
        let ahead = self.every * (BURST - 1);
        let at = self.next.checked_sub(ahead).map_or(now, |at| at.max(now));
        self.next = self.next.max(at) + self.every;
        at
    }

    /// Whether it is left alone.
    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// Whether it is worth asking; counts as an answer that says nothing when not.
    pub(super) fn can_say(&mut self) -> bool {
        if self.names || self.silences < SILENT_AFTER {
            return true;
        }
        self.silences += 1;
        self.silences.is_multiple_of(SILENT_ONE_IN)
    }

    /// It answered without naming this node, which it has never done.
    pub(super) fn said_nothing(&mut self) {
        self.silences += 1;
    }

    /// It holds a record.
    pub(super) fn took(&mut self) {
        self.names = true;
        self.misses = 0;
        self.pause = PAUSE;
        self.paused_until = None;
        self.every = (self.every * 7 / 8).max(EVERY);
    }

    /// It does not hold a record that it was told of.
    pub(super) fn missed(&mut self, now: Instant) {
        self.every = (self.every * 2).min(SLOWEST);
        self.misses += 1;
        if self.misses >= REFUSES_AFTER && !self.is_paused(now) {
            self.paused_until = Some(now + self.pause);
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Whether forgetting it changes nothing.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        // What is known of how it answers is found out again.
        self.next <= now && self.misses == 0 && self.every == EVERY
    }
}
