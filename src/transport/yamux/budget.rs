//! What frames cost.
//!
//! Bytes are paid for elsewhere: by windows, and by the peer's budget of bytes. Frames are
//! paid for here, because a frame without bytes costs this node almost as much as one that
//! carries some hundred. Prices are in units, and a connection gets [`RATE`] of them a
//! second.
//!
//! | frame | price |
//! |---|---|
//! | carries [`FULL`] bytes or more of an open stream, or of one just dropped | nothing |
//! | carries fewer | the missing part of one unit |
//! | opens, acknowledges, ends or resets a stream | one unit |
//! | without bytes, for a stream that this side has just dropped | one unit, within [`Grace`] |
//! | all others: pings, window updates, no bytes, streams that are not there | [`VAIN`] units |
//!
//! What this side sends earns the window updates that answer it. So a transfer in either
//! direction costs nothing at any speed, if its frames are of a usual size.
//!
//! Over the budget, the connection is read at the pace of the budget and no faster, which
//! slows the peer through the flow control of the connection below. An honest program
//! whose writes are tiny is slowed to [`RATE`] frames a second and keeps its connection.
//! A peer whose frames are in vain is ended when it goes on.

use std::time::{Duration, Instant};

use crate::rate::{Bucket, Capacity};

/// Units in the long run, a second. A frame takes about a microsecond here with all that
/// it wakes, so this is one hundredth of a core. It is also ten thousand single writes
/// of one byte a second, more than an interactive program or gossip of tiny messages
/// reaches.
const RATE: i128 = 10_000;

/// Units at once: four seconds' worth, for bursts after silence.
const BURST: i128 = 4 * RATE;

/// Bytes from which a frame costs nothing. At the price of one unit for a frame without
/// bytes, bytes that come in frames of half this size may flow at 5 MB a second, and those
/// in full ones as fast as they can.
const FULL: u32 = 512;

/// Units for a frame that is in vain. 2,000 such frames a second are read at most.
const VAIN: i128 = 5;

/// Frames in vain that a connection may send a second in the long run, and stay. Honest
/// peers send one ping in some seconds, and a window update for half a window.
pub(super) const VAIN_RATE: i128 = 500;

/// Frames in vain at once. A peer that floods is ended within some seconds: the first read
/// of 128 KiB has 10,900 of them.
const VAIN_BURST: i128 = 12_000;

/// Bytes sent that earn one frame in vain, which is the window update for them. Windows
/// are of 256 KiB at least and raised by halves; a quarter of that half leaves room for
/// implementations that do it more often.
const EARNS: u64 = 32 * 1024;

/// Bytes for a stream that is not there which cost as much as one frame in vain.
const UNKNOWN: u64 = 2048;

/// Frames that may follow for a stream that this side has dropped: window updates, the
/// end and a reset, under way before the peer knew.
const TRAILING: u32 = 8;

/// The most frames and bytes of [`Grace`]: those of 512 streams dropped at once, with all
/// that their windows can have grown to.
const MOST_TRAILING: (u32, u64) = (512 * TRAILING, 144 * 1024 * 1024);

/// One unit, or one frame in vain, in the buckets.
const UNIT: i128 = 1_000_000_000;

const UNITS: Capacity = Capacity {
    full: BURST * UNIT,
    per_nanosecond: RATE,
};

const PATIENCE: Capacity = Capacity {
    full: VAIN_BURST * UNIT,
    per_nanosecond: VAIN_RATE,
};

/// What one connection may still spend.
#[derive(Debug)]
pub(super) struct Budget {
    units: Bucket,
    patience: Bucket,
    /// Bytes sent that have not earned anything yet.
    sent: u64,
    grace: Grace,
}

/// What may still arrive for streams that this side dropped, without being in vain.
#[derive(Debug, Default)]
struct Grace {
    frames: u32,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Budget {
            units: Bucket::full(UNITS, now),
            patience: Bucket::full(PATIENCE, now),
            sent: 0,
            grace: Grace::default(),
        }
    }

    /// Adds what has been earned since the last time.
    pub(super) fn refill(&mut self, now: Instant) {
        self.units.refill(UNITS, now);
        self.patience.refill(PATIENCE, now);
        let earned = i128::from(self.sent / EARNS) * UNIT;
        if earned > 0 {
            self.sent %= EARNS;
            self.units.give_back(earned * VAIN);
            self.units.clamp(i128::MIN, UNITS.full);
            self.patience.give_back(earned);
            self.patience.clamp(i128::MIN, PATIENCE.full);
        }
    }

    /// Counts what this side sends.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes as u64);
    }

    /// Charges a frame that carries `bytes` of an open stream, which are not zero.
    pub(super) fn carries(&mut self, bytes: u32) {
        let missing = FULL.saturating_sub(bytes);
        if missing > 0 {
            let price = UNIT * i128::from(missing) / i128::from(FULL);
            self.units.take(price);
        }
    }

    /// Charges a frame that changes the state of a stream.
    pub(super) fn changes(&mut self) {
        self.units.take(UNIT);
    }

    /// Charges a frame that is in vain.
    pub(super) fn in_vain(&mut self) {
        self.units.take(VAIN * UNIT);
        self.patience.take(UNIT);
    }

    /// Charges a frame with `bytes` for a stream that is not there.
    pub(super) fn unknown(&mut self, bytes: u32) {
        // Data that was under way costs as if the stream were there.
        if let Some(left) = self.grace.bytes.checked_sub(bytes.into())
            && bytes > 0
        {
            self.grace.bytes = left;
            self.carries(bytes);
            return;
        }
        match self.grace.frames.checked_sub(1) {
            Some(left) => {
                self.grace.frames = left;
                self.changes();
            }
            None => self.in_vain(),
        }
        let bytes = u64::from(bytes);
        let over = bytes.saturating_sub(self.grace.bytes);
        self.grace.bytes = self.grace.bytes.saturating_sub(bytes);
        if over > 0 {
            let frames = UNIT * i128::from(over) / i128::from(UNKNOWN);
            self.units.take(VAIN * frames);
            self.patience.take(frames);
        }
    }

    /// Allows for what is under way on a stream that this side drops now, on which the
    /// remote may still send `window` bytes.
    pub(super) fn dropped(&mut self, window: u32) {
        let (frames, bytes) = MOST_TRAILING;
        let grace = &mut self.grace;
        grace.frames = grace.frames.saturating_add(TRAILING).min(frames);
        grace.bytes = grace.bytes.saturating_add(u64::from(window)).min(bytes);
    }

    /// Whether the connection has sent more in vain than is borne.
    pub(super) fn is_spent(&self) -> bool {
        self.patience.level() < 0
    }

    /// How long nothing more is to be read.
    pub(super) fn wait(&self) -> Option<Duration> {
        let wait = self.units.wait(0, UNITS);
        (!wait.is_zero()).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_frames_cost_nothing_and_tiny_ones_are_slowed_but_never_cut_off() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        for _ in 0..1_000_000 {
            budget.carries(16 * 1024);
        }
        assert_eq!(budget.units.level(), UNITS.full);
        let mut now = start;
        let mut frames = 0;
        while now < start + Duration::from_secs(60) {
            budget.refill(now);
            for _ in 0..1000 {
                budget.carries(1);
            }
            frames += 1000;
            now += budget.wait().unwrap_or_default();
            assert!(!budget.is_spent());
        }
        let bound = (BURST + 61 * RATE) as u32 * 513 / 512;
        assert!((bound / 2..=bound).contains(&frames), "{frames}");
    }

    #[test]
    fn frames_in_vain_are_cut_off_when_they_go_on() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let mut now = start;
        while !budget.is_spent() {
            budget.refill(now);
            budget.in_vain();
            now += budget.wait().unwrap_or_default();
            assert!(now < start + Duration::from_secs(10), "not within seconds");
        }
        assert!(now > start);
        // Below the rate, they are borne for ever.
        let mut budget = Budget::new(start);
        for n in 0..1_000_000 {
            budget.refill(start + Duration::from_millis(2) * n);
            budget.in_vain();
            assert!(!budget.is_spent());
        }
    }

    #[test]
    fn sending_earns_the_window_updates_that_answer_it() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        for _ in 0..1_000_000 {
            budget.sent(64 * 1024);
            budget.refill(start);
            budget.in_vain();
            assert_eq!(budget.wait(), None);
        }
    }

    #[test]
    fn what_was_under_way_when_a_stream_was_dropped_is_borne_and_no_more() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        budget.dropped(1 << 20);
        for _ in 0..TRAILING {
            budget.unknown((1 << 20) / TRAILING);
        }
        assert_eq!(budget.patience.level(), PATIENCE.full);
        // In small frames too.
        budget.dropped(100_000);
        for _ in 0..100_000 {
            budget.unknown(1);
        }
        assert_eq!(budget.patience.level(), PATIENCE.full);
        budget.unknown(64 << 20);
        assert!(budget.is_spent());
    }
}
