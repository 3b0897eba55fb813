//! Diagnosis: figures of a node become findings in words, with what to do.
//!
//! | file | holds |
//! |---|---|
//! | [`finding`] | a check's result: severity, finding, what to do |
//! | [`thresholds`] | from when on a figure is a finding; the alert rules use the same |
//! | [`samples`] | the Prometheus text format, read back |
//! | [`quantile`] | a quantile of a histogram, computed as Prometheus does |
//! | [`crate::api::snapshot`] | what the daemon tells over the control socket |
//! | [`figures`] | the numbers that the checks look at, drawn from snapshots |
//! | [`checks`] | the checks of a running node |
//! | [`host`] | the checks that need no daemon: socket, folder, unit, port, file |
//! | [`redact`] | peer ids and addresses replaced before a report leaves the host |
//!
//! Everything here is pure: numbers and texts go in, findings come out. Gathering
//! them is `cli::diag`'s work on this end, [`crate::control`]'s in the daemon.

pub mod checks;
pub mod figures;
pub mod finding;
pub mod host;
pub mod quantile;
pub mod redact;
pub mod samples;
pub mod thresholds;

pub use figures::Figures;
pub use finding::{Finding, Severity};
