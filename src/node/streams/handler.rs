//! The part in each connection, which negotiates streams in both directions.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
};
use libp2p::{PeerId, Stream, StreamProtocol};

use super::Ask;
use super::acceptors::{Acceptors, Names};
use super::control::OpenError;
use super::slots::Slots;
use super::stream::{PeerStream, Terms};

/// What the behaviour tells a handler.
#[derive(Debug)]
pub(in crate::node) enum Order {
    /// Open a stream.
    Open(Ask),
    /// The accepted protocols have changed. It is enough to wake the connection: it
    /// compares them whenever it is polled, and identify tells the peer.
    Protocols,
}

#[derive(Debug)]
pub(in crate::node) struct Handler {
    peer: PeerId,
    relayed: bool,
    terms: Terms,
    acceptors: Arc<Acceptors>,
    /// The number of streams that the peer opened and that are in use here.
    inbound: Slots,
    /// The accepted protocols as they were last seen.
    version: u64,
    names: Names,
    /// Requests that were not passed to the connection yet, which happens at its next
    /// poll. Bounded by the streams that the behaviour allows for the connection.
    asks: VecDeque<Ask>,
}

impl Handler {
    pub(super) fn new(
        peer: PeerId,
        relayed: bool,
        terms: Terms,
        acceptors: Arc<Acceptors>,
        inbound: Slots,
    ) -> Self {
        let (version, names) = acceptors.names();
        Handler {
            peer,
            relayed,
            terms,
            acceptors,
            inbound,
            version,
            names,
            asks: VecDeque::new(),
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Order;
    type ToBehaviour = Infallible;
    type InboundProtocol = Upgrade;
    type OutboundProtocol = Upgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Ask;

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade, ()> {
        // A stream may arrive before the command that announces its protocol.
        let names = if self.acceptors.version() == self.version {
            self.names.clone()
        } else {
            self.acceptors.names().1
        };
        SubstreamProtocol::new(Upgrade(names), ())
    }

    fn connection_keep_alive(&self) -> bool {
        !self.asks.is_empty()
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Upgrade, Ask, Infallible>> {
        if self.acceptors.version() != self.version {
            (self.version, self.names) = self.acceptors.names();
        }
        while let Some(ask) = self.asks.pop_front() {
            if ask.reply.is_canceled() {
                continue;
            }
            let upgrade = Upgrade(ask.protocols.clone());
            let patience = ask.patience();
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(upgrade, ask).with_timeout(patience),
            });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, order: Order) {
        match order {
            Order::Open(ask) => self.asks.push_back(ask),
            Order::Protocols => {}
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Upgrade, Upgrade, (), Ask>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol),
                info: (),
            }) => {
                // Bounded by the connection (P2P_MAX_INBOUND_STREAMS).
                let slot = self.inbound.take(usize::MAX);
                let stream = PeerStream::new(stream, self.peer, self.relayed, &self.terms, slot);
                self.acceptors.deliver(self.peer, &protocol, stream);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, protocol),
                info: ask,
            }) => {
                let stream =
                    PeerStream::new(stream, self.peer, self.relayed, &self.terms, ask.stream);
                // If nobody waits for the stream any more, it comes back here and is reset
                // when it is dropped.
                let _ = ask.reply.send(Ok((stream, protocol)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, info: ask }) => {
                let error = match error {
                    StreamUpgradeError::Timeout => OpenError::Timeout(ask.patience()),
                    StreamUpgradeError::NegotiationFailed => OpenError::Unsupported,
                    StreamUpgradeError::Io(e) => OpenError::Io(e),
                    StreamUpgradeError::Apply(never) => match never {},
                };
                ask.fail(error);
            }
            _ => {}
        }
    }
}

/// Proposes or accepts protocols, and results in the bare stream.
#[derive(Clone, Debug)]
pub(in crate::node) struct Upgrade(Names);

impl UpgradeInfo for Upgrade {
    type Info = StreamProtocol;
    type InfoIter = Each;

    fn protocol_info(&self) -> Each {
        Each {
            names: self.0.clone(),
            next: 0,
        }
    }
}

impl InboundUpgrade<Stream> for Upgrade {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl OutboundUpgrade<Stream> for Upgrade {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

/// Iterates over shared names without copying the list, since libp2p asks for it
/// whenever it polls a connection.
#[derive(Debug)]
pub(in crate::node) struct Each {
    names: Names,
    next: usize,
}

impl Iterator for Each {
    type Item = StreamProtocol;

    fn next(&mut self) -> Option<StreamProtocol> {
        let name = self.names.get(self.next)?;
        self.next += 1;
        Some(name.clone())
    }
}
