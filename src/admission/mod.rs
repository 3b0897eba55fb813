//! Who may connect, and how much.
//!
//! | file | noun |
//! |---|---|
//! | [`limits`] | how many connections: in, out, in total, for each peer, in the making, and memory |
//! | [`gate`] | from where: allowed and denied networks, and a cap for each subnet |
//! | [`ban_gate`] | who not: refuses banned peers once their id is known |
//! | [`conduct`] | what peers do well or badly, and what each is worth |
//! | [`reputation`] | a score for each peer, which time forgets, and what follows from it |
//! | [`bucket`] | how much a peer may send: token buckets, scaled by reputation |
//! | [`bans`] | the blacklist: by peer id and by address range, timed and permanent |
//! | [`trust`] | [`Admission`], the handle to the last four |
//!
//! The gates are libp2p behaviours that the swarm asks before it takes a
//! connection. A refusal names the variable whose limit it was; trusted peers
//! pass every limit but the deny list and an operator's bans.

pub mod ban_gate;
pub mod bans;
pub mod bucket;
pub mod conduct;
pub mod gate;
pub mod limits;
pub mod reputation;
pub mod trust;

pub use bans::{Ban, Target};
pub use conduct::Conduct;
pub use reputation::Action;
pub use trust::{Admission, Order, OverBudget, Settings, Verdict, Verdicts};

use libp2p::swarm::ConnectionDenied;
use libp2p::{connection_limits, memory_connection_limits};

/// The variable whose limit refused a connection, or another name for a cause
/// that no variable sets.
pub fn limit_of(cause: &ConnectionDenied) -> &'static str {
    if let Some(refusal) = cause.downcast_ref::<gate::Refusal>() {
        return refusal.variable();
    }
    if cause.downcast_ref::<ban_gate::Banned>().is_some() {
        return "bans";
    }
    if cause
        .downcast_ref::<memory_connection_limits::MemoryUsageLimitExceeded>()
        .is_some()
    {
        return "P2P_MAX_MEMORY";
    }
    let Some(exceeded) = cause.downcast_ref::<connection_limits::Exceeded>() else {
        return "other";
    };
    match exceeded.to_string() {
        text if text.contains("pending") => "pending connections",
        text if text.contains("per peer") => "P2P_MAX_CONNECTIONS_PER_PEER",
        text if text.contains("incoming") => "P2P_MAX_INBOUND_CONNECTIONS",
        text if text.contains("outgoing") => "P2P_MAX_OUTBOUND_CONNECTIONS",
        _ => "P2P_MAX_CONNECTIONS",
    }
}
