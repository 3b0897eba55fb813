//! The node's transports against libp2p's own.
//!
//! libp2p 0.57 ships its transports for tokio only; this node brings its own on
//! async-std. These tests hold the two against each other, so that what the node
//! speaks is what the rest of the network speaks. The foreign side is a swarm on
//! a tokio runtime in a thread of its own; this crate stands outside the
//! product's workspace so that tokio never enters the product's build.
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
