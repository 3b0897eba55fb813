//! The roots that wait to be announced.

use std::time::Duration;

/// The roots that wait to be announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// The number of roots that have to be announced now, including those under way.
    pub waiting: usize,
    /// How long the most overdue of them has waited.
    pub lateness: Duration,
}
