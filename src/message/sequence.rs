//! This node's own sequence numbers: which may be used, and which are to be
//! reserved next.
//!
//! Receivers accept each number of a publisher once. So no number may be used
//! twice, whatever happens to this process or its disk:
//!
//! - Numbers are reserved in blocks. The end of a block is on disk before its
//!   first number is used, and after a restart counting continues after the last
//!   block, whether it was used up or not.
//! - A start never begins below the clock in microseconds. Numbers go up by one with
//!   each message and so fall behind the clock, since nobody publishes a message every
//!   microsecond; a node whose database is lost begins above all that it ever
//!   used. The database in turn protects against a clock that was set back.
//!
//! A node repeats numbers only if both happen at once, a lost database and a clock
//! behind its last start, or if two hosts use one identity.

use std::time::{SystemTime, UNIX_EPOCH};

/// Numbers in a block. A block is reserved while the one before is in use, so
/// that a publisher waits for the disk only when it uses this many in the time
/// of one commit.
pub const BLOCK: u64 = 4096;

/// A new block is reserved when no more than this many numbers are left.
pub const LOW: u64 = BLOCK / 2;

/// All 2^64 numbers are used up, which takes a damaged database or a clock some
/// 500,000 years ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this node has no sequence numbers left to publish under: the stored counter is at its end, \
     which points to a damaged database; a new identity has numbers of its own"
)]
pub struct Exhausted;

/// Numbers that are durably reserved and not used yet.
#[derive(Debug, Default)]
pub struct Sequence {
    next: u64,
    /// The first number that is not reserved.
    end: u64,
}

impl Sequence {
    /// No numbers: the first block is still to be reserved.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next number, `None` when a block has to be reserved first.
    pub fn take(&mut self) -> Option<u64> {
        if self.next >= self.end {
            return None;
        }
        let number = self.next;
        self.next += 1;
        Some(number)
    }

    /// How many numbers are left.
    pub fn left(&self) -> u64 {
        self.end - self.next
    }

    /// The first number that is not reserved.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Whether it is time to reserve a block.
    pub fn is_low(&self) -> bool {
        self.left() <= LOW
    }

    /// Adds a block that was reserved durably: the numbers from `start` up to
    /// `end`. Continues after what is left, or jumps there. A block that lies
    /// lower than numbers given out before adds only what is above them.
    pub fn add(&mut self, start: u64, end: u64) {
        if self.left() == 0 {
            self.next = start.max(self.next);
            self.end = end.max(self.next);
        } else if start == self.end {
            self.end = end.max(self.end);
        } else if start > self.end {
            // Dropping what is left keeps the numbers one contiguous range.
            (self.next, self.end) = (start, end.max(start));
        }
    }
}

/// The block that follows `stored`, the end of the last one (`None` at the first
/// start): its first number and the one after its last. A start (`fresh`) is
/// never below the clock.
///
/// # Errors
/// [`Exhausted`].
pub fn next_block(
    stored: Option<u64>,
    fresh: bool,
    now: SystemTime,
) -> Result<(u64, u64), Exhausted> {
    // Number 0 is that of a message without one.
    let mut start = stored.unwrap_or(0).max(1);
    if fresh {
        let clock = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        start = start.max(u64::try_from(clock.as_micros()).unwrap_or(1));
    }
    let end = start.checked_add(BLOCK).ok_or(Exhausted)?;
    Ok((start, end))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(micros: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(micros)
    }

    #[test]
    fn a_first_start_begins_at_the_clock_and_a_later_one_behind_what_was_reserved() {
        let (start, end) = next_block(None, true, at(5_000_000)).unwrap();
        assert_eq!((start, end), (5_000_000, 5_000_000 + BLOCK));
        // The clock stands, or was set back.
        assert_eq!(next_block(Some(end), true, at(0)).unwrap().0, end);
        // While running, blocks follow one another.
        assert_eq!(next_block(Some(end), false, at(9_000_000)).unwrap().0, end);
        // A start with a clock that went on, with and without the database.
        for stored in [Some(end), None] {
            let next = next_block(stored, true, at(9_000_000)).unwrap();
            assert_eq!(next.0, 9_000_000);
        }
    }

    #[test]
    fn a_clock_before_1970_and_a_counter_at_its_end_are_no_reason_to_panic() {
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(next_block(None, true, before).unwrap().0, 1);
        assert_eq!(next_block(Some(u64::MAX), false, before), Err(Exhausted));
        assert_eq!(
            next_block(Some(u64::MAX - BLOCK), true, before).unwrap().1,
            u64::MAX
        );
        assert!(next_block(Some(u64::MAX - BLOCK + 1), true, before).is_err());
    }

    #[test]
    fn numbers_come_in_order_and_stop_at_the_end_of_the_reserve() {
        let mut sequence = Sequence::new();
        assert!(sequence.is_low());
        assert_eq!(sequence.take(), None);
        sequence.add(10, 13);
        assert_eq!([sequence.take(), sequence.take()], [Some(10), Some(11)]);
        sequence.add(13, 15);
        let rest: Vec<u64> = std::iter::from_fn(|| sequence.take()).collect();
        assert_eq!(rest, [12, 13, 14]);
        assert_eq!(sequence.left(), 0);
    }

    #[test]
    fn whatever_blocks_come_no_number_comes_twice() {
        let mut sequence = Sequence::new();
        let mut last = 0;
        for (start, end) in [(10, 20), (15, 25), (10, 12), (40, 50), (50, 60), (30, 35)] {
            sequence.add(start, end);
            for _ in 0..4 {
                if let Some(number) = sequence.take() {
                    assert!(number > last, "{number} after {last}");
                    last = number;
                }
            }
        }
        while let Some(number) = sequence.take() {
            assert!(number > last);
            last = number;
        }
        assert_eq!(last, 59);
    }
}
