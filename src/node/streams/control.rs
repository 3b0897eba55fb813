//! What the rest of the program uses to open and to accept streams.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_std::channel::{Receiver, Sender};
use futures::channel::oneshot;
use libp2p::{PeerId, StreamProtocol};

use super::Ask;
use super::acceptors::{AcceptError, Acceptors, Inbound};
use super::stream::PeerStream;
use crate::content::fetch::Unreachable;

/// Why a stream could not be opened.
#[derive(Debug, thiserror::Error)]
pub(in crate::node) enum OpenError {
    /// The behaviour is gone.
    #[error("the node has stopped")]
    Stopped,
    /// No protocol was given.
    #[error("no protocol was given")]
    NoProtocol,
    /// The peer could not be connected to.
    #[error("{0}")]
    Dial(Unreachable),
    /// The connection ended first.
    #[error("the connection closed before the stream was agreed upon")]
    Closed,
    /// The peer took too long.
    #[error(
        "the peer did not answer within {0:?}: it is overloaded, or allows no more streams on the connection"
    )]
    Timeout(Duration),
    /// Negotiation failed on the wire.
    #[error("the stream broke while its protocol was being agreed upon: {0}")]
    Io(io::Error),
    /// The peer speaks none of the protocols, or reset the stream before it answered.
    /// libp2p's negotiation does not distinguish the two.
    #[error("the peer speaks none of the protocols")]
    Unsupported,
    /// Too many requests for this peer are under way.
    #[error(
        "{0} streams to the peer are being opened already, which is the limit of this node; try again when some have ended"
    )]
    TooManyPending(usize),
    /// Every connection with the peer already has as many streams as allowed.
    #[error(
        "{used} streams to the peer are open on the connection, which is the limit of this node; close some, or raise P2P_MAX_OUTBOUND_STREAMS ({configured}, a part of which is kept for the node's own protocols)"
    )]
    TooManyStreams {
        /// The number of streams that may be open.
        used: usize,
        /// The variable from which the limit is derived.
        configured: usize,
    },
}

/// Opens and accepts streams. Clones are handles to the same behaviour.
#[derive(Clone, Debug)]
pub(in crate::node) struct Control {
    asks: Sender<Ask>,
    acceptors: Arc<Acceptors>,
}

impl Control {
    pub(super) fn new(asks: Sender<Ask>, acceptors: Arc<Acceptors>) -> Self {
        Control { asks, acceptors }
    }

    /// Opens a stream with the first of `protocols` that the peer speaks, which
    /// are proposed in their order on one stream. Dials the peer if there is no
    /// connection. Dropping the future cancels the request.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(in crate::node) async fn open(
        &self,
        peer: PeerId,
        protocols: &[StreamProtocol],
    ) -> Result<(PeerStream, StreamProtocol), OpenError> {
        if protocols.is_empty() {
            return Err(OpenError::NoProtocol);
        }
        let (reply, answer) = oneshot::channel();
        let ask = Ask {
            peer,
            protocols: protocols.into(),
            reply,
            pending: None,
            stream: None,
        };
        self.asks.send(ask).await.map_err(|_| OpenError::Stopped)?;
        match answer.await {
            Ok(opened) => opened,
            Err(_) if self.asks.is_closed() => Err(OpenError::Stopped),
            // The request was lost with the connection to which it was assigned.
            Err(_) => Err(OpenError::Closed),
        }
    }

    /// Accepts the inbound streams of a protocol until the result is dropped.
    /// Connected peers are told about the protocol.
    ///
    /// # Errors
    /// See [`AcceptError`].
    pub(in crate::node) fn accept(
        &self,
        protocol: StreamProtocol,
    ) -> Result<IncomingStreams, AcceptError> {
        let (id, streams) = self.acceptors.add(protocol.clone())?;
        Ok(IncomingStreams {
            protocol,
            id,
            streams,
            acceptors: self.acceptors.clone(),
        })
    }
}

/// Inbound streams of one protocol, each with the peer that opened it. A bounded
/// number waits here to be taken, and further streams are reset. Ends when the node has
/// stopped. Dropping it withdraws the protocol and resets the streams that wait.
#[derive(Debug)]
#[must_use = "streams wait here until they are taken"]
pub struct IncomingStreams {
    protocol: StreamProtocol,
    id: u64,
    streams: Receiver<Inbound>,
    acceptors: Arc<Acceptors>,
}

impl IncomingStreams {
    /// The protocol.
    pub fn protocol(&self) -> &StreamProtocol {
        &self.protocol
    }
}

impl futures::Stream for IncomingStreams {
    type Item = (PeerId, PeerStream);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.streams).poll_next(cx);
        // It no longer waits, so its place in the queue is free.
        next.map(|next| next.map(|(peer, stream, _)| (peer, stream)))
    }
}

impl Drop for IncomingStreams {
    fn drop(&mut self) {
        self.acceptors.remove(&self.protocol, self.id);
    }
}
