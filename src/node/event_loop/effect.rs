//! What the subsystems of the event loop want done.
//!
//! Each subsystem is a type with private state in a file of its own. It takes the events
//! that are its own and reads the rest of the node through a [`View`]; one that speaks a
//! protocol is lent the behaviour of that protocol, and no other. It never holds the
//! swarm. What it wants done there it returns as effects, which the loop carries out in
//! order before it takes the next event. An answer to whoever asked for something is no
//! effect: it goes through a channel for one value, which neither waits nor fails, so
//! that the subsystem sends it itself.

use std::time::Instant;

use libp2p::core::transport::ListenerId;
use libp2p::gossipsub::TopicHash;
use libp2p::kad::{QueryId, RecordKey};
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};

use crate::node::handle::Reply;
use crate::node::keep::Reason;
use crate::node::peers::connected::Connected;
use crate::peers::Conduct;

/// What every subsystem may read.
#[derive(Clone, Copy)]
pub(in crate::node) struct View<'a> {
    /// The time of this turn of the loop.
    pub(in crate::node) now: Instant,
    /// This node's own peer id.
    pub(in crate::node) local: PeerId,
    /// Whether the node is draining.
    pub(in crate::node) draining: bool,
    /// The connected peers.
    pub(in crate::node) peers: &'a Connected,
}

/// What a subsystem wants done. See the module's documentation.
#[derive(Debug)]
#[must_use]
pub(in crate::node) enum Effect {
    /// Dial. When that fails at once, `by` is told.
    Dial {
        /// Whom, and how.
        opts: Box<DialOpts>,
        /// Who wants it.
        by: Dialer,
    },
    /// Close all connections with a peer, and end the dials of it.
    Disconnect(PeerId),
    /// Close one connection.
    Close(ConnectionId),
    /// Keep the connections with a peer although nothing uses them.
    Hold {
        /// Which peer.
        peer: PeerId,
        /// Why.
        reason: Reason,
        /// Until when; without end when there is none.
        until: Option<Instant>,
    },
    /// Keep them for this reason no longer.
    Release {
        /// Which peer.
        peer: PeerId,
        /// Why they were kept.
        reason: Reason,
    },
    /// Tell the policy for peers what a peer has done.
    Report {
        /// Which peer.
        peer: PeerId,
        /// What it has done.
        conduct: Conduct,
    },
    /// Listen at an address. `wanted_by` is told what has become of it.
    Listen {
        /// Where.
        address: Multiaddr,
        /// Who wants it.
        wanted_by: ListenFor,
    },
    /// Listen there no more.
    RemoveListener(ListenerId),
    /// Tell others that they can dial this address.
    AddExternalAddress(Multiaddr),
    /// Tell it no more.
    RemoveExternalAddress(Multiaddr),
    /// Dial the bootstrap peers soon: somebody wants the network.
    EnterNetwork,
    /// The same, and look for other peers.
    FindPeers,
    /// Look in the DHT for the members of a topic, under its key. Gossip is told the
    /// query and what it finds.
    FindMembers {
        /// The topic.
        topic: TopicHash,
        /// Its key.
        key: RecordKey,
    },
    /// Tell the DHT that this node is on a topic. Gossip is told the query and its end.
    AnnounceTopic {
        /// The topic.
        topic: TopicHash,
        /// Its key.
        key: RecordKey,
    },
    /// Provide a key of the DHT no more.
    StopProviding(RecordKey),
    /// End a query of the DHT with what it has found.
    EndQuery(QueryId),
    /// Tell gossip where a peer can be dialed.
    LocateMember(PeerId),
}

/// Who wants a listener. See [`super::reach`].
#[derive(Debug)]
pub(in crate::node) enum ListenFor {
    /// A program on this host, which waits for its first address.
    Command(Reply<Multiaddr>),
    /// The node, which wants a reservation at the relay with this index.
    Relay(usize),
}

/// Who wants a dial, and is told when the swarm refuses to begin it.
#[derive(Clone, Debug)]
pub(in crate::node) enum Dialer {
    /// A program on this host: see [`super::dialing`].
    Command(ConnectionId),
    /// The node, which enters its network through this address.
    Bootstrap(Multiaddr),
    /// The node, which wants to be connected to a peer that it knows.
    Known(PeerId),
    /// Gossip, which looks for a member of a topic.
    Member(PeerId),
}

impl Effect {
    /// A dial of a peer that is neither connected nor being dialed, at these addresses
    /// and at all others that are known.
    pub(in crate::node) fn dial_known(peer: PeerId, addresses: Vec<Multiaddr>) -> Effect {
        Effect::dial(peer, addresses, Dialer::Known(peer))
    }

    /// The same for a member of a topic.
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
