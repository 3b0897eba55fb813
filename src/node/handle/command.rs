//! What handles ask of the event loop.

use async_std::channel::Sender;
use futures::channel::{mpsc, oneshot};
use libp2p::{Multiaddr, PeerId};

use super::{Error, PeerAddrs, Subscription};
use crate::api::{self, Status};
use crate::message::Packed;
use crate::node::dht_intake::Replies;
use crate::node::gossip::Publish;

/// Commands under way between handles and the loop. Small, so that a flood from
/// the control socket waits at its source instead of in memory.
pub(in crate::node) const COMMAND_QUEUE: usize = 64;

/// Results of one DHT query waiting for their reader. More than the twenty
/// providers of one answer, so that an answer fits; a reader that is slower
/// loses the surplus, never the loop its turn.
pub(in crate::node) const QUERY_RESULTS: usize = 256;

/// Gossip messages waiting for one subscriber: what this node lets in at once of all
/// peers together under the default budget (ten times P2P_RATE_BURST), so that
/// publishers that begin at the same time are all heard. What the messages of a
/// stalled subscriber take is bounded by the node's ceiling of bytes and by the half
/// minute after which the control socket gives it up: some 30 MiB, which all
/// subscribers share. A slower subscriber loses messages and is told how many.
pub(in crate::node) const SUBSCRIPTION_QUEUE: usize = 2048;

pub(in crate::node) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What is published.
pub(in crate::node) enum Content {
    /// What gossipsub carries.
    Plain(Vec<u8>),
    /// What is sealed into an envelope when its turn has come.
    Packed {
        /// The payload.
        packed: Packed,
        /// The bytes of the envelope, at most.
        envelope: usize,
    },
}

impl Content {
    /// The bytes that gossipsub carries, at most.
    pub(in crate::node) fn size(&self) -> usize {
        match self {
            Content::Plain(data) => data.len(),
            Content::Packed { envelope, .. } => *envelope,
        }
    }
}

/// What a handle asks of the event loop.
pub(in crate::node) enum Command {
    Listen {
        address: Multiaddr,
        reply: Reply<Multiaddr>,
    },
    Connect {
        peer: Option<PeerId>,
        addrs: Vec<Multiaddr>,
        reply: Reply<PeerId>,
    },
    Abandon {
        peer: PeerId,
    },
    AwaitIdentified {
        peer: PeerId,
        reply: Reply<()>,
    },
    Disconnect {
        peer: PeerId,
        reply: Reply<()>,
    },
    AddAddrs {
        peer: PeerId,
        addrs: Vec<Multiaddr>,
    },
    KnownAddrs {
        peer: PeerId,
        reply: Reply<Vec<Multiaddr>>,
    },
    Peers {
        reply: Reply<Vec<api::Peer>>,
    },
    Status {
        reply: Reply<Box<Status>>,
    },
    Subscribe {
        topic: String,
        reply: Reply<Subscription>,
    },
    Publish(Publish),
    Topics {
        reply: Reply<Vec<String>>,
    },
    TopicPeers {
        topic: Option<String>,
        reply: Reply<Vec<PeerId>>,
    },
    RoutingTable {
        reply: Reply<Vec<PeerAddrs>>,
    },
    Adjust {
        changes: Box<crate::node::Changes>,
        reply: Reply<()>,
    },
    Drain {
        reply: Reply<()>,
    },
    /// Something of the DHT.
    Dht(DhtCommand),
}

/// What a handle asks of the DHT.
pub(in crate::node) enum DhtCommand {
    ClosestPeers {
        key: Vec<u8>,
        reply: Reply<Vec<PeerAddrs>>,
    },
    FindProviders {
        key: Vec<u8>,
        results: Sender<PeerId>,
        reply: Reply<()>,
    },
    Provide {
        key: Vec<u8>,
        /// Content of this host's store, which bounds it.
        of_content: bool,
        verify: bool,
        replies: Replies,
    },
    /// Tells of each peer that enters the routing table, and of those that are there.
    WatchTable {
        entered: mpsc::Sender<()>,
    },
    /// This host has the content of these keys: who asks it is told so.
    KeepContent {
        keys: Vec<Vec<u8>>,
    },
    StopProviding {
        key: Vec<u8>,
    },
    GetValue {
        key: Vec<u8>,
        results: Sender<Vec<u8>>,
        first_only: bool,
        end: Reply<()>,
    },
    PutValue {
        key: Vec<u8>,
        value: Vec<u8>,
        reply: Reply<()>,
    },
}
