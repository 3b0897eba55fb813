//! The network as the exchange needs it: to find peers that have a block, to open streams
//! to them, to report what they do, and to announce what is here.

use std::time::Duration;

use cid::Cid;
use futures::future::{BoxFuture, FutureExt};
use futures::io::{AsyncRead, AsyncWrite};
use futures::stream::{BoxStream, StreamExt};
use ipnet::IpNet;
use libp2p::PeerId;

use crate::content::fetch::Unreachable;
use crate::content::refusal::Refusal;

/// The network as the exchange sees it. The node implements it; the tests implement it
/// over pipes in memory.
pub trait Network: Clone + Send + Sync + 'static {
    /// A stream to a peer, which ends when it is dropped.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Searches once for peers that may have this content, without this node. First come
    /// the peers that are connected, and then those that the DHT names, as they are
    /// found. The stream ends when the search is over.
    fn find_providers(&self, cid: &Cid) -> BoxStream<'static, Lead>;

    /// Opens a stream of the exchange to a provider, and dials it if necessary.
    fn open(&self, peer: PeerId) -> BoxFuture<'static, Result<Self::Stream, OpenError>>;

    /// Does the same as [`Network::open`], without a search for the peer's addresses,
    /// because there was one already.
    fn open_again(&self, peer: PeerId) -> BoxFuture<'static, Result<Self::Stream, OpenError>> {
        self.open(peer)
    }

    /// Does the same as [`Network::open`], for a peer that was connected a moment ago and
    /// for which a search for addresses is not worthwhile.
    fn open_near(&self, peer: PeerId) -> BoxFuture<'static, Result<Self::Stream, OpenError>> {
        self.open(peer)
    }

    /// Records what a peer did wrong.
    fn report(&self, peer: PeerId, fault: Fault);

    /// Records that a peer brought a block that was asked for and is right.
    fn delivered(&self, peer: &PeerId);

    /// Charges the peer's budget with `requests`, which it made in vain. When it has used
    /// up its budget, this returns how long to wait before reading more of its requests.
    fn pace(&self, _peer: &PeerId, _requests: u32) -> Option<Duration> {
        None
    }

    /// Returns the reputation of a peer, from -100 to 100; 0 for a stranger.
    fn score(&self, _peer: &PeerId) -> f64 {
        0.0
    }

    /// Returns the subnet that a connected peer counts for, if that is known.
    fn subnet(&self, _peer: &PeerId) -> Option<IpNet> {
        None
    }

    /// Tells the DHT that this node has the content. The future is ready when the DHT's
    /// peers were told. With `verify` they are then asked whether they hold the record.
    fn provide(
        &self,
        cid: &Cid,
        verify: bool,
    ) -> BoxFuture<'static, Result<Provided, ProvideError>>;

    /// Returns a stream with an item for each time that a peer enters the DHT's routing
    /// table.
    fn entered(&self) -> BoxStream<'static, ()> {
        futures::stream::pending().boxed()
    }

    /// Records that this host has this content, so that peers that ask it for providers
    /// are told so.
    fn keep(&self, _cids: Vec<Cid>) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }

    /// Records that the content is no longer here, so that peers that ask this node for
    /// its providers are not sent here any more. The records at other nodes expire there.
    fn stop_providing(&self, cid: &Cid) -> BoxFuture<'static, ()>;
}

/// A result of a search for providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lead {
    /// A peer that is connected. It is a guess that it has the content.
    Connected(PeerId),
    /// A peer that the DHT names as a provider.
    Named(PeerId),
    /// The DHT could not be searched, for this reason.
    Unsearched(String),
}

/// Why no stream to a provider could be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It cannot be dialed, or it closed the connection.
    #[error("{0}")]
    Unreachable(Unreachable),
    /// This node was too busy to try everything, so that it is worth trying again.
    #[error("{0}")]
    Busy(Unreachable),
    /// It does not speak the exchange of this network.
    #[error("it does not speak the block exchange of this network")]
    Unsupported {
        /// Other protocols for the exchange of blocks that it speaks, as far as it has
        /// said so; only a few of them.
        speaks: Vec<String>,
    },
}

/// Content of which peers of the DHT were told.
pub struct Provided {
    /// The answers of these peers to the question whether they hold it.
    pub confirmation: BoxFuture<'static, Confirmation>,
}

/// The answers of the peers that were told of content, to the question whether they hold
/// the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmation {
    /// The number of peers that hold it.
    pub holders: usize,
    /// Whether these are enough, as far as the peers can say.
    pub enough: bool,
}

/// The reason in a [`ProvideError`] when no DHT peer is known.
pub(crate) const NO_DHT_PEER: &str =
    "no DHT peer is known; check P2P_BOOTSTRAP_PEERS and `p2p-node peers`";

/// Why the DHT could not be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot announce {cid} to the DHT: {reason}")]
pub struct ProvideError {
    /// The content that was to be announced.
    pub cid: Cid,
    /// Whether no DHT peer is known, so that nothing else can be announced either.
    pub alone: bool,
    /// What went wrong, in one line.
    pub reason: String,
}

/// What a peer did wrong in the exchange.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It sent a block that was refused. The refusal says how serious that is.
    #[error("sent a bad block for {cid}: {why}")]
    Block {
        /// The block that it was asked for.
        cid: Cid,
        /// What is wrong with the block.
        why: Refusal,
    },
    /// It announced a frame that is longer than any block that it may send.
    #[error("sent a frame of {len} bytes, over the limit of {max}")]
    Oversized {
        /// The number of bytes that it announced.
        len: u64,
        /// The limit.
        max: usize,
    },
    /// It violated the protocol.
    #[error("broke the block exchange protocol: {0}")]
    Protocol(String),
}
