//! What can go wrong with QUIC, each as one line for a person.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use libp2p::PeerId;

/// A failure of the QUIC transport or of one of its connections.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// [`Options`](super::Options) contradict themselves.
    #[error("QUIC cannot start: {reason}")]
    Options {
        /// What is wrong and what would be right.
        reason: &'static str,
    },
    /// The certificate for the identity could not be made.
    #[error("cannot make the TLS certificate for this node's identity: {0}")]
    Certificate(#[from] libp2p_tls::certificate::GenError),
    /// The TLS library refused the settings.
    #[error("cannot set up TLS for this node's identity: {0}")]
    Tls(String),
    /// A UDP socket could not be opened.
    #[error("cannot open UDP socket {address}: {source}")]
    Bind {
        /// The local address that was asked for.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel's list of network interfaces could not be followed.
    #[error("cannot follow the network interfaces for {address}: {source}")]
    Interfaces {
        /// The wildcard address being listened on.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The socket of a listener failed for good.
    #[error("the UDP socket {address} stopped working; its listener is closed")]
    SocketLost {
        /// The local address of the socket.
        address: SocketAddr,
    },
    /// This host has no route to the remote.
    #[error("cannot dial {remote}: {source}")]
    Unreachable {
        /// The address dialled.
        remote: SocketAddr,
        /// The system's answer, such as "network is unreachable".
        source: io::Error,
    },
    /// quinn refused to begin the connection.
    #[error("cannot dial {remote}: {source}")]
    Dial {
        /// The address dialled.
        remote: SocketAddr,
        /// quinn's reason.
        source: quinn::ConnectError,
    },
    /// The handshake failed: wrong certificate, wrong protocol, refused, or cut.
    #[error("QUIC handshake with {remote} failed: {source}")]
    Handshake {
        /// The remote's address.
        remote: SocketAddr,
        /// quinn's reason.
        source: quinn::ConnectionError,
    },
    /// The handshake did not end in time.
    #[error("QUIC handshake with {remote} did not finish within {after:?}")]
    HandshakeTimeout {
        /// The remote's address.
        remote: SocketAddr,
        /// The time allowed.
        after: Duration,
    },
    /// The remote proved to be another peer than the expected one.
    #[error("expected peer {expected} at {remote}, but {found} answered")]
    WrongPeer {
        /// The remote's address.
        remote: SocketAddr,
        /// The peer in the dialled address.
        expected: Box<PeerId>,
        /// The peer that the remote's certificate proves.
        found: Box<PeerId>,
    },
    /// The remote's certificate is not one of libp2p.
    #[error("the certificate of {remote} is not a valid libp2p certificate: {reason}")]
    PeerCertificate {
        /// The remote's address.
        remote: SocketAddr,
        /// What is wrong with it.
        reason: String,
    },
    /// A hole punch needs a listening socket to punch from.
    #[error("cannot punch a hole to {remote}: no QUIC listener of that address family")]
    NoListener {
        /// The remote's address.
        remote: SocketAddr,
    },
    /// A hole punch to the same address is under way.
    #[error("a hole punch to {remote} is already under way")]
    HolePunchInProgress {
        /// The remote's address.
        remote: SocketAddr,
    },
    /// No connection came through the hole in time.
    #[error("no connection from {remote} came through within {after:?} of hole punching")]
    HolePunchTimeout {
        /// The remote's address.
        remote: SocketAddr,
        /// The time allowed.
        after: Duration,
    },
    /// An established connection ended.
    #[error("QUIC connection ended: {0}")]
    Connection(#[from] quinn::ConnectionError),
}

impl From<Error> for libp2p::core::transport::TransportError<Error> {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}
