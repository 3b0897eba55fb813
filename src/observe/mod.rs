//! What the outside sees of the node: metrics, logs and HTTP.
//!
//! Every room records into [`metrics::Metrics`]; nobody reads metrics back to
//! decide anything; a diagnosis reads them to tell people.
//!
//! | file | noun |
//! |---|---|
//! | [`metrics`] | every metric, with its help |
//! | `process` | the standard metrics of the process |
//! | [`history`] | the metrics of the last minutes |
//! | [`logs`] | lines for the journal, a terminal or a collector |
//! | [`throttle`] | how often a line that a remote provokes is written |
//! | [`misbehaviour`] | lines about misbehaving peers |
//! | [`hour`] | the last hour, for the status page |
//! | [`http`] | `/metrics`, `/health/…` and the page for people |

pub mod history;
pub mod hour;
pub mod http;
pub mod logs;
pub mod metrics;
pub mod misbehaviour;
mod process;
pub mod throttle;
