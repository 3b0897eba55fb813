//! Who may connect, and how much they may send.
//!
//! | file | noun |
//! |---|---|
//! | [`state`] | [`Peers`]: everything that is known of peers, and what is decided about them |
//! | [`policy`] | [`Policy`], the handle through which the program shares it |
//! | [`table`] | who is connected |
//! | [`record`] | what is known of one connected peer |
//! | [`trust`] | which peers the operator trusts, and where they are |
//! | [`standing`] | whom a ban of a subnet refuses, and whom it does not |
//! | [`gate`] | every decision about a connection, before and after its handshake |
//! | [`rules`] | which networks may connect, and how many and how often |
//! | [`limits`] | how many connections there may be, and how many are kept for this node's own dials |
//! | [`networks`] | sets of networks in which each address is looked up |
//! | [`subnet`] | which addresses belong together |
//! | [`rate`] | how often peers may connect: token buckets in fixed memory |
//! | [`refusal`] | why a connection was refused: by which limit, its value, and what raises it |
//! | [`relief`] | whose connections are closed above the memory limit |
//! | [`conduct`] | what peers do well or badly, and how much each is worth |
//! | [`reputation`] | a score for each peer, which fades with time, and its consequences |
//! | [`bucket`] | how much a peer may send: token buckets, scaled by reputation |
//! | [`bans`] | the blacklist: by peer id and by address range, with and without an end |
//!
//! The room makes decisions and does nothing else: time and events go in, and decisions
//! come out. The code that asks it on behalf of the swarm, and that counts its decisions,
//! is in `node::peers`.
//!
//! A refusal names the variable that sets the limit. Trusted peers pass every limit of
//! connections. The deny list and an operator's bans hold for them too. Before the
//! handshake, when it is not known yet who the peer is, so do `P2P_ALLOW_CIDRS` and the
//! node's own bans of subnets, except at addresses where a trusted peer is configured or
//! was met in this run. The node's own bans of subnets hold for strangers only: see
//! [`standing`].

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
pub mod relief;
pub mod reputation;
pub mod rules;
pub mod standing;
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

/// Returns the variable whose limit refused a connection, or another fixed name for a
/// cause that no variable sets. It is used as a label of metrics.
pub fn limit_of(cause: &ConnectionDenied) -> &'static str {
    cause
        .downcast_ref::<refusal::Refusal>()
        .map_or("other", refusal::Refusal::limit)
}
