//! p2p-node: a libp2p daemon that is boring to operate.
//!
//! This page is the map. Each room below is one folder or file and does one
//! thing; a newcomer who wants to change something should be able to find its
//! room from this list alone.
//!
//! # Floors
//!
//! A room uses only rooms that stand below it, or beside it in one direction;
//! `tests/floors.rs` reads this drawing and the source, and fails on anything else. The
//! rooms that decide read no clock, use neither disk nor network, and count no metrics:
//! time and events go in, and decisions come out. The same test holds them to that.
//!
//! ```text
//! cli daemon  what people type; the life of the process
//! diag web  what is wrong, in words; what browsers and scrapers see
//! control  what programs on this host see
//! node  the swarm
//! block  the bytes of content: kept, served, fetched, announced
//! store transport  bytes on disk; bytes to other hosts
//! neighbours dht gossip peers content message  what is decided; what travels between nodes
//! api config rate system telemetry text  the ground
//! ```
//!
//! | room | holds |
//! |---|---|
//! | [`cli`] | one file a command, over [`control`]'s client |
//! | [`daemon`] | life of the process: open, listen, ready, run, drain, close |
//! | [`diag`] | figures of a node become findings in words, with what to do |
//! | [`web`] | `/metrics`, `/health/…` and the status page |
//! | [`control`] | the control socket: protocol, server, client |
//! | [`node`] | owner of the swarm: behaviour, event loop, and the handle that everyone else uses |
//! | [`block`] | the bytes of content: import, exchange (serve and fetch), announcements |
//! | [`store`] | what survives a restart: blocks, roots, peers, bans, reputations, sequence numbers |
//! | [`transport`] | TCP, QUIC, WebSocket and DNS for libp2p on async-std |
//! | [`neighbours`] | the node's place in its network: whom to keep, whom to dial, when to try again |
//! | [`dht`] | decisions about the DHT: records held and their bounds, provider records sent, walks |
//! | [`gossip`] | decisions about gossip: who may send how much, topics, whose turn it is to publish, members |
//! | [`content`] | decisions about content: CIDs and trees, what a fetch asks of whom, what is announced when |
//! | [`peers`] | one record of each peer, and what is decided about them: the gate and its limits, reputation, budgets, bans |
//! | [`message`] | signed envelopes and their replay windows, publishers of blocks, compression |
//! | [`api`] | the types in which programs on this host see the node |
//! | [`config`] | environment and flags become one validated [`config::Config`]; the table of variables |
//! | [`rate`] | how often, or how much: the token bucket |
//! | [`system`] | signals, resource limits, what the kernel and systemd tell us |
//! | [`telemetry`] | metrics and logs as mechanism; what is counted is each room's own |
//! | [`text`] | how sizes, times and the text of strangers are written |
//!
//! # How a thing moves
//!
//! - In: socket → [`transport`] → swarm in [`node`], past [`peers`] →
//!   ([`node`] for gossip and DHT, [`block::exchange`] for requests of content) →
//!   [`store`] or subscribers.
//! - Out: [`cli`] → [`control`] → [`node::Handle`] or [`block`] → swarm →
//!   [`transport`].
//! - A gossip message: connection's task (size, libp2p signature) → `node::gossip`
//!   (topic joined? within the peer's budget and the node's ceilings? new?) →
//!   on a topic of this network, `/<P2P_NETWORK>/…`, a worker that opens its
//!   envelope ([`message`]) → accept: to the mesh and to subscribers on this host;
//!   reject or ignore: to the peer's score and, where it is to blame, its
//!   reputation ([`peers`]). On another application's topic it is accepted as
//!   it came.
//! - Seen: every room counts what is its own; [`web::metrics`] registers it all. No
//!   decision depends on a metric.
//!
//! # Rules that hold everywhere
//!
//! One task owns the swarm; it never waits for a disk, a lock held across an
//! await, a name server or a client. Everything that a remote can grow has a
//! bound, and the reason for the number stands beside it. Errors are typed by
//! room and reach a person as one line that says what was being done, to what,
//! why it failed and what to do.

pub mod api;
pub mod block;
pub mod cli;
pub mod config;
pub mod content;
pub mod control;
pub mod daemon;
pub mod dht;
pub mod diag;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod gossip;
pub mod message;
pub mod neighbours;
pub mod node;
pub mod peers;
mod rate;
pub mod store;
pub mod system;
pub mod telemetry;
pub mod text;
pub mod transport;
pub mod web;
