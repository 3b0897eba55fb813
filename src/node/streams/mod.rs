//! Streams of the network for the rest of the program: opened to a peer with
//! the first of several protocols that it speaks, and accepted by protocol.
//!
//! | file | noun |
//! |---|---|
//! | `control` | what others hold: open a stream, accept streams |
//! | `behaviour` | the part in the swarm: dials, chooses a connection |
//! | `handler` | the part in each connection: negotiates |
//! | `acceptors` | who takes the inbound streams of which protocol |
//! | `stream` | a stream: waits for its turn at the node's ceilings |
//! | `idle` | ends streams on which nothing moves |
//! | `slots` | counts of what is bounded |
//!
//! An ask goes from a control through a bounded queue to the behaviour, which
//! dials when no connection stands, and from there to the handler of one
//! connection; the answer comes back through the ask's own reply. Whoever drops
//! the future of an ask cancels it, wherever it is.

mod acceptors;
mod behaviour;
mod control;
mod handler;
mod idle;
mod slots;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use libp2p::{PeerId, StreamProtocol};

pub(super) use acceptors::AcceptError;
pub(super) use behaviour::Behaviour;
pub use control::IncomingStreams;
pub(super) use control::{Control, OpenError};
pub(super) use idle::Idle;
pub use idle::Over;
pub use stream::PeerStream;
pub(super) use stream::Terms;

use slots::Slot;
pub(crate) use slots::{Full, Shares};

/// What an ask is answered with.
type Opened = Result<(PeerStream, StreamProtocol), OpenError>;

/// A stream that somebody wants.
#[derive(Debug)]
pub(in crate::node) struct Ask {
    peer: PeerId,
    /// In order of preference; not empty.
    protocols: Arc<[StreamProtocol]>,
    reply: oneshot::Sender<Opened>,
    /// Its place among the peer's pending asks, once the behaviour has it.
    pending: Option<Slot>,
    /// Its place among the streams of a connection, once it has one.
    stream: Option<Slot>,
}

impl Ask {
    fn fail(self, error: OpenError) {
        // Who asked may be gone; nobody is left to be told then.
        let _ = self.reply.send(Err(error));
    }

    /// How long the peer may take: as long as libp2p gives its own protocols, and
    /// a second for the round trip of each further protocol proposed.
    fn patience(&self) -> Duration {
        let further = self.protocols.len().saturating_sub(1);
        Duration::from_secs(10 + u64::try_from(further).unwrap_or(u64::MAX).min(32))
    }
}
