//! The adapter between the room that decides about peers and libp2p.
//!
//! | file | noun |
//! |---|---|
//! | [`behaviour`] | the gate as the swarm asks it, which also feeds the table of connected peers |
//! | [`evict`] | a transport whose slow handshakes can be ended to make room for others |
//! | [`pending`] | what ends each handshake, from its announcement until the gate is asked |
//! | [`connected`] | the table of connected peers, as the event loop reads it |
//! | `metrics` | what is counted of offences, budgets and bans |

pub(super) mod behaviour;
pub(super) mod connected;
pub(super) mod evict;
mod metrics;
pub(super) mod pending;

pub use metrics::PeerMetrics;
