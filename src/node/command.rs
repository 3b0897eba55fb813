//! What handles ask of the event loop.

use async_std::channel::Sender;
use futures::channel::mpsc;
use libp2p::{Multiaddr, PeerId};

use super::dht_intake::Replies;
use super::gossip::{Publish, Subscription};
use super::options::Changes;
use super::peer_addrs::PeerAddrs;
use super::reply::Reply;
use crate::api::{self, Status};

/// Commands under way between handles and the loop. Small, so that a flood from
/// the control socket waits at its source instead of in memory.
pub(in crate::node) const COMMAND_QUEUE: usize = 64;

/// Results of one DHT query waiting for their reader. More than the twenty
/// providers of one answer, so that an answer fits; a reader that is slower
/// loses the surplus, never the loop its turn.
pub(in crate::node) const QUERY_RESULTS: usize = 256;

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
        changes: Box<Changes>,
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
