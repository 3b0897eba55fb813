//! The node: owner of the swarm.
//!
//! One task owns the libp2p `Swarm`; everyone else holds a
//! cloneable [`Handle`], which sends bounded commands to that task and gets one
//! reply for each, or a bounded stream of replies.
//!
//! | file | noun |
//! |---|---|
//! | [`handle`] | what the rest of the program can ask of the node |
//! | [`status`] | what the node says of itself |
//! | [`identity`] | the key that makes the peer id |
//!
//! The loop takes local work before new work from remotes, never waits for a
//! disk or a client, and shows that it turns.

pub mod handle;
pub mod identity;
pub mod status;

pub use handle::{Handle, Subscription};
pub use status::{PeerStatus, Status};
