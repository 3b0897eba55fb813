//! Security without any: both sides say who they are, and are believed.
//!
//! Thousands of nodes share two cores here, and all of them are ours. With it the
//! figures are those of the node and not of its ciphers, which have benches of
//! their own.

use std::io;
use std::iter;

use futures::future::{BoxFuture, FutureExt};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::PeerId;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};

/// See the module's page.
#[derive(Clone, Copy)]
pub(crate) struct Plain(pub(crate) PeerId);

impl UpgradeInfo for Plain {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/simulation/plain/1.0.0")
    }
}

async fn introduce<C>(own: PeerId, mut socket: C) -> io::Result<(PeerId, C)>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let name = own.to_bytes();
    let mut message = vec![name.len() as u8];
    message.extend(name);
    socket.write_all(&message).await?;
    socket.flush().await?;
    let mut length = [0];
    socket.read_exact(&mut length).await?;
    let mut name = vec![0; length[0].into()];
    socket.read_exact(&mut name).await?;
    let peer = PeerId::from_bytes(&name).map_err(io::Error::other)?;
    Ok((peer, socket))
}

impl<C> InboundConnectionUpgrade<C> for Plain
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Output = (PeerId, C);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<(PeerId, C)>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        introduce(self.0, socket).boxed()
    }
}

impl<C> OutboundConnectionUpgrade<C> for Plain
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Output = (PeerId, C);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<(PeerId, C)>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        introduce(self.0, socket).boxed()
    }
}
