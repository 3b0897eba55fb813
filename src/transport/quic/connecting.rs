//! A handshake until it has succeeded, was refused, or took too long.
//!
//! An inbound handshake begins when it is first polled, and not when its first packet
//! arrives. Until then nothing has been signed or decrypted for it. When it is dropped
//! before that (by the swarm, because the gate refuses the address), it has cost almost
//! nothing, and the remote is told that it was refused.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_timer::Delay;
use libp2p::PeerId;

use super::congestion::LastPacket;
use super::endpoint::Shared;
use super::handshakes::Permit;
use super::options::Grants;
use super::tls::{self, PeerVerifier};
use super::{Connection, Error, Options};

/// A QUIC connection whose handshake is under way. Dropping it ends the attempt and
/// tells the remote.
#[derive(Debug)]
pub struct Connecting {
    state: State,
    remote: SocketAddr,
    allowed: Duration,
    timeout: Delay,
    /// Outbound only: knows which peer was expected and which one answered.
    verifier: Option<Arc<PeerVerifier>>,
    last: LastPacket,
    /// What the remote may do once the connection is established.
    grants: Grants,
    /// Inbound only: held until the handshake has ended.
    _permit: Option<Permit>,
}

enum State {
    /// Nothing done yet; empty once it has begun.
    Arrived(Option<Box<(quinn::Incoming, Arc<Shared>)>>),
    Running(quinn::Connecting),
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Arrived(_) => "Arrived",
            State::Running(_) => "Running",
        })
    }
}

impl Connecting {
    pub(super) fn outbound(
        quinn: quinn::Connecting,
        remote: SocketAddr,
        verifier: Arc<PeerVerifier>,
        last: LastPacket,
        options: &Options,
    ) -> Self {
        let allowed = options.handshake_timeout;
        Self {
            state: State::Running(quinn),
            remote,
            allowed,
            timeout: Delay::new(allowed),
            verifier: Some(verifier),
            last,
            grants: options.grants(),
            _permit: None,
        }
    }

    pub(super) fn inbound(incoming: quinn::Incoming, shared: Arc<Shared>, permit: Permit) -> Self {
        let allowed = shared.options.handshake_timeout;
        Self {
            grants: shared.options.grants(),
            remote: incoming.remote_address(),
            state: State::Arrived(Some(Box::new((incoming, shared)))),
            allowed,
            timeout: Delay::new(allowed),
            verifier: None,
            last: LastPacket::default(),
            _permit: Some(permit),
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
        if let State::Arrived(incoming) = &mut this.state
            && let Some(arrived) = incoming.take()
        {
            let (incoming, shared) = *arrived;
            let config = Arc::new(shared.server_config(remote, &this.last));
            match incoming.accept_with(config) {
                Ok(connecting) => this.state = State::Running(connecting),
                Err(source) => return Poll::Ready(Err(Error::Handshake { remote, source })),
            }
        }
        let State::Running(quinn) = &mut this.state else {
            // It failed at its beginning, and should not be polled again.
            return Poll::Pending;
        };
        match Pin::new(quinn).poll(cx) {
            Poll::Ready(Ok(connection)) => Poll::Ready(match tls::remote_peer(&connection) {
                Ok(peer) => Ok((
                    peer,
                    Connection::new(connection, this.last.clone(), &this.grants),
                )),
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
