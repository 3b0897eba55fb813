//! What the subsystems of the event loop ask it to do.
//!
//! Each subsystem is a type with private state in a file of its own. It gets the events
//! that belong to it, and reads the rest of the node through a [`View`]. A subsystem that
//! speaks a protocol also borrows the behaviour of that protocol, and no other. It never
//! holds the swarm. What it wants done there it returns as effects, and the loop carries
//! these out in order before it takes the next event. The reply to a request is not an
//! effect: it goes through a channel for one value, which neither waits nor fails, so the
//! subsystem sends it itself.

use std::time::{Instant, SystemTime};

use libp2p::core::transport::ListenerId;
use libp2p::gossipsub::TopicHash;
use libp2p::kad::{QueryId, RecordKey};
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};

use super::keep::Reason;
use super::peers::connected::Connected;
use super::reply::Reply;
use crate::peers::Conduct;
use crate::system::moment::Moment;

/// What every subsystem may read.
#[derive(Clone, Copy)]
pub(in crate::node) struct View<'a> {
    /// The time of this turn of the loop, by the monotonic clock. A subsystem reads no
    /// clock of its own.
    pub(in crate::node) now: Instant,
    /// The same time by the clock of the day, for what is remembered over a restart.
    pub(in crate::node) wall: SystemTime,
    /// This node's own peer id.
    pub(in crate::node) local: PeerId,
    /// Whether the node is draining.
    pub(in crate::node) draining: bool,
    /// The connected peers.
    pub(in crate::node) peers: &'a Connected,
}

impl View<'_> {
    /// Returns the time of this turn by both clocks.
    pub(in crate::node) fn moment(&self) -> Moment {
        Moment {
            mono: self.now,
            wall: self.wall,
        }
    }
}

/// What a subsystem asks the loop to do. See the module's documentation.
#[derive(Debug)]
#[must_use]
pub(in crate::node) enum Effect {
    /// Dial a peer. If that fails at once, `by` is told.
    Dial {
        /// The peer, and how to dial it.
        opts: Box<DialOpts>,
        /// The part of the node that wants it.
        by: Dialer,
    },
    /// Close all connections with a peer, and end the dials of it.
    Disconnect(PeerId),
    /// Close one connection.
    Close(ConnectionId),
    /// Keep the connections with a peer even if nothing uses them.
    Hold {
        /// The peer.
        peer: PeerId,
        /// The reason.
        reason: Reason,
        /// The time until which they are kept; `None` for no end.
        until: Option<Instant>,
    },
    /// Do not keep the connections for this reason any longer.
    Release {
        /// The peer.
        peer: PeerId,
        /// The reason for which they were kept.
        reason: Reason,
    },
    /// Tell the policy for peers what a peer has done.
    Report {
        /// The peer.
        peer: PeerId,
        /// What it has done.
        conduct: Conduct,
    },
    /// Listen at an address. `wanted_by` is told the result.
    Listen {
        /// The address.
        address: Multiaddr,
        /// The part of the node that wants it.
        wanted_by: ListenFor,
    },
    /// Stop listening there.
    RemoveListener(ListenerId),
    /// Tell others that they can dial this address.
    AddExternalAddress(Multiaddr),
    /// Stop telling others that they can dial this address.
    RemoveExternalAddress(Multiaddr),
    /// Dial the bootstrap peers soon, because the network is needed.
    EnterNetwork,
    /// Do the same, and look for other peers.
    FindPeers,
    /// Look in the DHT for the members of a topic, under its key. Gossip is told the
    /// query and its results.
    FindMembers {
        /// The topic.
        topic: TopicHash,
        /// Its key.
        key: RecordKey,
    },
    /// Announce in the DHT that this node is on a topic. Gossip is told the query and its
    /// end.
    AnnounceTopic {
        /// The topic.
        topic: TopicHash,
        /// Its key.
        key: RecordKey,
    },
    /// Stop providing a key of the DHT.
    StopProviding(RecordKey),
    /// End a query of the DHT with the results so far.
    EndQuery(QueryId),
    /// Tell gossip where a peer can be dialed.
    LocateMember(PeerId),
}

/// The part of the node that wants a listener. See `event_loop::reach`.
#[derive(Debug)]
pub(in crate::node) enum ListenFor {
    /// A program on this host, which waits for its first address.
    Command(Reply<Multiaddr>),
    /// The node itself, for a reservation at the relay with this index.
    Relay(usize),
}

/// The part of the node that wants a dial. It is told when the swarm refuses to begin it.
#[derive(Clone, Debug)]
pub(in crate::node) enum Dialer {
    /// A program on this host; see `event_loop::dialing`.
    Command(ConnectionId),
    /// The node itself, to enter its network through this address.
    Bootstrap(Multiaddr),
    /// The node itself, to connect to a peer that it knows.
    Known(PeerId),
    /// Gossip, to reach a member of a topic.
    Member(PeerId),
}

impl Effect {
    /// Returns a dial of a peer that is neither connected nor being dialed, at these
    /// addresses and at all others that are known.
    pub(in crate::node) fn dial_known(peer: PeerId, addresses: Vec<Multiaddr>) -> Effect {
        Effect::dial(peer, addresses, Dialer::Known(peer))
    }

    /// Returns the same for a member of a topic.
    pub(in crate::node) fn dial_member(peer: PeerId, addresses: Vec<Multiaddr>) -> Effect {
        Effect::dial(peer, addresses, Dialer::Member(peer))
    }

    fn dial(peer: PeerId, addresses: Vec<Multiaddr>, by: Dialer) -> Effect {
        let opts = DialOpts::peer_id(peer)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .build();
        Effect::Dial {
            opts: Box::new(opts),
            by,
        }
    }
}
