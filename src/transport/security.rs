//! The security handshake: TLS 1.3 or Noise, whichever both sides speak.
//!
//! Both prove the remote's peer id. Specifications:
//! <https://github.com/libp2p/specs/blob/master/tls/tls.md> and
//! <https://github.com/libp2p/specs/blob/master/noise/README.md>.

use std::iter::Flatten;

use futures::future::{BoxFuture, Either, FutureExt};
use futures::{AsyncRead, AsyncWrite};
use futures_rustls::TlsStream;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise};

use super::{BuildError, tls};

/// The security protocols to offer on connections that have none of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// TLS 1.3, and Noise for peers without it.
    #[default]
    Both,
    /// TLS 1.3 only.
    Tls,
    /// Noise only.
    Noise,
}

/// The security upgrade, for both directions. Cheap to clone, since clones share what is
/// large.
#[derive(Clone)]
pub(crate) struct Config {
    tls: tls::Config,
    noise: noise::Config,
    offer: Security,
}

impl Config {
    pub(crate) fn new(identity: &Keypair, offer: Security) -> Result<Self, BuildError> {
        Ok(Config {
            tls: tls::Config::new(identity)?,
            noise: noise::Config::new(identity)?,
            offer,
        })
    }
}

/// A security protocol, by its name in the negotiation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    /// TLS 1.3.
    Tls,
    /// Noise XX.
    Noise,
}

impl AsRef<str> for Protocol {
    fn as_ref(&self) -> &str {
        match self {
            Protocol::Tls => "/tls/1.0.0",
            Protocol::Noise => "/noise",
        }
    }
}

impl UpgradeInfo for Config {
    type Info = Protocol;
    type InfoIter = Flatten<std::array::IntoIter<Option<Protocol>, 2>>;

    fn protocol_info(&self) -> Self::InfoIter {
        let tls = (self.offer != Security::Noise).then_some(Protocol::Tls);
        let noise = (self.offer != Security::Tls).then_some(Protocol::Noise);
        [tls, noise].into_iter().flatten()
    }
}

type Channel<C> = Either<TlsStream<C>, noise::Output<C>>;

impl<C> InboundConnectionUpgrade<C> for Config
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = (PeerId, Channel<C>);
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Output, Error>>;

    fn upgrade_inbound(self, socket: C, protocol: Protocol) -> Self::Future {
        match protocol {
            Protocol::Tls => {
                let done = self.tls.accept(socket);
                async move {
                    done.await
                        .map(|(p, s)| (p, Either::Left(s)))
                        .map_err(Error::Tls)
                }
                .boxed()
            }
            Protocol::Noise => {
                let done = self.noise.upgrade_inbound(socket, "/noise");
                async move {
                    done.await
                        .map(|(p, s)| (p, Either::Right(s)))
                        .map_err(Error::Noise)
                }
                .boxed()
            }
        }
    }
}

impl<C> OutboundConnectionUpgrade<C> for Config
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = (PeerId, Channel<C>);
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Output, Error>>;

    fn upgrade_outbound(self, socket: C, protocol: Protocol) -> Self::Future {
        match protocol {
            Protocol::Tls => {
                let done = self.tls.connect(socket);
                async move {
                    done.await
                        .map(|(p, s)| (p, Either::Left(s)))
                        .map_err(Error::Tls)
                }
                .boxed()
            }
            Protocol::Noise => {
                let done = self.noise.upgrade_outbound(socket, "/noise");
                async move {
                    done.await
                        .map(|(p, s)| (p, Either::Right(s)))
                        .map_err(Error::Noise)
                }
                .boxed()
            }
        }
    }
}

/// A security handshake that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The TLS handshake failed, or the remote's certificate is not a libp2p one.
    #[error("TLS handshake: {0}")]
    Tls(#[source] tls::Error),
    /// The Noise handshake failed.
    #[error("Noise handshake: {0}")]
    Noise(#[source] noise::Error),
}
