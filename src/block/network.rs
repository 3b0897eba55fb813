//! What the exchange needs of a network: to find peers that have a block, to open streams
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

/// The network as the exchange sees it. The node implements it; tests do so over
/// pipes in memory.
pub trait Network: Clone + Send + Sync + 'static {
    /// A stream to a peer. Dropping it ends it.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// One search for peers that may have this content, without this node: first
    /// those that are connected, then those that the DHT names, as they are found;
    /// ends when the search is over.
    fn find_providers(&self, cid: &Cid) -> BoxStream<'static, Lead>;

    /// Opens a stream of the exchange to a provider, dialing when needed.
    fn open(&self, peer: PeerId) -> BoxFuture<'static, Result<Self::Stream, OpenError>>;

    /// As [`Network::open`], without a search for the peer's addresses: there was one.
    fn open_again(&self, peer: PeerId) -> BoxFuture<'static, Result<Self::Stream, OpenError>> {
        self.open(peer)
    }

    /// As [`Network::open`], for a peer that was connected a moment ago and that
    /// is not worth a search for its addresses.
    fn open_near(&self, peer: PeerId) -> BoxFuture<'static, Result<Self::Stream, OpenError>> {
        self.open(peer)
    }

    /// Remembers what a peer did wrong.
    fn report(&self, peer: PeerId, fault: Fault);

    /// Remembers that a peer brought a block that was asked for and is right.
    fn delivered(&self, peer: &PeerId);

    /// Takes `requests` of the peer's budget for what it asked in vain; how long
    /// to wait before reading more of its requests, when it has used it up.
    fn pace(&self, _peer: &PeerId, _requests: u32) -> Option<Duration> {
        None
    }

    /// The reputation of a peer, -100 to 100; 0 for a stranger.
    fn score(&self, _peer: &PeerId) -> f64 {
        0.0
    }

    /// The subnet that a connected peer counts for, if it is known.
    fn subnet(&self, _peer: &PeerId) -> Option<IpNet> {
        None
    }

    /// Tells the DHT that this node has the content. Done when its peers were told; with
    /// `verify` they are asked afterwards whether they hold the record.
    fn provide(
        &self,
        cid: &Cid,
        verify: bool,
    ) -> BoxFuture<'static, Result<Provided, ProvideError>>;

    /// Tells each time that a peer has entered the DHT's routing table.
    fn entered(&self) -> BoxStream<'static, ()> {
        futures::stream::pending().boxed()
    }

    /// This host has this content: peers that ask it for providers are told so.
    fn keep(&self, _cids: Vec<Cid>) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }

    /// The content is no longer here: peers that ask this node for its providers are not
    /// sent here any more. The records at other nodes expire there.
    fn stop_providing(&self, cid: &Cid) -> BoxFuture<'static, ()>;
}

/// What a search for providers comes upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lead {
    /// A peer that is connected. That it has the content is a guess.
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
    /// This node was too busy to try everything, so that it is worth another try.
    #[error("{0}")]
    Busy(Unreachable),
    /// It does not speak the exchange of this network.
    #[error("it does not speak the block exchange of this network")]
    Unsupported {
        /// Protocols that it speaks and that exchange blocks too, as far as it has
        /// said; a few of them.
        speaks: Vec<String>,
    },
}

/// Content that peers of the DHT were told of.
pub struct Provided {
    /// What they answer when they are asked whether they hold it.
    pub confirmation: BoxFuture<'static, Confirmation>,
}

/// The answers of the peers that were told of content, when they were asked whether they
/// hold the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmation {
    /// How many of them hold it.
    pub holders: usize,
    /// Whether they are enough, as far as peers can say.
    pub enough: bool,
}

/// The reason of a [`ProvideError`] where no DHT peer is known.
pub(crate) const NO_DHT_PEER: &str =
    "no DHT peer is known; check P2P_BOOTSTRAP_PEERS and `p2p-node peers`";

/// Why the DHT could not be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot announce {cid} to the DHT: {reason}")]
pub struct ProvideError {
    /// What was to be announced.
    pub cid: Cid,
    /// No DHT peer is known, so that nothing else can be announced either.
    pub alone: bool,
    /// What went wrong, one line.
    pub reason: String,
}

/// What a peer did wrong in the exchange.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It sent a block that is refused. The refusal says how bad that is.
    #[error("sent a bad block for {cid}: {why}")]
    Block {
        /// What it was asked for.
        cid: Cid,
        /// What is wrong.
        why: Refusal,
    },
    /// It announced a frame that is longer than any block it may send.
    #[error("sent a frame of {len} bytes, over the limit of {max}")]
    Oversized {
        /// Bytes that it announced.
        len: u64,
        /// The limit.
        max: usize,
    },
    /// It broke the protocol.
    #[error("broke the block exchange protocol: {0}")]
    Protocol(String),
}
