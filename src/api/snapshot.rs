//! The daemon at one moment, for a diagnosis.

use std::time::{Duration, SystemTime};

use super::{Setting, Status};
use crate::telemetry::history::Earlier;

/// The daemon at one moment, as the answer to a DIAG request.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The content of `p2p-node status`; `None` when the event loop did not answer.
    pub status: Option<Status>,
    /// Why it is not ready to serve; `None` when it is.
    pub not_ready: Option<String>,
    /// The time since the event loop last made progress.
    pub loop_lag: Duration,
    /// The text of `/metrics`.
    pub metrics: String,
    /// The same text from up to some minutes earlier, the oldest first.
    pub earlier: Vec<Earlier>,
    /// The time since the daemon's start.
    pub uptime: Duration,
    /// The process id, as the daemon sees it.
    pub pid: u32,
    /// The processor time used since the start, by the program and by the kernel on its
    /// behalf.
    pub cpu: Duration,
    /// The daemon's clock.
    pub clock: Option<SystemTime>,
    /// By how many milliseconds the clock has been changed since the start. The number is
    /// positive when it was set forward. The clock of a machine that slept seems to have
    /// been set forward.
    pub clock_step_ms: i64,
    /// The number of open descriptors, and the limit.
    pub descriptors: (u64, u64),
    /// The memory in bytes above which new connections are refused.
    pub memory_limit: Option<u64>,
    /// The free bytes and the size in bytes of the disk with the data folder.
    pub disk: Option<(u64, u64)>,
    /// The configuration in force.
    pub settings: Vec<Setting>,
}

impl Snapshot {
    /// Returns the value of the variable `name` that is in force.
    pub fn setting(&self, name: &str) -> Option<&str> {
        let setting = self.settings.iter().find(|s| s.name == name)?;
        Some(&setting.value)
    }

    /// Returns the metrics that are nearest to `age` ago.
    pub fn earlier(&self, age: Duration) -> Option<&Earlier> {
        self.earlier.iter().min_by_key(|e| e.age.abs_diff(age))
    }
}
