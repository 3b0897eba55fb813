//! How metrics and logs are made and written. Each room decides what it counts and logs.
//!
//! | file | noun |
//! |---|---|
//! | [`registry`] | where metrics are made, and kept for whoever scrapes them |
//! | [`traffic`] | what several rooms count on |
//! | [`direction`] | which way something went |
//! | `process` | the standard metrics of the process |
//! | [`history`] | the metrics of the last minutes |
//! | [`logs`] | lines for the journal, a terminal or a collector |
//! | [`coop`] | how much one poll of a task may do, and how long it took |
//! | [`throttle`] | how often a line that a remote provokes is written |

pub mod coop;
pub mod direction;
pub mod history;
pub mod logs;
mod process;
pub mod registry;
pub mod throttle;
pub mod traffic;

pub use direction::Direction;
pub use registry::{Register, Registry, touch};
pub use traffic::Traffic;
