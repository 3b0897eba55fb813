//! What the outside sees of the node: metrics, logs and HTTP.
//!
//! Every room records into [`metrics::Metrics`]; nobody reads metrics back to
//! decide anything.

pub mod http;
pub mod logs;
pub mod metrics;
pub mod misbehaviour;
pub mod throttle;
