//! p2p-node: a libp2p daemon that is boring to operate.
//!
//! This page is the map. Each room below is one folder or file and does one thing. A
//! newcomer who wants to change something should be able to find its room with this list
//! alone.
//!
//! # Floors
//!
//! A room uses only rooms on the floors below it, or rooms beside it in one direction.
//! `tests/floors.rs` reads this drawing and the source, and fails if anything else is
//! used. The rooms that decide read no clock, use neither disk nor network, and count no
//! metrics: time and events go in, and decisions come out. The same test checks that.
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
//! | [`cli`] | one file for each command, on top of [`control`]'s client |
//! | [`daemon`] | the life of the process: open, listen, ready, run, drain, close |
//! | [`diag`] | findings in words, made from the figures of a node, and what to do about them |
//! | [`web`] | `/metrics`, `/health/…` and the status page |
//! | [`control`] | the control socket: protocol, server, client |
//! | [`node`] | the owner of the swarm: behaviour, event loop, and the handle that all other rooms use |
//! | [`block`] | the bytes of content: import, exchange (serve and fetch), announcements |
//! | [`store`] | what survives a restart: blocks, roots, peers, bans, reputations, sequence numbers |
//! | [`transport`] | TCP, QUIC, WebSocket and DNS for libp2p on async-std |
//! | [`neighbours`] | the node's place in its network: which peers to keep, which to dial, when to try again |
//! | [`dht`] | decisions about the DHT: records held and their bounds, provider records sent, walks |
//! | [`gossip`] | decisions about gossip: how much each peer may send, topics, which program on this host publishes next, members, the parameters of gossipsub's own score |
//! | [`content`] | decisions about content: CIDs and trees, what of a fetch is missing and which peer is next, what is announced when |
//! | [`peers`] | one record of each peer, and what is decided about them: the gate and its limits, reputation, budgets, bans |
//! | [`message`] | signed envelopes and their replay windows, publishers of blocks, compression |
//! | [`api`] | the types in which programs on this host see the node |
//! | [`config`] | one validated [`config::Config`], made from environment and flags; the table of variables |
//! | [`rate`] | how often, or how much: the token bucket |
//! | [`system`] | signals, resource limits, what the kernel and systemd tell this process |
//! | [`telemetry`] | the mechanism of metrics and logs; each room counts what is its own |
//! | [`text`] | how sizes, times and the text of strangers are written |
//!
//! # The way of data
//!
//! - In: socket → [`transport`] → the swarm in [`node`], after [`peers`] has let it in →
//!   ([`node`] for gossip and the DHT, [`block::exchange`] for requests of content) →
//!   [`store`] or subscribers.
//! - Out: [`cli`] → [`control`] → [`node::Handle`] or [`block`] → the swarm →
//!   [`transport`].
//! - A gossip message from a peer: the connection's task (size, libp2p signature) → `node::gossip`
//!   (is the topic joined? is it no copy of a message that was judged? is it within the
//!   peer's budget and the node's ceilings?) → on a topic of this network, `/<P2P_NETWORK>/…`, a worker that opens its
//!   envelope ([`message`]) → if it is accepted, to the mesh at once, and to subscribers on
//!   this host when it is written down as seen; if it is rejected, to the peer's score in
//!   gossipsub; and if the peer is to blame, to its reputation ([`peers`]). On a topic of another application, it is
//!   accepted as it came.
//! - Metrics: every room counts what is its own, and [`web::metrics`] registers all of
//!   it. No decision depends on a metric.
//!
//! # Rules that hold everywhere
//!
//! One task owns the swarm. It never waits for a disk, a lock held across an await, a
//! name server or a client. Everything that a remote can make grow has a bound, and the
//! reason for the number is beside it. Errors are typed by room. They reach a person as
//! one line that says what was being done, to what, why it failed and what to do.

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
