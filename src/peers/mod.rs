//! Who may connect, and how much.
//!
//! | file | noun |
//! |---|---|
//! | [`state`] | [`Peers`]: everything that is known of peers, and what is decided about them |
//! | [`policy`] | [`Policy`], the handle through which the program shares it |
//! | [`table`] | who is connected |
//! | [`record`] | what is known of one connected peer |
//! | [`trust`] | whom the operator trusts, and where these peers are |
//! | [`gate`] | every decision about a connection, before and after its handshake |
//! | [`rules`] | which networks may connect, and how many and how often |
//! | [`limits`] | how many connections, and what is kept of them for this node's own dials |
//! | [`networks`] | sets of networks that are asked about each address |
//! | [`subnet`] | which addresses belong together |
//! | [`rate`] | how often: token buckets in fixed memory |
//! | [`refusal`] | why not: whose limit, its value, what raises it |
//! | [`conduct`] | what peers do well or badly, and what each is worth |
//! | [`reputation`] | a score for each peer, which time forgets, and what follows from it |
//! | [`bucket`] | how much a peer may send: token buckets, scaled by reputation |
//! | [`bans`] | the blacklist: by peer id and by address range, timed and permanent |
//!
//! The room decides and does nothing else: time and events go in, decisions come out.
//! What asks it for the swarm, and what counts its decisions, is in `node::peers`.
//!
//! A refusal names the variable whose limit it was; trusted peers
//! pass every limit of connections. What holds for them too is the deny list
//! and an operator's bans; and before a handshake, when who it is is not known
//! yet, `P2P_ALLOW_CIDRS` and the node's own bans of subnets, except at
//! addresses where a trusted peer is configured or was met in this run.

pub mod bans;
pub mod bucket;
pub mod conduct;
pub mod gate;
pub mod limits;
#[cfg(test)]
mod model;
pub mod networks;
pub mod policy;
pub mod rate;
pub mod record;
pub mod refusal;
pub mod reputation;
pub mod rules;
pub mod state;
pub mod subnet;
pub mod table;
pub mod trust;
#[cfg(test)]
mod world;

pub use bans::{Ban, Target};
pub use conduct::Conduct;
pub use policy::{Observer, Policy, Sanctions};
pub use reputation::Action;
pub use state::{Note, Order, OverBudget, Peers, Sanction, Settings, Unsaved};

use libp2p::swarm::ConnectionDenied;

/// The variable whose limit refused a connection, or another fixed name for a
/// cause that no variable sets. A label of metrics.
pub fn limit_of(cause: &ConnectionDenied) -> &'static str {
    cause
        .downcast_ref::<refusal::Refusal>()
        .map_or("other", refusal::Refusal::limit)
}
