//! Streams of the network for the rest of the program: they are opened to a peer with
//! the first of several protocols that it speaks, and accepted by protocol.
//!
//! | file | noun |
//! |---|---|
//! | `control` | what others use: opens a stream, accepts streams |
//! | `behaviour` | the part in the swarm: dials, chooses a connection |
//! | `handler` | the part in each connection: negotiates |
//! | `acceptors` | which part of the program takes the streams of each protocol |
//! | `stream` | a stream, which waits for its turn under the node's bandwidth limits |
//! | `idle` | ends streams on which no data moves |
//! | `slots` | counters with a limit |
//!
//! A request goes from a control through a bounded queue to the behaviour, which
//! dials if there is no connection, and from there to the handler of one
//! connection. The answer comes back through the request's own reply. Dropping the
//! future of a request cancels it, wherever it is.

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

/// The answer to a request.
type Opened = Result<(PeerStream, StreamProtocol), OpenError>;

/// A request for a stream.
#[derive(Debug)]
pub(in crate::node) struct Ask {
    peer: PeerId,
    /// In order of preference; not empty.
    protocols: Arc<[StreamProtocol]>,
    reply: oneshot::Sender<Opened>,
    /// Its place among the pending requests for the peer, once the behaviour has it.
    pending: Option<Slot>,
    /// Its place among the streams of a connection, once it has one.
    stream: Option<Slot>,
}

impl Ask {
    fn fail(self, error: OpenError) {
        // The caller may be gone, and then nobody has to be told.
        let _ = self.reply.send(Err(error));
    }

    /// How long the peer may take: as long as libp2p allows for its own protocols, and
    /// a second for the round trip of each further protocol that is proposed.
    fn patience(&self) -> Duration {
        let further = self.protocols.len().saturating_sub(1);
        Duration::from_secs(10 + u64::try_from(further).unwrap_or(u64::MAX).min(32))
    }
}
