//! The multiplexer: yamux, with this node's own limits on streams, memory and frames.
//!
//! Specifications: <https://github.com/hashicorp/yamux/blob/master/spec.md> and
//! <https://github.com/libp2p/specs/blob/master/yamux/README.md>.
//!
//! # What it is for
//!
//! - **Memory at its true cost.** What a peer sends and nobody reads lies in one buffer for
//!   each stream. A frame of one byte takes one byte, an empty buffer none. Everything that
//!   a connection holds is charged to an account, and all accounts share one cap
//!   ([`super::memory`]).
//! - **A violation of the protocol ends the connection at once.** More than the window, an
//!   unknown version or kind of frame, numbers that the peer cannot give, bytes after the
//!   end of a stream: the peer is not one to go on with. Nothing is logged for a frame.
//! - **Frames cost.** A budget of frames stands beside that of bytes (`budget`). Over it,
//!   the connection is read more slowly. A peer whose frames are in vain is ended.
//! - **Answers are bounded.** A peer that sends pings or opens streams and does not read is
//!   ended before the answers pile up.
//!
//! # How it is built
//!
//! [`connection`] is the state: it takes bytes and a point in time, and gives bytes and
//! streams. It does no I/O and reads no clock, so tests and the fuzzer decide on both.
//! [`muxer`] drives it over a connection, and [`handle`] is a stream as users see it.
//!
//! | file | noun |
//! |---|---|
//! | `frame` | the header of a frame, on the wire |
//! | `window` | how much the remote may send, and how that grows |
//! | `stream` | the state of one stream, with its unread bytes |
//! | `output` | frames that wait to be written |
//! | `budget` | what frames cost |
//! | `connection` | the state of a connection |
//! | `muxer` | the connection as the swarm sees it |
//! | `handle` | a stream as its users see it |
//! | `error` | why a connection ended |
//!
//! # What peers rely on
//!
//! - A stream that this side opens is announced with its first bytes; one that the remote
//!   opened is acknowledged with the first frame in return. At most 256 are open without
//!   being acknowledged.
//! - Streams may be announced in another order than that of their numbers, since each is
//!   announced when it is first used. So a number is taken as used twice only while its
//!   stream is there.
//! - Frames for a stream that this side has just dropped are under way when the peer hears
//!   of it, and are ignored. A second end of a stream is ignored too.
//! - A stream that is dropped without having been closed is reset. If the remote had
//!   closed its direction, it gets the end of the other one instead.

mod budget;
pub(crate) mod connection;
mod error;
mod frame;
mod handle;
mod muxer;
mod output;
mod stream;
mod window;

use std::io;
use std::iter;
use std::time::Instant;

use futures::future::{self, Ready};
use futures::{AsyncRead, AsyncWrite};
use libp2p::PeerId;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use prometheus::IntCounter;

pub(crate) use error::{Error, Violation};
pub(crate) use muxer::Muxer;

use super::memory::Memory;
use connection::{Connection, Limits, Role};

/// Inbound streams beyond the limit that a peer may open a second, for long, and
/// at once. Each is reset, which costs this node 5 µs and the peer nothing. A peer that
/// sees the resets and continues is disconnected, whether it resets its own streams or
/// not (the "rapid reset" of HTTP/2, CVE-2023-44487). Streams that this node takes at its
/// own pace (`node/accounting`, 500 a second) are not beyond the limit, so this concerns a peer
/// that opens three times as many as it is given, for long; one that opens somewhat more
/// is only slowed. A peer that respects the acknowledgement backlog has 256 streams under
/// way at most.
const SURPLUS: u32 = 1000;
/// See [`SURPLUS`].
const SURPLUS_AT_ONCE: u32 = 1024;

/// The yamux upgrade, for both directions.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    limits: Limits,
    refused: Option<IntCounter>,
    memory: Memory,
    peer: Option<PeerId>,
}

impl Config {
    /// Concurrent streams of one connection: those that the remote opened, and
    /// those that this node opened.
    pub(crate) fn new(max_inbound: usize, max_outbound: usize) -> Self {
        Config {
            limits: Limits {
                inbound: max_inbound,
                outbound: max_outbound,
            },
            refused: None,
            memory: Memory::default(),
            peer: None,
        }
    }

    /// Counts the inbound streams that are over the limit.
    pub(crate) fn counting(mut self, refused: Option<IntCounter>) -> Self {
        self.refused = refused;
        self
    }

    /// Charges what connections hold to `memory`.
    pub(crate) fn charging(mut self, memory: Memory) -> Self {
        self.memory = memory;
        self
    }

    /// Says who is at the other end, so that what the connection holds is told by peer.
    pub(crate) fn with(mut self, peer: PeerId) -> Self {
        self.peer = Some(peer);
        self
    }

    fn muxer<C>(&self, socket: C, role: Role) -> Muxer<C>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let account = self.memory.account(self.peer);
        let connection = Connection::new(role, self.limits, account, Instant::now());
        Muxer::new(
            socket,
            connection,
            self.limits.inbound,
            self.refused.clone(),
        )
    }
}

impl UpgradeInfo for Config {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<Result<Muxer<C>, io::Error>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        future::ok(self.muxer(socket, Role::Server))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<Result<Muxer<C>, io::Error>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        future::ok(self.muxer(socket, Role::Client))
    }
}

#[cfg(test)]
mod tests;
