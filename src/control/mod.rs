//! The control socket: how the commands and the programs on this host steer
//! the node. (The protocol's description follows with the server.)

pub mod client;
pub mod codec;
pub mod types;

pub use client::Client;

/// The protocol's messages, generated from `proto/p2pd.proto`.
pub(crate) mod pb {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/p2pd.pb.rs"));
}
