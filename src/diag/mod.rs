//! Diagnosis: turns the figures of a node into findings in words, with advice on what to
//! do.
//!
//! | file | holds |
//! |---|---|
//! | [`finding`] | a check's result: severity, finding, what to do |
//! | [`thresholds`] | the values that make a figure a finding, as in the alert rules |
//! | [`samples`] | a parser of the Prometheus text format |
//! | [`quantile`] | a quantile of a histogram, computed as Prometheus does |
//! | [`crate::api::snapshot`] | what the daemon reports over the control socket |
//! | [`figures`] | the figures that the checks look at, taken from snapshots |
//! | [`checks`] | the checks of a running node |
//! | [`host`] | the checks that need no daemon: socket, folder, unit, port, file |
//! | [`redact`] | peer ids and addresses replaced before a report leaves the host |
//!
//! Everything here is pure: numbers and texts are the input, findings are the output. The
//! numbers and texts are collected by `cli::diag` on the client's side and by
//! [`crate::control`] in the daemon.

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
