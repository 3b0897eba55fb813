//! Keeps the connection handlers of all protocols on the heap once, behind a pointer.
//!
//! # What libp2p lacks
//!
//! libp2p runs each connection in a task of its own, and moves the handler of the
//! connection by value. The compiler reserves room for it in that task at every step that
//! holds it: as it is handed over, as it is polled, and as it is closed. The handlers of
//! all protocols together take some kilobytes, so that the task of one idle connection
//! was 26,184 bytes. Each event on its way to or from a handler is as large as the
//! largest event of all protocols, and each queue of events holds room for one.
//!
//! # What is done instead
//!
//! A behaviour that is wrapped in [`BoxedHandlers`] hands over its handlers and their
//! events in boxes, so that what moves is a pointer.
//!
//! # What would make this superfluous
//!
//! A swarm that boxes the handler itself. The last test here fails when the task of a
//! connection no longer grows with its handler.
//! No issue asks for it.

use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll};

use libp2p::PeerId;
use libp2p::swarm::handler::ConnectionEvent;
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};

use super::forward::forward_connections;

/// A behaviour whose handlers and events move behind pointers.
#[derive(Debug)]
pub(in crate::node) struct BoxedHandlers<B>(pub(in crate::node) B);

impl<B> Deref for BoxedHandlers<B> {
    type Target = B;

    fn deref(&self) -> &B {
        &self.0
    }
}

impl<B> DerefMut for BoxedHandlers<B> {
    fn deref_mut(&mut self) -> &mut B {
        &mut self.0
    }
}

/// A handler behind a pointer.
#[derive(Debug)]
pub(in crate::node) struct Handler<H>(Box<H>);

impl<H> Handler<H> {
    fn new(handler: H) -> Self {
        Handler(Box::new(handler))
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for BoxedHandlers<B> {
    type ConnectionHandler = Handler<THandler<B>>;
    type ToSwarm = B::ToSwarm;

    forward_connections!(0, Handler::new);

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.0.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.0.on_connection_handler_event(peer, id, *event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.0.poll(cx).map(|order| order.map_in(Box::new))
    }
}

impl<H: ConnectionHandler> ConnectionHandler for Handler<H> {
    type FromBehaviour = Box<H::FromBehaviour>;
    type ToBehaviour = Box<H::ToBehaviour>;
    type InboundProtocol = H::InboundProtocol;
    type OutboundProtocol = H::OutboundProtocol;
    type InboundOpenInfo = H::InboundOpenInfo;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        self.0.listen_protocol()
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
        self.0.poll(cx).map(|event| event.map_custom(Box::new))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.0.poll_close(cx).map(|event| event.map(Box::new))
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        self.0.on_behaviour_event(*event);
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
        self.0.on_connection_event(event);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};

    use async_std::task::{block_on, spawn};
    use futures::StreamExt;
    use libp2p::core::Endpoint;
    use libp2p::core::transport::{MemoryTransport, PortUse};
    use libp2p::core::upgrade::DeniedUpgrade;
    use libp2p::core::upgrade::Version;
    use libp2p::identity::Keypair;
    use libp2p::swarm::{ConnectionDenied, SwarmEvent};
    use libp2p::{Multiaddr, Swarm, Transport, noise, swarm};

    use super::*;
    use crate::node::behaviour::Behaviour;
    use crate::transport::yamux;

    type Protocols = THandler<Behaviour>;

    #[test]
    fn all_protocols_of_a_connection_are_a_pointer_and_so_are_their_events() {
        let pointer = size_of::<usize>();
        assert_eq!(size_of::<Handler<Protocols>>(), pointer);
        assert_eq!(
            size_of::<THandlerInEvent<BoxedHandlers<Behaviour>>>(),
            pointer
        );
        assert_eq!(
            size_of::<THandlerOutEvent<BoxedHandlers<Behaviour>>>(),
            pointer
        );
        // What is behind the pointer, of which every connection has one: with room
        // for handlers that are added later.
        let behind = size_of::<Protocols>();
        assert!(behind <= 10 << 10, "{behind} bytes");
    }

    /// A swarm that notes how large the tasks are that it spawns.
    fn swarm<B: NetworkBehaviour>(behaviour: B, largest: Arc<Mutex<usize>>) -> Swarm<B> {
        let identity = Keypair::generate_ed25519();
        let transport = MemoryTransport::default()
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&identity).unwrap())
            .multiplex(yamux::Config::new(8, 8))
            .boxed();
        let local = identity.public().to_peer_id();
        let note = move |task: Pin<Box<dyn Future<Output = ()> + Send>>| {
            let mut largest = largest.lock().unwrap();
            *largest = (*largest).max(size_of_val(&*task));
            spawn(task);
        };
        Swarm::new(
            transport,
            behaviour,
            local,
            swarm::Config::with_executor(note),
        )
    }

    /// A behaviour whose handlers are as large as those of all protocols.
    struct Large;

    impl NetworkBehaviour for Large {
        type ConnectionHandler = LargeHandler;
        type ToSwarm = Infallible;

        fn handle_established_inbound_connection(
            &mut self,
            _: ConnectionId,
            _: PeerId,
            _: &Multiaddr,
            _: &Multiaddr,
        ) -> Result<LargeHandler, ConnectionDenied> {
            Ok(LargeHandler([0; 8 << 10]))
        }

        fn handle_established_outbound_connection(
            &mut self,
            _: ConnectionId,
            _: PeerId,
            _: &Multiaddr,
            _: Endpoint,
            _: PortUse,
        ) -> Result<LargeHandler, ConnectionDenied> {
            Ok(LargeHandler([0; 8 << 10]))
        }

        fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

        fn on_connection_handler_event(
            &mut self,
            _: PeerId,
            _: ConnectionId,
            event: THandlerOutEvent<Self>,
        ) {
            match event {}
        }

        fn poll(
            &mut self,
            _: &mut Context<'_>,
        ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
            Poll::Pending
        }
    }

    struct LargeHandler([u8; 8 << 10]);

    impl ConnectionHandler for LargeHandler {
        type FromBehaviour = Infallible;
        type ToBehaviour = Infallible;
        type InboundProtocol = DeniedUpgrade;
        type OutboundProtocol = DeniedUpgrade;
        type InboundOpenInfo = ();
        type OutboundOpenInfo = ();

        fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
            SubstreamProtocol::new(DeniedUpgrade, ())
        }

        fn connection_keep_alive(&self) -> bool {
            self.0[0] == 0
        }

        fn poll(
            &mut self,
            _: &mut Context<'_>,
        ) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, (), Infallible>> {
            Poll::Pending
        }

        fn on_behaviour_event(&mut self, event: Infallible) {
            match event {}
        }

        fn on_connection_event(
            &mut self,
            _: ConnectionEvent<'_, DeniedUpgrade, DeniedUpgrade, (), ()>,
        ) {
        }
    }

    fn is_established<E>(event: &SwarmEvent<E>) -> bool {
        matches!(event, SwarmEvent::ConnectionEstablished { .. })
    }

    /// Bytes of the largest task behind a connection between two such behaviours.
    fn largest_task<B: NetworkBehaviour>(make: impl Fn() -> B) -> usize {
        let largest = Arc::<Mutex<usize>>::default();
        let mut listener = swarm(make(), largest.clone());
        let mut dialer = swarm(make(), largest.clone());
        block_on(async {
            listener.listen_on("/memory/0".parse().unwrap()).unwrap();
            let address = loop {
                if let SwarmEvent::NewListenAddr { address, .. } = listener.next().await.unwrap() {
                    break address;
                }
            };
            dialer.dial(address).unwrap();
            let mut connected = 0;
            while connected < 2 {
                let established = futures::select! {
                    event = listener.select_next_some() => is_established(&event),
                    event = dialer.select_next_some() => is_established(&event),
                };
                connected += u32::from(established);
            }
        });
        *largest.lock().unwrap()
    }

    #[test]
    fn the_task_of_a_connection_does_not_grow_with_its_protocols() {
        let (bare, boxed) = (
            largest_task(|| Large),
            largest_task(|| BoxedHandlers(Large)),
        );
        assert!(
            bare > 2 * (8 << 10),
            "{bare} bytes: this file is not needed any more"
        );
        assert!(boxed < 4 << 10, "{boxed} bytes");
    }
}
