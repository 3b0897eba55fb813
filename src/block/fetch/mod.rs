//! Fetch: the content of a CID, from the store and from whoever has the rest,
//! as a stream of bytes in order.
//!
//! | file | noun |
//! |---|---|
//! | `run` | the task that drives one fetch; `run/ask.rs` says whom it asks for what |
//! | `disk` | the side that waits for the disk: verify, store, look up, read |
//! | `share` | fetches of the same content at the same time |
//! | `reader_queue` | bytes that wait for the reader |
//!
//! What to ask for and of whom is decided in [`crate::content::fetch`].
//!
//! Every block is verified and stored before a byte of it is delivered, and what
//! arrives out of order waits in the store, so memory does not depend on the
//! file's size. A fetch that is interrupted leaves its blocks in the store, and
//! the next one begins with them.

mod disk;
mod reader_queue;
mod run;
mod share;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use cid::Cid;
use futures::channel::{mpsc, oneshot};
use futures::{Stream, StreamExt};
use libp2p::PeerId;

use super::network::Network;
use crate::block::Metrics;
use crate::content::address::AddressError;
use crate::content::dag::DagError;
use crate::content::fetch::memory::{Budget, ChargedBytes, MemoryUse};
use crate::content::fetch::{PlanError, Reason};
use crate::content::refusal::Refusal;
use crate::store::{self, Store};
use reader_queue::ReaderQueue;
pub(crate) use share::Sharing;

/// How to fetch content, and for how long to try.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Peers to ask beside those that the DHT names.
    pub providers: Vec<PeerId>,
    /// Give up when nothing that was needed has come for this long, and after a sixth
    /// of it when several searches found nobody who is worth waiting for.
    pub patience: Duration,
    /// Content over this many bytes is refused when its size is known.
    pub max_size: Option<u64>,
    /// Name that the content is kept under.
    pub name: Option<String>,
    /// Keep the content when all of it is here. Otherwise its blocks stay as cache until
    /// their space is needed.
    pub keep: bool,
    /// Never evict it for space. It is kept for as long as its publisher says,
    /// pinned or not.
    pub pin: bool,
    /// Largest block to take from a peer, in bytes.
    pub max_block: usize,
}

impl Default for FetchOptions {
    fn default() -> Self {
        FetchOptions {
            providers: Vec::new(),
            // A dial, a walk through the DHT and one retry of both fit.
            patience: Duration::from_secs(60),
            max_size: None,
            name: None,
            keep: true,
            pin: false,
            max_block: 2 << 20,
        }
    }
}

/// What happens in a fetch, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The content has this many bytes. Comes once, before the first data.
    Size(u64),
    /// The next bytes of the content, verified.
    Data(Bytes),
    /// How far it is; comes about twice a second.
    Progress(Progress),
    /// All bytes are delivered, and durable here when the options say keep.
    Done(Summary),
}

/// How far a fetch is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of content delivered.
    pub done: u64,
    /// Bytes of the whole content, when known.
    pub total: Option<u64>,
    /// Bytes of blocks that came from peers.
    pub received: u64,
    /// Peers that are connected for this fetch.
    pub providers: usize,
}

/// What one provider did for a fetch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProviderStats {
    /// Blocks that were needed.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of blocks that another peer brought first, or that were refused.
    pub wasted: u64,
}

/// A finished fetch.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// What was fetched.
    pub cid: Cid,
    /// Bytes of content.
    pub size: u64,
    /// Leaves and inner nodes, each counted once.
    pub blocks: u64,
    /// Bytes of blocks that came from peers.
    pub received: u64,
    /// Bytes of blocks that were here before.
    pub local: u64,
    /// Bytes that came and were not needed, or were refused.
    pub wasted: u64,
    /// By provider; at most 64 of them.
    pub providers: HashMap<PeerId, ProviderStats>,
    /// Most bytes of blocks in memory at once.
    pub peak_memory: usize,
    /// From start to end.
    pub elapsed: Duration,
}

/// Why a fetch ended without all of the content. What came is kept in the store
/// for the next attempt.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The CID cannot be fetched by this node.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A block is verified and not a node of a file.
    #[error("cannot read block {block} of {root}: {source}")]
    Node {
        /// What was being fetched.
        root: Cid,
        /// The block.
        block: Cid,
        /// Why.
        source: DagError,
    },
    /// The tree is not one that can be fetched.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// It is larger than the store.
    #[error(
        "{cid} has {size} bytes, more than the {max} of this node's store; raise P2P_STORE_MAX_BYTES"
    )]
    OverStore {
        /// What was being fetched.
        cid: Cid,
        /// Bytes of content.
        size: u64,
        /// Bytes that the store may hold.
        max: u64,
    },
    /// Nobody was found who has it.
    #[error("cannot get {cid}: {reason}{last}")]
    NoProviders {
        /// What was being fetched.
        cid: Cid,
        /// How long it was looked for.
        waited: Duration,
        /// Who was asked and what came of it.
        reason: Box<Reason>,
        /// What is wrong with the copy that is here; empty when nothing is.
        last: String,
    },
    /// There were providers and they ceased to deliver.
    #[error("{cid} stopped at {done} of {} bytes: nothing needed came for {}s; get it again to go on from there{last}", total.map_or("unknown".to_string(), |total| total.to_string()), waited.as_secs())]
    Stalled {
        /// What was being fetched.
        cid: Cid,
        /// Bytes delivered.
        done: u64,
        /// Bytes of the whole, when known.
        total: Option<u64>,
        /// How long nothing came.
        waited: Duration,
        /// The last thing that went wrong; empty when nothing did.
        last: String,
    },
    /// Every copy that was found has expired, or is dated ahead of this host's clock.
    #[error("cannot get {cid}: block {block} of {peer} is refused: {why}")]
    Stale {
        /// What was being fetched.
        cid: Cid,
        /// The block.
        block: Cid,
        /// Who sent it.
        peer: PeerId,
        /// Why it is of no use.
        why: Refusal,
    },
    /// This host does not know what time it is.
    #[error(
        "cannot get {cid}: this host's clock shows a time before 2025, so that every block is dated ahead of it; set the clock (does NTP run?) and get it again"
    )]
    Clock {
        /// What was being fetched.
        cid: Cid,
    },
    /// The store failed.
    #[error("cannot store what was fetched: {0}")]
    Store(#[from] store::Error),
    /// The task that drove the fetch is gone.
    #[error("the fetch was stopped")]
    Stopped,
}

/// A fetch under way: a stream of [`Event`]s, ended by [`Event::Done`] or by one
/// error. Dropping it stops the fetch and keeps what came.
#[derive(Debug)]
pub struct Fetch {
    events: mpsc::Receiver<Result<Out, FetchError>>,
    queue: Arc<ReaderQueue>,
    #[cfg(test)]
    memory: Arc<MemoryUse>,
    ended: bool,
    _alive: oneshot::Sender<()>,
}

/// An event whose bytes still count as memory of the fetch.
#[derive(Debug)]
enum Out {
    Data(ChargedBytes),
    Event(Event),
}

/// Events between the task and its reader: with the one that the channel adds,
/// 4 MiB of data at 1 MiB a block.
const EVENTS: usize = 3;

/// What a fetch needs around it.
#[derive(Debug, Clone)]
pub(crate) struct Setting<N> {
    pub(crate) network: N,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
    /// Of all fetches.
    pub(crate) budget: Budget,
    /// Of all fetches.
    pub(crate) sharing: Sharing,
    /// The wall clock, for the times in the store's entry.
    pub(crate) now: fn() -> SystemTime,
}

impl Fetch {
    /// Starts to fetch `cid`, in a task of its own. `done` runs when all is here
    /// and kept, before [`Event::Done`].
    pub(crate) fn start<N: Network>(
        setting: Setting<N>,
        cid: Cid,
        options: FetchOptions,
        done: impl FnOnce(&Cid) + Send + 'static,
    ) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        let (alive, dropped) = oneshot::channel();
        let memory = Arc::new(MemoryUse::new(setting.budget.clone()));
        let queue = Arc::new(ReaderQueue::default());
        let reader = run::Reader {
            output: sender,
            queue: queue.clone(),
            cancelled: dropped,
        };
        let now = Instant::now();
        let task = run::Run::new(setting, cid, options, reader, Arc::clone(&memory), now);
        async_std::task::spawn(task.run(done));
        Fetch {
            events,
            queue,
            #[cfg(test)]
            memory,
            ended: false,
            _alive: alive,
        }
    }
}

impl Stream for Fetch {
    type Item = Result<Event, FetchError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = match futures::ready!(self.events.poll_next_unpin(cx)) {
            Some(Ok(Out::Data(held))) => {
                let bytes = held.bytes().clone();
                drop(held);
                self.queue.take(bytes.len());
                Ok(Event::Data(bytes))
            }
            Some(Ok(Out::Event(event))) => Ok(event),
            Some(Err(error)) => Err(error),
            None => Err(FetchError::Stopped),
        };
        self.ended = matches!(next, Err(_) | Ok(Event::Done(_)));
        Poll::Ready(Some(next))
    }
}

#[cfg(test)]
mod tests;
