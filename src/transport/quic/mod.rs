//! QUIC version 1 for libp2p, over quinn on async-std.
//!
//! | file | holds |
//! |---|---|
//! | `options` | what can be tuned, each number with its reason |
//! | `transport` | [`Transport`]: listen, dial, choose the socket, hand out events |
//! | `listener` | one listening socket: its addresses and what arrives there |
//! | `handshakes` | the handshake limiter: how many may be under way, and when a Retry is asked for |
//! | `connecting` | [`Connecting`]: a handshake until it is done, refused or late |
//! | `connection`, `stream` | [`Connection`], [`Stream`]: the muxer and its streams |
//! | `credit` | how many streams the remote may hold open |
//! | `window` | how much the remote may send before it is read |
//! | `congestion` | CUBIC, with a way out for the last packet |
//! | `hole_punch` | opening a way through a NAT for an inbound connection |
//! | `endpoint` | a UDP socket with quinn behind it |
//! | `polls` | a pause of the socket while one of quinn's tasks takes long |
//! | `socket`, `runtime` | what quinn asks of the system: datagrams, timers, tasks |
//! | `tls` | certificates, the peer behind them, the stateless reset key |
//! | `address` | multiaddr to socket address and back |
//! | `error` | [`Error`] |
//!
//! Sources: RFC 9000 (QUIC), RFC 9001 (its TLS), the libp2p specifications
//! `quic`, `tls` and `relay/DCUtR`. Only `/quic-v1` addresses are understood;
//! the drafts before it are gone from the network.
//!
//! # Why not quinn's own async-std runtime
//!
//! quinn's socket for async-io waits for the reactor before every send and
//! every receive, which costs a call of epoll each, and moves a timer in the reactor
//! for every packet. [`runtime`] and [`socket`] try the system call first and
//! wait only when the kernel says so, and let a timer that was moved later fire
//! at its old time and look again.

pub(crate) mod address;
mod congestion;
mod connecting;
mod connection;
mod credit;
mod endpoint;
mod error;
mod handshakes;
mod hole_punch;
mod listener;
mod options;
mod polls;
mod runtime;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod window;

pub use connecting::Connecting;
pub use connection::Connection;
pub use error::Error;
pub use options::Options;
pub use stream::Stream;
pub(crate) use tls::{client_config as tls_client, server_config as tls_server};
pub use transport::Transport;
