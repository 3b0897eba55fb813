//! A handshake until it is done, refused or late.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_timer::Delay;
use libp2p::PeerId;

use super::admission::Place;
use super::congestion::LastPacket;
use super::tls::{self, PeerVerifier};
use super::{Connection, Error};

/// A QUIC connection whose handshake is under way. Dropping it gives the
/// attempt up and tells the remote.
#[derive(Debug)]
pub struct Connecting {
    quinn: quinn::Connecting,
    remote: SocketAddr,
    allowed: Duration,
    timeout: Delay,
    /// Outbound only: knows who was asked for and who answered.
    verifier: Option<Arc<PeerVerifier>>,
    last: LastPacket,
    /// Inbound only: held until the handshake has ended.
    _place: Option<Place>,
}

impl Connecting {
    pub(super) fn outbound(
        quinn: quinn::Connecting,
        remote: SocketAddr,
        verifier: Arc<PeerVerifier>,
        last: LastPacket,
        allowed: Duration,
    ) -> Self {
        Self {
            quinn,
            remote,
            allowed,
            timeout: Delay::new(allowed),
            verifier: Some(verifier),
            last,
            _place: None,
        }
    }

    pub(super) fn inbound(
        quinn: quinn::Connecting,
        place: Place,
        last: LastPacket,
        allowed: Duration,
    ) -> Self {
        Self {
            remote: quinn.remote_address(),
            quinn,
            allowed,
            timeout: Delay::new(allowed),
            verifier: None,
            last,
            _place: Some(place),
        }
    }

    pub(super) fn remote_address(&self) -> SocketAddr {
        self.remote
    }

    fn failed(&self, source: quinn::ConnectionError) -> Error {
        let remote = self.remote;
        match self.verifier.as_ref().and_then(|v| v.mismatch()) {
            Some((expected, found)) => Error::WrongPeer {
                remote,
                expected: expected.into(),
                found: found.into(),
            },
            None => Error::Handshake { remote, source },
        }
    }
}

impl Future for Connecting {
    type Output = Result<(PeerId, Connection), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let remote = this.remote;
        match Pin::new(&mut this.quinn).poll(cx) {
            Poll::Ready(Ok(connection)) => Poll::Ready(match tls::remote_peer(&connection) {
                Ok(peer) => Ok((peer, Connection::new(connection, this.last.clone()))),
                Err(reason) => Err(Error::PeerCertificate { remote, reason }),
            }),
            Poll::Ready(Err(source)) => Poll::Ready(Err(this.failed(source))),
            Poll::Pending => Pin::new(&mut this.timeout).poll(cx).map(|()| {
                Err(Error::HandshakeTimeout {
                    remote,
                    after: this.allowed,
                })
            }),
        }
    }
}
