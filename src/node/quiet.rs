//! A protocol whose open streams are no reason to keep a connection.
//!
//! libp2p keeps a connection while any stream on it is open, unless the stream
//! says otherwise. gossipsub keeps a stream in each direction for as long as the
//! connection lives and does not say so (rust-libp2p issue 5190), so no idle
//! connection would ever close. Wrapped in this, its streams say so; what the
//! protocol itself wants kept (the peers of a mesh) stays. The streams also begin
//! without buffers, see [`Fresh`].

use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::Map;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade};
use libp2p::core::{Endpoint, UpgradeInfo};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
    InboundUpgradeSend, ListenUpgradeError, OutboundUpgradeSend, UpgradeInfoSend,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream};

use super::frames::Fresh;

/// See the module's documentation. A behaviour, its handler, or its upgrade.
#[derive(Clone, Debug)]
pub(super) struct Quiet<T>(pub(super) T);

impl<T> Deref for Quiet<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Quiet<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Quiet<B>
where
    Inbound<THandler<B>>: Fresh,
    Outbound<THandler<B>>: Fresh,
{
    type ConnectionHandler = Quiet<THandler<B>>;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.0.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0
            .handle_established_inbound_connection(id, peer, local, remote)
            .map(Quiet)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.0
            .handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0
            .handle_established_outbound_connection(id, peer, address, role, port_use)
            .map(Quiet)
    }

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

/// What a handler's upgrades come to.
type Inbound<H> = <<H as ConnectionHandler>::InboundProtocol as InboundUpgradeSend>::Output;
type Outbound<H> = <<H as ConnectionHandler>::OutboundProtocol as OutboundUpgradeSend>::Output;

impl<H: ConnectionHandler> ConnectionHandler for Quiet<H>
where
    Inbound<H>: Fresh,
    Outbound<H>: Fresh,
{
    type FromBehaviour = H::FromBehaviour;
    type ToBehaviour = H::ToBehaviour;
    type InboundProtocol = Quiet<H::InboundProtocol>;
    type OutboundProtocol = Quiet<H::OutboundProtocol>;
    type InboundOpenInfo = H::InboundOpenInfo;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        self.0.listen_protocol().map_upgrade(Quiet)
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
        self.0.poll(cx).map(|event| event.map_protocol(Quiet))
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
        // The same event, about the protocol inside.
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
            // A kind of event that this version of libp2p does not have.
            _ => return,
        });
    }
}

impl<U: UpgradeInfoSend> UpgradeInfo for Quiet<U> {
    type Info = U::Info;
    type InfoIter = U::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.protocol_info()
    }
}

/// The end of an upgrade, and what is done to it.
type Emptied<F, O, E> = Map<F, fn(Result<O, E>) -> Result<O, E>>;

fn emptied<O: Fresh, E>(result: Result<O, E>) -> Result<O, E> {
    result.map(Fresh::without_buffers)
}

impl<U: InboundUpgradeSend> InboundUpgrade<Stream> for Quiet<U>
where
    U::Output: Fresh,
{
    type Output = U::Output;
    type Error = U::Error;
    type Future = Emptied<U::Future, U::Output, U::Error>;

    fn upgrade_inbound(self, mut stream: Stream, info: U::Info) -> Self::Future {
        stream.ignore_for_keep_alive();
        self.0.upgrade_inbound(stream, info).map(emptied)
    }
}

impl<U: OutboundUpgradeSend> OutboundUpgrade<Stream> for Quiet<U>
where
    U::Output: Fresh,
{
    type Output = U::Output;
    type Error = U::Error;
    type Future = Emptied<U::Future, U::Output, U::Error>;

    fn upgrade_outbound(self, mut stream: Stream, info: U::Info) -> Self::Future {
        stream.ignore_for_keep_alive();
        self.0.upgrade_outbound(stream, info).map(emptied)
    }
}
