//! Whose connections are closed when the node is above its memory limit.
//!
//! At the limit (`P2P_MAX_MEMORY`), newcomers are refused, and that frees nothing. Above
//! it, the peers whose connections hold the most memory are disconnected, first to last,
//! until what they hold adds up to the excess:
//!
//! - Strangers come first, then peers that behaved well, and last those that this node
//!   keeps or that a program on this host uses. A peer that is exempt from the limits is
//!   never closed for this.
//! - At most [`AT_ONCE`] peers are closed in one step, and the next step waits for
//!   [`PAUSE`], in which memory is given back and measured again. So a wrong measurement
//!   cannot empty the node.
//! - A peer that holds less than [`LEAST`] is not closed, since that would not help.
//!   Whatever takes the memory then, it is not the connections.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use libp2p::PeerId;

/// The number of peers that are disconnected in one step: a fiftieth of the connections
/// of a default node.
pub const AT_ONCE: usize = 8;

/// The time between two steps. Connections end within milliseconds. Then the heap is
/// trimmed (a millisecond for each 100 MiB), and memory is looked at once a second.
pub const PAUSE: Duration = Duration::from_secs(3);

/// The bytes from which on a peer counts as expensive. An idle connection takes 56 KiB,
/// and one with a dozen streams in use twice that.
pub const LEAST: u64 = 256 << 10;

/// How much a peer matters to this node, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worth {
    /// Nobody here needs it.
    Stranger,
    /// It has behaved well.
    Known,
    /// This node keeps it, or a program on this host uses it.
    Used,
}

impl Worth {
    /// All of them, the one that is closed first in front.
    pub const ALL: [Worth; 3] = [Worth::Stranger, Worth::Known, Worth::Used];

    /// Returns its name as the label of a metric.
    pub fn name(self) -> &'static str {
        match self {
            Worth::Stranger => "stranger",
            Worth::Known => "known",
            Worth::Used => "used",
        }
    }
}

/// What the connections with one peer cost. Peers that must not be closed are not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expense {
    /// The peer.
    pub peer: PeerId,
    /// The bytes that its connections hold, as far as that is known.
    pub bytes: u64,
    /// How much it matters.
    pub worth: Worth,
}

/// Decides when and whom to disconnect. The time is an argument.
#[derive(Debug, Default)]
pub struct Relief {
    last: Option<Instant>,
}

impl Relief {
    /// Returns by how many bytes the node is above its limit, when it is time for a step.
    pub fn due(&self, resident: u64, limit: u64, now: Instant) -> Option<u64> {
        let rested = |last| now.saturating_duration_since(last) >= PAUSE;
        let excess = resident.checked_sub(limit).filter(|excess| *excess > 0)?;
        self.last.is_none_or(rested).then_some(excess)
    }

    /// Chooses the peers to disconnect, in order, so that `excess` bytes become free.
    pub fn choose(
        &mut self,
        excess: u64,
        mut expenses: Vec<Expense>,
        now: Instant,
    ) -> Vec<Expense> {
        self.last = Some(now);
        expenses.retain(|expense| expense.bytes >= LEAST);
        // Among equals, the order is that of their ids, so that the outcome is the same
        // each time.
        expenses.sort_by_key(|e| (e.worth, Reverse(e.bytes), e.peer));
        let mut freed = 0u64;
        expenses.truncate(AT_ONCE);
        expenses
            .into_iter()
            .take_while(|expense| {
                let needed = freed < excess;
                freed = freed.saturating_add(expense.bytes);
                needed
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn expense(bytes: u64, worth: Worth) -> Expense {
        Expense {
            peer: PeerId::random(),
            bytes,
            worth,
        }
    }

    #[test]
    fn the_most_expensive_strangers_go_first_until_the_excess_is_covered() {
        let now = Instant::now();
        let small = expense(LEAST - 1, Worth::Stranger);
        let [a, b, c] = [4, 16, 8].map(|n| expense(n * MIB, Worth::Stranger));
        let known = expense(100 * MIB, Worth::Known);
        let used = expense(500 * MIB, Worth::Used);
        let all = vec![used, small, a, known, b, c];
        let choose = |excess| Relief::default().choose(excess, all.clone(), now);
        assert_eq!(choose(1), [b]);
        assert_eq!(choose(16 * MIB), [b]);
        assert_eq!(choose(16 * MIB + 1), [b, c]);
        assert_eq!(choose(28 * MIB), [b, c, a]);
        assert_eq!(choose(28 * MIB + 1), [b, c, a, known]);
        assert_eq!(choose(u64::MAX), [b, c, a, known, used]);
    }

    #[test]
    fn a_wrong_measurement_cannot_empty_the_node() {
        let mut now = Instant::now();
        let mut relief = Relief::default();
        let many: Vec<Expense> = (0..400).map(|_| expense(MIB, Worth::Stranger)).collect();
        assert_eq!(relief.due(99, 100, now), None);
        assert_eq!(relief.due(100, 100, now), None);
        assert_eq!(relief.due(u64::MAX, 100, now), Some(u64::MAX - 100));
        assert_eq!(relief.choose(u64::MAX, many.clone(), now).len(), AT_ONCE);
        now += PAUSE - Duration::from_nanos(1);
        assert_eq!(relief.due(u64::MAX, 100, now), None);
        now += Duration::from_nanos(1);
        assert_eq!(relief.due(101, 100, now), Some(1));
        // Connections that hold nothing are left alone, whatever the measurement says.
        let idle: Vec<Expense> = (0..400).map(|_| expense(60_000, Worth::Stranger)).collect();
        assert_eq!(relief.choose(u64::MAX, idle, now), []);
    }
}
