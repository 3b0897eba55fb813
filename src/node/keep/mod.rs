//! Peers whose connections are kept even when nothing uses them.
//!
//! Each side of a connection closes it when it was not used for
//! `P2P_CONNECTION_IDLE_TIMEOUT`. If only one side wants to keep it, the other
//! closes it again and again. So the two agree: the side that wants a connection
//! kept opens a stream of `/<network>/keep/1.0.0` and says with one byte why
//! ([`holds::Class`]). The other answers with one byte, yes or no. After a yes, both
//! sides keep the connection as long as the stream is open; either of them ends the
//! agreement by closing the stream.
//!
//! - The side that is asked says yes while it has [`room`], and always to trusted
//!   peers, to peers of `P2P_PEERING` and, for as long as it keeps them, to peers that
//!   it keeps itself.
//! - The side that is refused remembers that ([`refusals`]) and asks another peer. A
//!   peer that was only wanted for the floor is released at once, so that both sides
//!   close the connection in the same way when it is idle. An owner that needs this
//!   particular peer continues to hold it, and the peer is asked again after a pause.
//! - A peer that does not know the protocol is kept by this side alone, and it decides
//!   by what it does: if it closes a connection that was not open for long, that is
//!   remembered like a refusal.
//!
//! # How to keep a peer
//!
//! ```ignore
//! let keep = &mut self.swarm.behaviour_mut().keep;
//! keep.hold(&peer, Reason::Publishing, Some(now + Duration::from_secs(120)), now);
//! keep.release(&peer, Reason::Publishing, now);
//! ```
//!
//! Several owners can hold the same peer, each with its own [`Reason`] and with or
//! without an end; holding it again moves the end to a later time. Only connected
//! peers can be held ([`Behaviour::hold`] says whether it was), and a hold ends
//! with the peer's last connection, so nothing has to be cleaned up. Before
//! dialing a peer in order to hold it, ask [`Behaviour::is_refused`].
//! [`Event::Refused`] tells the loop to look for another peer.

mod handler;
mod holds;
mod refusals;
mod room;

use std::collections::{HashMap, HashSet, VecDeque};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};

use crate::node::compat::muxer_error::is_closed_by_remote;
use handler::{Handler, Number, Order, Report};
pub(super) use holds::Reason;
use holds::{Class, Holds};
use refusals::Refusals;
use room::{Origin, Room, Taken};

/// A request that was not answered for this long counts as refused.
const PATIENCE: Duration = Duration::from_secs(30);

/// A peer that was asked to keep a connection, and closes it before it was open for
/// this long, did not want it. This is ten idle timeouts of most implementations; a peer
/// that stops and starts again within this time is left alone for a minute.
const SHORT: Duration = Duration::from_secs(300);

/// What the event loop is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The peer keeps the connection too.
    Agreed(PeerId),
    /// The peer does not keep the connection, or no longer does.
    Refused(PeerId),
}

/// The state of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    None(Instant),
    Agreed,
    Refused,
    Foreign,
}

#[derive(Clone, Copy, Debug)]
struct Ask {
    connection: ConnectionId,
    number: Number,
    class: Class,
    answer: Answer,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    id: ConnectionId,
    relayed: bool,
    /// This node dialed it.
    dialed: bool,
    origin: Origin,
    since: Instant,
}

/// A connection that is kept because the peer asked.
#[derive(Clone, Copy, Debug)]
struct Accepted {
    connection: ConnectionId,
    grant: Grant,
}

/// Why a connection may be kept because the peer asked.
#[derive(Clone, Copy, Debug)]
enum Grant {
    /// It takes up room.
    Room(Origin),
    /// The peer does not need room: it is trusted, or in `P2P_PEERING`.
    Always,
    /// There was no room for a peer of this class, but this node holds it itself.
    Held(Class),
}

#[derive(Debug, Default)]
struct Peer {
    connections: Vec<Connection>,
    holds: Holds,
    ask: Option<Ask>,
    accepted: Option<Accepted>,
}

impl Peer {
    /// The connection to keep. A direct one is preferred, since a relay limits the
    /// connections through it. Of two dials that crossed, both sides choose the same, the
    /// one of the side with the smaller id (`ours` says whether that is this node), so
    /// that the other can end.
    fn best(&self, ours: bool) -> Option<ConnectionId> {
        let connections = self.connections.iter();
        let best = connections.min_by_key(|c| (c.relayed, c.dialed != ours));
        best.map(|c| c.id)
    }

    fn origin_of(&self, id: ConnectionId) -> Option<Origin> {
        let mut connections = self.connections.iter();
        connections.find(|c| c.id == id).map(|c| c.origin)
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Behaviour {
    local: PeerId,
    protocol: StreamProtocol,
    /// The connected peers, bounded by the limits on connections.
    peers: HashMap<PeerId, Peer>,
    refusals: Refusals,
    room: Room,
    /// Peers that do not need room.
    always: HashSet<PeerId>,
    /// Peers in `room`.
    taken: Taken,
    closed: bool,
    asks: Number,
    /// Events for the next polls; a few for each connection and turn of the loop.
    orders: VecDeque<ToSwarm<Event, Order>>,
}

impl Behaviour {
    /// Creates the behaviour of the node `local`, with room for a part of `connections`.
    /// `always` are the peers that are kept whenever they ask.
    pub(super) fn new(
        local: PeerId,
        protocol: StreamProtocol,
        connections: u32,
        always: impl IntoIterator<Item = PeerId>,
    ) -> Self {
        Behaviour {
            local,
            protocol,
            peers: HashMap::new(),
            refusals: Refusals::default(),
            room: Room::under(connections),
            always: always.into_iter().collect(),
            taken: Taken::default(),
            closed: false,
            asks: 0,
            orders: VecDeque::new(),
        }
    }

    /// Changes the limits. Connections that were accepted stay.
    pub(super) fn adjust(&mut self, connections: u32, always: impl IntoIterator<Item = PeerId>) {
        self.room = Room::under(connections);
        self.always = always.into_iter().collect();
    }

    /// Accepts no more requests, because the node is draining.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Keeps the connection with `peer` for `reason`, until `until` if that is given.
    /// Returns whether the peer is connected; otherwise nothing is done.
    pub(super) fn hold(
        &mut self,
        peer: &PeerId,
        reason: Reason,
        until: Option<Instant>,
        now: Instant,
    ) -> bool {
        let Some(entry) = self.peers.get_mut(peer) else {
            return false;
        };
        entry.holds.set(reason, until);
        self.settle(peer, now);
        true
    }

    /// Ends keeping the connection for `reason`.
    pub(super) fn release(&mut self, peer: &PeerId, reason: Reason, now: Instant) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.holds.clear(reason);
            self.settle(peer, now);
        }
    }

    /// Whether `peer` is held for `reason`.
    pub(super) fn holds(&self, peer: &PeerId, reason: Reason) -> bool {
        self.peers.get(peer).is_some_and(|p| p.holds.has(reason))
    }

    /// Whether the connection with `peer` stays open even when nothing uses it, as far
    /// as this node knows: the peer has agreed or asked for it itself, or it does
    /// not know the protocol and has not closed the connection yet.
    pub(super) fn is_kept(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|p| {
            let agreed = |ask: Ask| matches!(ask.answer, Answer::Agreed | Answer::Foreign);
            p.accepted.is_some() || p.ask.is_some_and(agreed)
        })
    }

    /// Whether this node itself has a reason to keep the connection with `peer`.
    pub(super) fn is_wanted(&self, peer: &PeerId) -> bool {
        let entry = self.peers.get(peer);
        entry.is_some_and(|p| p.holds.reasons().next().is_some())
    }

    /// Whether this node keeps the connection because `peer` asked for it.
    pub(super) fn is_accepted(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|p| p.accepted.is_some())
    }

    /// Why this node keeps the connection with `peer`, with one word for each of its own
    /// reasons, and `asked` if the peer asked for it.
    pub(super) fn reasons(&self, peer: &PeerId) -> Vec<&'static str> {
        let Some(entry) = self.peers.get(peer) else {
            return Vec::new();
        };
        let own = entry.holds.reasons().map(Reason::as_str);
        own.chain(entry.accepted.map(|_| "asked")).collect()
    }

    /// Whether `peer` refused recently, and should not be asked or dialed for this
    /// at `now`.
    pub(super) fn is_refused(&self, peer: &PeerId, now: Instant) -> bool {
        self.refusals.stands(peer, now)
    }

    /// Ends holds and asks again. Has to be called once a second.
    pub(super) fn tend(&mut self, now: Instant) {
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in peers {
            let Some(entry) = self.peers.get_mut(&peer) else {
                continue;
            };
            if entry.holds == Holds::default() {
                continue;
            }
            entry.holds.expire(now);
            let unanswered = |at: Instant| now.saturating_duration_since(at) >= PATIENCE;
            if matches!(entry.ask, Some(Ask { answer: Answer::None(at), .. }) if unanswered(at)) {
                self.refused(peer, now);
            }
            self.settle(&peer, now);
        }
    }

    /// Makes the handlers follow the holds of a peer.
    fn settle(&mut self, peer: &PeerId, now: Instant) {
        self.review(peer);
        let refused = self.refusals.stands(peer, now);
        let Some(entry) = self.peers.get_mut(peer) else {
            return;
        };
        let class = entry.holds.class();
        let best = entry.best(self.local < *peer);
        if let Some(ask) = entry.ask {
            let again =
                |class: Class| ask.answer == Answer::Refused && (class > ask.class || !refused);
            match class {
                Some(class) if Some(ask.connection) == best && !again(class) => return,
                Some(_) if Some(ask.connection) == best => {}
                _ => {
                    entry.ask = None;
                    notify(&mut self.orders, *peer, ask.connection, Order::Release);
                }
            }
        }
        let (Some(class), Some(connection)) = (class, best) else {
            return;
        };
        self.asks = self.asks.wrapping_add(1);
        entry.ask = Some(Ask {
            connection,
            number: self.asks,
            class,
            answer: Answer::None(now),
        });
        let order = Order::Hold(self.asks, class);
        notify(&mut self.orders, *peer, connection, order);
    }

    /// The peer does not keep the connection.
    fn refused(&mut self, peer: PeerId, now: Instant) {
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        if let Some(ask) = &mut entry.ask {
            ask.answer = Answer::Refused;
        }
        // Another peer can take its place, unlike that of peers that are needed themselves.
        entry.holds.clear(Reason::Floor);
        self.refusals.refused(peer, now, rand::random());
        self.orders
            .push_back(ToSwarm::GenerateEvent(Event::Refused(peer)));
    }

    /// This node disconnects from `peer`, and does not look for it again at once.
    pub(super) fn part(&mut self, peer: PeerId, now: Instant) {
        self.refusals.refused(peer, now, rand::random());
    }

    /// A peer that was held, or asked for it, has closed its last connection cleanly, which
    /// was open since `since`.
    fn left_alone(&mut self, peer: PeerId, since: Option<Instant>, now: Instant) {
        if since.is_some_and(|at| now.saturating_duration_since(at) < SHORT) {
            self.refusals.refused(peer, now, rand::random());
            let event = ToSwarm::GenerateEvent(Event::Refused(peer));
            self.orders.push_back(event);
        }
    }

    /// Why the connection with a peer that asks may be kept, if it may. A peer that this
    /// node holds itself is accepted without room.
    fn judge(&self, peer: &PeerId, origin: Origin, class: Class) -> Option<Grant> {
        let own = |p: &Peer| p.holds != Holds::default();
        if self.closed {
            return None;
        }
        if self.always.contains(peer) {
            return Some(Grant::Always);
        }
        if self.room.has(class, origin, &self.taken) {
            return Some(Grant::Room(origin));
        }
        let held = self.peers.get(peer).is_some_and(own);
        held.then_some(Grant::Held(class))
    }

    /// A peer that was accepted because this node held it, and is no longer held, needs
    /// room like others. Otherwise an attacker who makes many peers members of a topic for
    /// a moment each, one after another, would have them all kept.
    fn review(&mut self, peer: &PeerId) {
        let Some(entry) = self.peers.get(peer) else {
            return;
        };
        let Some(Accepted {
            connection,
            grant: Grant::Held(class),
        }) = entry.accepted
        else {
            return;
        };
        if entry.holds != Holds::default() {
            return;
        }
        let origin = entry.origin_of(connection);
        let grant = origin.and_then(|origin| self.judge(peer, origin, class));
        let Some(entry) = self.peers.get_mut(peer) else {
            return;
        };
        entry.accepted = grant.map(|grant| Accepted { connection, grant });
        match grant {
            Some(Grant::Room(origin)) => self.taken.add(origin),
            Some(_) => {}
            None => notify(&mut self.orders, *peer, connection, Order::Dismiss),
        }
    }

    fn left(&mut self, peer: &PeerId, id: ConnectionId) {
        let Some(entry) = self.peers.get_mut(peer) else {
            return;
        };
        if let Some(accepted) = entry.accepted.take_if(|a| a.connection == id)
            && let Grant::Room(origin) = accepted.grant
        {
            self.taken.remove(origin);
        }
    }

    fn report(&mut self, peer: PeerId, id: ConnectionId, report: Report, now: Instant) {
        match report {
            Report::Asked(class) => {
                // It asks again, perhaps on another connection.
                if let Some(before) = self.peers.get(&peer).and_then(|p| p.accepted) {
                    self.left(&peer, before.connection);
                }
                let origin = self.peers.get(&peer).and_then(|p| p.origin_of(id));
                let grant = origin.and_then(|origin| self.judge(&peer, origin, class));
                let Some(entry) = self.peers.get_mut(&peer) else {
                    return;
                };
                entry.accepted = grant.map(|grant| Accepted {
                    connection: id,
                    grant,
                });
                if let Some(Grant::Room(origin)) = grant {
                    self.taken.add(origin);
                }
                let accept = grant.is_some();
                notify(&mut self.orders, peer, id, Order::Answer(accept));
            }
            Report::Left => self.left(&peer, id),
            Report::Agreed(number) | Report::Refused(number) | Report::Foreign(number) => {
                let ask = self.peers.get_mut(&peer).and_then(|p| p.ask.as_mut());
                let Some(ask) = ask.filter(|a| a.number == number) else {
                    return;
                };
                match report {
                    Report::Agreed(_) => {
                        ask.answer = Answer::Agreed;
                        self.refusals.agreed(&peer);
                        let event = ToSwarm::GenerateEvent(Event::Agreed(peer));
                        self.orders.push_back(event);
                    }
                    Report::Foreign(_) => ask.answer = Answer::Foreign,
                    _ => {
                        self.refused(peer, now);
                        self.settle(&peer, now);
                    }
                }
            }
        }
    }
}

fn notify(
    orders: &mut VecDeque<ToSwarm<Event, Order>>,
    peer_id: PeerId,
    connection: ConnectionId,
    event: Order,
) {
    orders.push_back(ToSwarm::NotifyHandler {
        peer_id,
        handler: NotifyHandler::One(connection),
        event,
    });
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.protocol.clone()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.protocol.clone()))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(new) => {
                let entry = self.peers.entry(new.peer_id).or_default();
                let now = Instant::now();
                entry.connections.push(Connection {
                    id: new.connection_id,
                    relayed: new.endpoint.is_relayed(),
                    dialed: new.endpoint.is_dialer(),
                    origin: Origin::of(new.endpoint),
                    since: now,
                });
                self.settle(&new.peer_id, now);
            }
            FromSwarm::ConnectionClosed(old) => {
                let accepted = self.is_accepted(&old.peer_id);
                self.left(&old.peer_id, old.connection_id);
                let Some(entry) = self.peers.get_mut(&old.peer_id) else {
                    return;
                };
                let ended = |c: &Connection| c.id == old.connection_id;
                let since = entry.connections.iter().find(|c| ended(c)).map(|c| c.since);
                entry.connections.retain(|c| !ended(c));
                if entry.connections.is_empty() {
                    let held = entry.holds != Holds::default() || accepted;
                    self.peers.remove(&old.peer_id);
                    if held && old.cause.is_some_and(is_closed_by_remote) {
                        self.left_alone(old.peer_id, since, Instant::now());
                    }
                    return;
                }
                if entry.ask.is_some_and(|a| a.connection == old.connection_id) {
                    entry.ask = None;
                }
                self.settle(&old.peer_id, Instant::now());
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        report: THandlerOutEvent<Self>,
    ) {
        self.report(peer, id, report, Instant::now());
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        match self.orders.pop_front() {
            Some(order) => Poll::Ready(order),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests;
