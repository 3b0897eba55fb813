//! Checks whether a peer's older connections still work when a new one is established.
//!
//! A host that lost its power, or a QUIC peer whose process was killed, does not say
//! goodbye. When it comes back within seconds, its new connection exists beside those
//! from before. These would be considered good until they time out (30 s of silence for
//! QUIC, longer for TCP), and what is sent on them in the meantime would be lost. So the
//! node tries to negotiate a stream on each of them. Any answer shows that the connection
//! works, even the answer that the protocol is unknown. The request alone ends most dead
//! connections at once, since a host answers it with a reset. Those without an answer are
//! closed after [`PATIENCE`].
//!
//! Peers with good reasons for a second connection (a direct one after one through a
//! relay, or two dials at the same time) answer, and nothing happens.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{DeniedUpgrade, ReadyUpgrade};
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId,
    FromSwarm, NetworkBehaviour, NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol, ping};

use crate::peers::Policy;
use crate::peers::record::Record;

/// How long an older connection may take to answer. On a busy link with deep buffers this
/// takes a few seconds, so it is 10 s. If a working connection is closed, that costs a
/// retry, and there is a newer one.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Behaviour {
    /// The policy, which knows the connections of each peer. The gate has recorded a new
    /// one there before this behaviour is told of it.
    policy: Policy,
    /// The orders for the handlers: at most one for each connection, which is taken at
    /// the next poll.
    orders: VecDeque<ToSwarm<Infallible, Probe>>,
}

/// Tells a handler to ask now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe;

/// Reports from a handler that no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Silent;

impl Behaviour {
    /// Returns a behaviour that checks the connections that `policy` knows.
    pub(super) fn new(policy: Policy) -> Self {
        Behaviour {
            policy,
            orders: VecDeque::new(),
        }
    }

    fn connections(&self, peer: &PeerId) -> Vec<ConnectionId> {
        let ids = |record: &Record| record.connections().map(|(id, _)| id).collect();
        self.policy.record(peer, ids).unwrap_or_default()
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let FromSwarm::ConnectionEstablished(new) = event else {
            return;
        };
        for older in self.connections(&new.peer_id) {
            if older != new.connection_id {
                self.orders.push_back(ToSwarm::NotifyHandler {
                    peer_id: new.peer_id,
                    handler: NotifyHandler::One(older),
                    event: Probe,
                });
            }
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        Silent: THandlerOutEvent<Self>,
    ) {
        // The last connection is left to its time-outs: whatever is wrong with it, no
        // newer one has taken its place.
        if self.connections(&peer).len() > 1 {
            log::debug!(peer:% = peer; "a connection of an earlier life of this peer is closed");
            self.orders.push_back(ToSwarm::CloseConnection {
                peer_id: peer,
                connection: CloseConnection::One(id),
            });
        }
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        match self.orders.pop_front() {
            Some(order) => Poll::Ready(order),
            None => Poll::Pending,
        }
    }
}

/// The part of this behaviour in each connection.
#[derive(Debug, Default)]
pub(super) struct Handler {
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Quiet,
    /// The request is due at the next poll.
    Due,
    Asked,
    /// No answer came, which is to be reported at the next poll.
    Unanswered,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Probe;
    type ToBehaviour = Silent;
    type InboundProtocol = DeniedUpgrade;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
        SubstreamProtocol::new(DeniedUpgrade, ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Silent>> {
        match self.state {
            State::Quiet | State::Asked => Poll::Pending,
            State::Due => {
                self.state = State::Asked;
                // Every peer knows this protocol, and ends the stream quietly when
                // nothing follows.
                let protocol = ReadyUpgrade::new(ping::PROTOCOL_NAME);
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                    protocol: SubstreamProtocol::new(protocol, ()).with_timeout(PATIENCE),
                })
            }
            State::Unanswered => {
                self.state = State::Quiet;
                Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(Silent))
            }
        }
    }

    fn on_behaviour_event(&mut self, Probe: Probe) {
        if self.state == State::Quiet {
            self.state = State::Due;
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, DeniedUpgrade, Self::OutboundProtocol>,
    ) {
        match event {
            ConnectionEvent::DialUpgradeError(DialUpgradeError {
                error: StreamUpgradeError::Timeout,
                ..
            }) => self.state = State::Unanswered,
            // Either a stream or the reason why there is none: both show that the peer
            // has answered.
            ConnectionEvent::FullyNegotiatedOutbound(_) | ConnectionEvent::DialUpgradeError(_) => {
                self.state = State::Quiet;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::core::ConnectedPoint;
    use libp2p::swarm::behaviour::ConnectionEstablished;
    use std::time::Instant;

    use crate::peers::record::Connection;

    fn endpoint() -> ConnectedPoint {
        ConnectedPoint::Listener {
            local_addr: Multiaddr::empty(),
            send_back_addr: Multiaddr::empty(),
        }
    }

    fn opened(probe: &mut Behaviour, peer_id: PeerId, id: usize) {
        let (connection_id, endpoint) = (ConnectionId::new_unchecked(id), endpoint());
        // The gate does the same before other behaviours are told of the connection.
        let connection = Connection::new(&endpoint, Instant::now());
        probe
            .policy
            .write(|peers| peers.opened(peer_id, connection_id, connection));
        probe.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id,
            connection_id,
            endpoint: &endpoint,
            failed_addresses: &[],
            other_established: 0,
        }));
    }

    fn closed(probe: &mut Behaviour, peer: PeerId, id: usize) {
        let id = ConnectionId::new_unchecked(id);
        probe.policy.write(|peers| peers.closed(&peer, id)).unwrap();
    }

    fn next(probe: &mut Behaviour) -> Option<ToSwarm<Infallible, Probe>> {
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        match probe.poll(&mut cx) {
            Poll::Ready(order) => Some(order),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_new_connection_has_the_older_ones_of_its_peer_asked() {
        let (mut probe, peer) = (Behaviour::new(Policy::default()), PeerId::random());
        opened(&mut probe, peer, 1);
        opened(&mut probe, PeerId::random(), 2);
        assert!(next(&mut probe).is_none());
        opened(&mut probe, peer, 3);
        let asked = next(&mut probe);
        let Some(ToSwarm::NotifyHandler {
            peer_id,
            handler: NotifyHandler::One(id),
            event: Probe,
        }) = asked
        else {
            panic!("{asked:?}");
        };
        assert_eq!((peer_id, id), (peer, ConnectionId::new_unchecked(1)));
        assert!(next(&mut probe).is_none());
    }

    #[test]
    fn a_silent_one_is_closed_unless_it_is_the_last() {
        let (mut probe, peer) = (Behaviour::new(Policy::default()), PeerId::random());
        opened(&mut probe, peer, 1);
        opened(&mut probe, peer, 2);
        assert!(next(&mut probe).is_some());
        probe.on_connection_handler_event(peer, ConnectionId::new_unchecked(1), Silent);
        assert!(matches!(
            next(&mut probe),
            Some(ToSwarm::CloseConnection { connection: CloseConnection::One(id), .. })
                if id == ConnectionId::new_unchecked(1)
        ));
        closed(&mut probe, peer, 1);
        probe.on_connection_handler_event(peer, ConnectionId::new_unchecked(2), Silent);
        assert!(next(&mut probe).is_none());
    }

    #[test]
    fn only_silence_counts() {
        let mut handler = Handler::default();
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        for (error, silent) in [
            (StreamUpgradeError::Timeout, true),
            (StreamUpgradeError::NegotiationFailed, false),
            (
                StreamUpgradeError::Io(std::io::Error::other("reset")),
                false,
            ),
        ] {
            handler.on_behaviour_event(Probe);
            assert!(matches!(
                handler.poll(&mut cx),
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { .. })
            ));
            // It has been asked already.
            handler.on_behaviour_event(Probe);
            assert!(handler.poll(&mut cx).is_pending());
            handler.on_connection_event(ConnectionEvent::DialUpgradeError(DialUpgradeError {
                info: (),
                error,
            }));
            assert_eq!(handler.poll(&mut cx).is_ready(), silent);
            assert!(handler.poll(&mut cx).is_pending());
        }
    }
}
