//! TLS 1.3 over a stream of bytes, with the settings that QUIC uses too.
//!
//! `libp2p-tls` has the certificates, but as the dialler it always puts
//! ChaCha20-Poly1305 first. Where the processor has instructions for AES, its
//! GCM takes a fraction of the time, and the cipher was half of the work of a
//! transfer (benches/README.md).

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use futures::{AsyncRead, AsyncWrite};
use futures_rustls::rustls::pki_types::{CertificateDer, ServerName};
use futures_rustls::rustls::{ClientConfig, ServerConfig};
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use libp2p::PeerId;
use libp2p::identity::Keypair;
use libp2p_tls::certificate;

use super::quic::{self, tls_client, tls_server};

/// TLS settings of one identity, shared by all its connections.
#[derive(Clone)]
pub(crate) struct Config {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Config {
    pub(crate) fn new(identity: &Keypair) -> Result<Self, quic::Error> {
        Ok(Config {
            client: Arc::new(tls_client(identity)?),
            server: Arc::new(tls_server(identity)?),
        })
    }

    /// The handshake of the side that was dialled.
    pub(crate) async fn accept<C>(self, socket: C) -> Result<(PeerId, TlsStream<C>), Error>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = TlsAcceptor::from(self.server)
            .accept(socket)
            .await
            .map_err(Error::Io)?;
        let peer = proven(stream.get_ref().1.peer_certificates())?;
        Ok((peer, stream.into()))
    }

    /// The handshake of the side that dialled.
    pub(crate) async fn connect<C>(self, socket: C) -> Result<(PeerId, TlsStream<C>), Error>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        // The specification allows no server name; an address sends none.
        let name = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
        let stream = TlsConnector::from(self.client)
            .connect(name, socket)
            .await
            .map_err(Error::Io)?;
        let peer = proven(stream.get_ref().1.peer_certificates())?;
        Ok((peer, stream.into()))
    }
}

/// The peer that the certificate of a completed handshake proves.
fn proven(chain: Option<&[CertificateDer<'_>]>) -> Result<PeerId, Error> {
    match chain {
        Some([alone]) => Ok(certificate::parse(alone)
            .map_err(Error::Certificate)?
            .peer_id()),
        _ => Err(Error::Chain),
    }
}

/// A TLS handshake that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The connection broke, or one side refused the other.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// The certificate proves no peer.
    #[error("the remote's certificate is not a libp2p one: {0}")]
    Certificate(#[source] certificate::ParseError),
    /// The chain of certificates is not exactly one certificate, as in libp2p.
    #[error("the remote presented no certificate or a chain of them, not a single one")]
    Chain,
}
