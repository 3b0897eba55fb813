//! The daemon at one moment, for a diagnosis.

use std::time::{Duration, SystemTime};

use super::status::Status;
use crate::telemetry::history::Earlier;

/// The daemon at one moment, as request DIAG answers it.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// What `p2p-node status` shows; `None` when the event loop did not answer.
    pub status: Option<Status>,
    /// Why it is not ready to serve; `None` when it is.
    pub not_ready: Option<String>,
    /// The time since the event loop last made progress.
    pub loop_lag: Duration,
    /// The text of `/metrics`.
    pub metrics: String,
    /// The same, from up to some minutes before; the oldest first.
    pub earlier: Vec<Earlier>,
    /// The time since the daemon's start.
    pub uptime: Duration,
    /// Process id, as the daemon sees it.
    pub pid: u32,
    /// Processor time used since the start, by the program and by the kernel for it.
    pub cpu: Duration,
    /// The daemon's clock.
    pub clock: Option<SystemTime>,
    /// By how many milliseconds the clock has been set since the start, forwards
    /// being positive. A machine that slept shows as set forwards.
    pub clock_step_ms: i64,
    /// Descriptors open, and how many may be.
    pub descriptors: (u64, u64),
    /// Bytes of memory above which new connections are refused.
    pub memory_limit: Option<u64>,
    /// Free and all bytes of the disk of the data folder.
    pub disk: Option<(u64, u64)>,
    /// The configuration in force.
    pub settings: Vec<Setting>,
}

/// One variable of the configuration in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// The variable.
    pub name: String,
    /// Its value, in the form that it is read from.
    pub value: String,
    /// Where the value came from, in words.
    pub source: String,
}

impl Snapshot {
    /// The value in force of the variable `name`.
    pub fn setting(&self, name: &str) -> Option<&str> {
        let setting = self.settings.iter().find(|s| s.name == name)?;
        Some(&setting.value)
    }

    /// The metrics nearest to `age` ago.
    pub fn earlier(&self, age: Duration) -> Option<&Earlier> {
        self.earlier.iter().min_by_key(|e| e.age.abs_diff(age))
    }
}
