//! Connects the node's transports with libp2p's own.
//!
//! libp2p 0.57 has transports for tokio only, and this node has its own on
//! async-std. These tests connect the two with each other, to show that the node
//! speaks the same protocols as the rest of the network. The foreign side is a swarm on
//! a tokio runtime in its own thread. This crate is outside of the product's
//! workspace, so that the product never depends on tokio.
//!
//! | file | what is tested, over each of TCP with Noise, TCP with TLS, QUIC, WebSocket |
//! |---|---|
//! | `streams` | echo, half-close, reset, thousands of streams, large transfers both ways at once |
//! | `connections` | both families, peer id mismatch, storms, a listener that goes, dialing by name |
//! | `private` | networks with a pre-shared key: right, wrong, none |
//! | `malformed` | garbage, truncated and oversize handshakes, from both ends |
//! | `certificate` | TLS certificates that are no libp2p certificates, over TCP and QUIC, from both ends |
//!
//! Every scenario runs in both directions and, where a connection is what is
//! tested, over IPv4 and IPv6. After every hostile peer the same listener must
//! serve an honest one, and nothing outside of this crate may have panicked in
//! any thread ([`watch`]).
//!
//! Run it in this folder: `cargo test`. Traffic stays on loopback.
#![cfg(test)]

mod certificate;
mod connections;
mod link;
mod malformed;
mod node;
mod pattern;
mod private;
mod streams;
mod watch;
