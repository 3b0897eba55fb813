//! The network as the exchange needs it: to find peers that have a block, to open streams
//! to them, to report what they do, and to announce what is here.
//!
//! | file | noun |
//! |---|---|
//! | `lead` | a result of a search for providers |
//! | `open_error` | why no stream to a provider could be opened |
//! | `provided` | content of which peers of the DHT were told |
//! | `provide_error` | why the DHT could not be told |
//! | `fault` | what a peer did wrong in the exchange |

mod fault;
mod lead;
mod open_error;
mod provide_error;
mod provided;

use std::time::Duration;

use cid::Cid;
use futures::future::{BoxFuture, FutureExt};
use futures::io::{AsyncRead, AsyncWrite};
use futures::stream::{BoxStream, StreamExt};
use ipnet::IpNet;
use libp2p::PeerId;

pub use fault::Fault;
pub use lead::Lead;
pub use open_error::OpenError;
pub(crate) use provide_error::NO_DHT_PEER;
pub use provide_error::ProvideError;
pub use provided::{Confirmation, Provided};

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
