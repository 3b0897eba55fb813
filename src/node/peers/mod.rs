//! The adapter between the room that decides about peers and libp2p.
//!
//! | file | noun |
//! |---|---|
//! | [`behaviour`] | the gate as the swarm uses it, which also fills the table of connected peers |
//! | [`connected`] | the table of connected peers, as the event loop reads it |
//! | `metrics` | the metrics and log lines about offences, budgets and bans |

pub(super) mod behaviour;
pub(super) mod connected;
mod metrics;

pub use metrics::PeerMetrics;
