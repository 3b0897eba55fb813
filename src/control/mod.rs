//! The control socket: how the commands and the programs on this host steer
//! the node. (The protocol's description follows with the server.)

pub mod client;
pub mod codec;
mod connmgr;
mod content;
mod dht;
mod pipe;
mod pubsub;
mod report;
pub mod server;
mod session;
mod socket;
mod streams;
pub mod types;

use std::fmt;
use std::sync::Arc;

pub use client::Client;
pub use server::Server;

use crate::block::content::Content;
use crate::node::{ContentNetwork, Handle};
use crate::store::Store;

/// Says whether the node is ready to serve, and if not, why, for a person.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the control socket steers.
#[derive(Clone)]
pub struct Backend {
    /// The node.
    pub handle: Handle,
    /// Content over that node.
    pub content: Content<ContentNetwork>,
    /// Where it lies.
    pub store: Store,
    /// The same answer that `/health/ready` gives, but for draining, which the
    /// node itself knows.
    pub readiness: Readiness,
    /// Connections that a TRIM without a number leaves.
    pub low_water: usize,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

/// The protocol's messages, generated from `proto/p2pd.proto`.
pub(crate) mod pb {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/p2pd.pb.rs"));
}
