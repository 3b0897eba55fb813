//! Stops the open streams of a protocol from keeping connections.
//!
//! # What libp2p lacks
//!
//! libp2p keeps a connection while any stream on it is open, unless the stream's owner
//! calls [`Stream::ignore_for_keep_alive`]. Gossipsub keeps a stream in each direction
//! open for as long as the connection lives and does not call it
//! (<https://github.com/libp2p/rust-libp2p/issues/5190>), so no idle connection would ever
//! close.
//!
//! # What is done instead
//!
//! A behaviour that is wrapped in [`NoKeepAlive`] has the call made for each of its
//! streams, as they are negotiated. What the protocol itself wants to keep, such as the
//! connections with the peers of a mesh, stays. The streams also begin without buffers,
//! see [`lazy_buffers`](super::lazy_buffers). Those that this side opened are only written
//! to, and take nothing from the remote ([`one_way`]).
//!
//! # What would make this superfluous
//!
//! The solution of that issue.

use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::Map;
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
    InboundUpgradeSend, ListenUpgradeError, OutboundUpgradeSend, UpgradeInfoSend,
};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{PeerId, Stream};

use super::forward::forward_connections;
use super::lazy_buffers::WithoutBuffers;
use crate::transport::one_way;

/// A behaviour, its handler, or the upgrade of one of its streams.
#[derive(Clone, Debug)]
pub(in crate::node) struct NoKeepAlive<T>(pub(in crate::node) T);

impl<T> Deref for NoKeepAlive<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for NoKeepAlive<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for NoKeepAlive<B>
where
    Inbound<THandler<B>>: WithoutBuffers,
    Outbound<THandler<B>>: WithoutBuffers,
{
    type ConnectionHandler = NoKeepAlive<THandler<B>>;
    type ToSwarm = B::ToSwarm;

    forward_connections!(0, NoKeepAlive);

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.0.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.0.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.0.poll(cx)
    }
}

/// What the upgrades of a handler return.
type Inbound<H> = <<H as ConnectionHandler>::InboundProtocol as InboundUpgradeSend>::Output;
type Outbound<H> = <<H as ConnectionHandler>::OutboundProtocol as OutboundUpgradeSend>::Output;

impl<H: ConnectionHandler> ConnectionHandler for NoKeepAlive<H>
where
    Inbound<H>: WithoutBuffers,
    Outbound<H>: WithoutBuffers,
{
    type FromBehaviour = H::FromBehaviour;
    type ToBehaviour = H::ToBehaviour;
    type InboundProtocol = NoKeepAlive<H::InboundProtocol>;
    type OutboundProtocol = NoKeepAlive<H::OutboundProtocol>;
    type InboundOpenInfo = H::InboundOpenInfo;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        self.0.listen_protocol().map_upgrade(NoKeepAlive)
    }

    fn connection_keep_alive(&self) -> bool {
        self.0.connection_keep_alive()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<
        ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>,
    > {
        self.0.poll(cx).map(|event| event.map_protocol(NoKeepAlive))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.0.poll_close(cx)
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        self.0.on_behaviour_event(event);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            '_,
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        use ConnectionEvent as E;
        // The same event, with the types of the handler inside.
        self.0.on_connection_event(match event {
            E::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, info }) => {
                E::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, info })
            }
            E::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                E::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info })
            }
            E::DialUpgradeError(DialUpgradeError { info, error }) => {
                E::DialUpgradeError(DialUpgradeError { info, error })
            }
            E::ListenUpgradeError(ListenUpgradeError { info, error }) => {
                E::ListenUpgradeError(ListenUpgradeError { info, error })
            }
            E::AddressChange(change) => E::AddressChange(change),
            E::LocalProtocolsChange(change) => E::LocalProtocolsChange(change),
            E::RemoteProtocolsChange(change) => E::RemoteProtocolsChange(change),
            // This version of libp2p has no other kind of event.
            _ => return,
        });
    }
}

impl<U: UpgradeInfoSend> UpgradeInfo for NoKeepAlive<U> {
    type Info = U::Info;
    type InfoIter = U::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.protocol_info()
    }
}

/// An upgrade whose outcome loses its buffers.
type Emptied<F, O, E> = Map<F, fn(Result<O, E>) -> Result<O, E>>;

fn emptied<O: WithoutBuffers, E>(result: Result<O, E>) -> Result<O, E> {
    result.map(WithoutBuffers::without_buffers)
}

impl<U: InboundUpgradeSend> InboundUpgrade<Stream> for NoKeepAlive<U>
where
    U::Output: WithoutBuffers,
{
    type Output = U::Output;
    type Error = U::Error;
    type Future = Emptied<U::Future, U::Output, U::Error>;

    fn upgrade_inbound(self, mut stream: Stream, info: U::Info) -> Self::Future {
        stream.ignore_for_keep_alive();
        self.0.upgrade_inbound(stream, info).map(emptied)
    }
}

impl<U: OutboundUpgradeSend> OutboundUpgrade<Stream> for NoKeepAlive<U>
where
    U::Output: WithoutBuffers,
{
    type Output = U::Output;
    type Error = U::Error;
    type Future = Emptied<U::Future, U::Output, U::Error>;

    fn upgrade_outbound(self, mut stream: Stream, info: U::Info) -> Self::Future {
        stream.ignore_for_keep_alive();
        one_way::declare(&mut stream);
        self.0.upgrade_outbound(stream, info).map(emptied)
    }
}
