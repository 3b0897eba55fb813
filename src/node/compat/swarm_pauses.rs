//! Makes the swarm return to its owner when one poll has taken its time.
//!
//! # What libp2p lacks
//!
//! The swarm handles what the connections report in a loop, which ends only when there is
//! something for its owner, or nothing more from any connection. Most reports are for
//! behaviours. Connections run on other threads and report anew meanwhile, so that a few
//! busy peers can keep the loop going.
//!
//! # What is done instead
//!
//! The swarm asks its behaviours in each round of that loop. This one has an event for
//! the owner as soon as the poll has taken its time, once in each poll. The event loop
//! then lets other tasks run.
//!
//! # What would make this superfluous
//!
//! A swarm that returns `Pending`, and wakes its task, after so many rounds.

use std::convert::Infallible;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::telemetry::coop;

/// The poll has taken its time.
#[derive(Debug)]
pub(in crate::node) struct Pause;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(in crate::node) struct Behaviour;

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Pause;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        let event: Infallible = event;
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Pause, THandlerInEvent<Self>>> {
        match coop::is_over() {
            true => Poll::Ready(ToSwarm::GenerateEvent(Pause)),
            false => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::time::Instant;

    use futures::StreamExt;
    use libp2p::core::transport::dummy::DummyTransport;
    use libp2p::core::{Transport as _, muxing::StreamMuxerBox};
    use libp2p::swarm::{Config, Swarm, SwarmEvent};

    use super::*;

    #[test]
    fn a_swarm_returns_when_its_poll_has_taken_its_time() {
        let transport = DummyTransport::<(PeerId, StreamMuxerBox)>::new().boxed();
        let config = Config::with_executor(|_| {});
        let mut swarm = Swarm::new(transport, Behaviour, PeerId::random(), config);
        let mut polls = 0;
        let mut task = coop::watch(
            "a test of pauses",
            poll_fn(move |cx| {
                polls += 1;
                let begun = Instant::now();
                assert!(swarm.select_next_some().now_or_pending(cx).is_pending());
                while begun.elapsed() <= coop::TIME {}
                let event = swarm.select_next_some().now_or_pending(cx);
                assert!(matches!(event, Poll::Ready(SwarmEvent::Behaviour(Pause))));
                match polls {
                    2 => Poll::Ready(()),
                    _ => Poll::Pending,
                }
            }),
        );
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut task).poll(&mut cx).is_pending());
        assert!(Pin::new(&mut task).poll(&mut cx).is_ready());
    }

    trait NowOrPending: Future + Unpin {
        fn now_or_pending(mut self, cx: &mut Context<'_>) -> Poll<Self::Output>
        where
            Self: Sized,
        {
            Pin::new(&mut self).poll(cx)
        }
    }

    impl<F: Future + Unpin> NowOrPending for F {}
}
