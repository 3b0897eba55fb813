//! Who may connect, and how much.
//!
//! | file | noun |
//! |---|---|
//! | [`gate`] | every decision about a connection, before and after its handshake |
//! | [`limits`] | how many connections, and what is kept of them for this node's own dials |
//! | [`networks`] | sets of networks that are asked about each address |
//! | [`subnet`] | which addresses belong together |
//! | [`rate`] | how often: token buckets in fixed memory |
//! | [`resources`] | descriptors and memory left |
//! | [`refusal`] | why not: whose limit, its value, what raises it |
//! | [`behaviour`] | the gate as the swarm asks it |
//! | [`evict`] | a transport whose slow handshakes can be ended to make room for others |
//! | [`pending`] | what ends each handshake, from its announcement until the gate is asked |
//! | [`conduct`] | what peers do well or badly, and what each is worth |
//! | [`reputation`] | a score for each peer, which time forgets, and what follows from it |
//! | [`bucket`] | how much a peer may send: token buckets, scaled by reputation |
//! | [`bans`] | the blacklist: by peer id and by address range, timed and permanent |
//! | [`presence`] | who is connected from where |
//! | `whereabouts` | where trusted peers are for certain |
//! | `metrics` | what is counted of offences, budgets and bans |
//! | [`policy`] | [`Policy`], the handle to reputations, budgets and bans |
//!
//! The gates are libp2p behaviours that the swarm asks before it takes a
//! connection. A refusal names the variable whose limit it was; trusted peers
//! pass every limit of connections. What holds for them too is the deny list
//! and an operator's bans; and before a handshake, when who it is is not known
//! yet, `P2P_ALLOW_CIDRS` and the node's own bans of subnets, except at
//! addresses where a trusted peer is configured or was met in this run.

pub mod bans;
pub mod behaviour;
pub mod bucket;
pub mod conduct;
pub mod evict;
pub mod gate;
pub mod limits;
mod metrics;
#[cfg(test)]
mod model;
pub mod networks;
pub mod pending;
pub mod policy;
pub mod presence;
pub mod rate;
pub mod refusal;
pub mod reputation;
pub mod resources;
pub mod subnet;
mod whereabouts;

pub use bans::{Ban, Target};
pub use conduct::Conduct;
pub use metrics::Metrics;
pub use policy::{Order, OverBudget, Policy, Sanction, Sanctions, Settings};
pub use reputation::Action;

use libp2p::swarm::ConnectionDenied;

/// The variable whose limit refused a connection, or another fixed name for a
/// cause that no variable sets. A label of metrics.
pub fn limit_of(cause: &ConnectionDenied) -> &'static str {
    cause
        .downcast_ref::<refusal::Refusal>()
        .map_or("other", refusal::Refusal::limit)
}
