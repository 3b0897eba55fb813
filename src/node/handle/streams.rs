//! What the rest of the program can ask of streams.

use libp2p::{PeerId, StreamProtocol};

use super::Handle;
use crate::content::fetch::Unreachable;
use crate::node::error::Error;
use crate::node::obstacle::of_opening;
use crate::node::streams::{AcceptError, IncomingStreams, OpenError, PeerStream};

impl Handle {
    /// Opens a stream to a peer, dialing it when needed, with the first of
    /// `protocols` that it speaks: a direct connection rather than a relayed one.
    /// Dropping the future cancels.
    ///
    /// # Errors
    /// [`Error::UnsupportedProtocol`] when it speaks none, [`Error::Dial`] when it
    /// cannot be reached, [`Error::OpenStream`] when a limit or the connection is
    /// in the way.
    pub async fn open_stream(
        &self,
        peer: PeerId,
        protocols: &[StreamProtocol],
    ) -> Result<(PeerStream, StreamProtocol), Error> {
        self.streams
            .open(peer, protocols)
            .await
            .map_err(|e| match e {
                OpenError::Stopped => Error::Stopped,
                OpenError::Dial(reason) => Error::Dial {
                    target: peer.to_string(),
                    reason,
                },
                OpenError::Unsupported => {
                    let names: Vec<&str> = protocols.iter().map(AsRef::as_ref).collect();
                    Error::UnsupportedProtocol {
                        peer,
                        protocols: names.join(", "),
                    }
                }
                other => Error::OpenStream {
                    peer,
                    reason: Unreachable::new(of_opening(&other), other.to_string()),
                },
            })
    }

    /// Takes inbound streams of a protocol until the result is dropped.
    ///
    /// # Errors
    /// [`Error::ProtocolTaken`] when somebody else on this node takes them,
    /// [`Error::TooManyProtocols`].
    pub fn accept(&self, protocol: StreamProtocol) -> Result<IncomingStreams, Error> {
        self.streams.accept(protocol.clone()).map_err(|e| match e {
            AcceptError::Taken => Error::ProtocolTaken(protocol),
            AcceptError::TooMany(limit) => Error::TooManyProtocols(limit),
            AcceptError::Stopped => Error::Stopped,
        })
    }
}
