//! Fetches the content of a CID, from the store and, for the rest, from peers that have
//! it, and returns it as a stream of bytes in order.
//!
//! | file | noun |
//! |---|---|
//! | `run` | the task that drives one fetch; `run/ask.rs` decides whom to ask for what |
//! | `disk` | the part that waits for the disk: verify, store, look up, read |
//! | `share` | fetches of the same content at the same time |
//! | `reader_queue` | counts the bytes that wait for the reader |
//!
//! [`crate::content::fetch`] knows what is missing, which peer is next, and how much to
//! ask of it at once. `run` decides how many sessions there are, which of them are given
//! work, and when to give up.
//!
//! Every block is verified and stored before any byte of it is delivered. Blocks that
//! arrive out of order wait in the store, so that the memory in use does not depend on
//! the size of the file. A fetch that is interrupted leaves its blocks in the store, and
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
    /// Peers to ask in addition to those that the DHT names.
    pub providers: Vec<PeerId>,
    /// How long to wait without receiving anything that is needed. When several searches
    /// have found no peer that is worth waiting for, a sixth of this is enough.
    pub patience: Duration,
    /// Content with more than this number of bytes is refused when its size is known.
    pub max_size: Option<u64>,
    /// The name under which the content is kept.
    pub name: Option<String>,
    /// Whether to keep the content when all of it is here. Otherwise its blocks stay in
    /// the cache until their space is needed.
    pub keep: bool,
    /// Whether it must never be evicted to make space. With or without this, it is kept
    /// for as long as its publisher says.
    pub pin: bool,
    /// The largest block to accept from a peer, in bytes.
    pub max_block: usize,
}

impl Default for FetchOptions {
    fn default() -> Self {
        FetchOptions {
            providers: Vec::new(),
            // There is enough time for a dial, a walk through the DHT and one retry of
            // both.
            patience: Duration::from_secs(60),
            max_size: None,
            name: None,
            keep: true,
            pin: false,
            max_block: 2 << 20,
        }
    }
}

/// An event of a fetch, in the order in which they occur.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The content has this number of bytes. This occurs once, before the first data.
    Size(u64),
    /// The next bytes of the content, which have been verified.
    Data(Bytes),
    /// The progress of the fetch, which is reported about twice a second.
    Progress(Progress),
    /// All bytes have been delivered. They are durable here if the options say to keep
    /// them.
    Done(Summary),
}

/// The progress of a fetch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of bytes of content that were delivered.
    pub done: u64,
    /// The number of bytes of the whole content, if known.
    pub total: Option<u64>,
    /// The number of bytes of blocks that came from peers.
    pub received: u64,
    /// The number of peers that are connected for this fetch.
    pub providers: usize,
}

/// What one provider did for a fetch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProviderStats {
    /// The number of blocks that were needed.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The number of bytes of blocks that another peer brought first, or that were
    /// refused.
    pub wasted: u64,
}

/// The result of a finished fetch.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The content that was fetched.
    pub cid: Cid,
    /// The number of bytes of content.
    pub size: u64,
    /// The number of leaves and inner nodes, each counted once.
    pub blocks: u64,
    /// The number of bytes of blocks that came from peers.
    pub received: u64,
    /// The number of bytes of blocks that were here before.
    pub local: u64,
    /// The number of bytes that arrived but were not needed, or were refused.
    pub wasted: u64,
    /// What each provider did, for at most 64 of them.
    pub providers: HashMap<PeerId, ProviderStats>,
    /// The largest number of bytes of blocks that were in memory at once.
    pub peak_memory: usize,
    /// The time from start to end.
    pub elapsed: Duration,
}

/// Why a fetch ended without all of the content. The blocks that arrived are kept in the
/// store for the next attempt.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// This node cannot fetch the CID.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A block was verified but is not a node of a file.
    #[error("cannot read block {block} of {root}: {source}")]
    Node {
        /// The content that was being fetched.
        root: Cid,
        /// The block.
        block: Cid,
        /// Why.
        source: DagError,
    },
    /// The tree cannot be fetched.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The content is larger than the store.
    #[error(
        "{cid} has {size} bytes, more than the {max} of this node's store; raise P2P_STORE_MAX_BYTES"
    )]
    OverStore {
        /// The content that was being fetched.
        cid: Cid,
        /// The number of bytes of content.
        size: u64,
        /// The number of bytes that the store may hold.
        max: u64,
    },
    /// No peer was found that has it.
    #[error("cannot get {cid}: {reason}{last}")]
    NoProviders {
        /// The content that was being fetched.
        cid: Cid,
        /// How long the fetch looked for it.
        waited: Duration,
        /// Which peers were asked, and with what result.
        reason: Box<Reason>,
        /// What is wrong with the copy that is here; empty when nothing is wrong.
        last: String,
    },
    /// There were providers, but they stopped delivering.
    #[error("{cid} stopped at {done} of {} bytes: nothing needed came for {}s; get it again to go on from there{last}", total.map_or("unknown".to_string(), |total| total.to_string()), waited.as_secs())]
    Stalled {
        /// The content that was being fetched.
        cid: Cid,
        /// The number of bytes delivered.
        done: u64,
        /// The number of bytes of the whole content, if known.
        total: Option<u64>,
        /// For how long nothing has arrived.
        waited: Duration,
        /// The last thing that went wrong; empty when nothing did.
        last: String,
    },
    /// Every copy that was found has expired, or is dated ahead of this host's clock.
    #[error("cannot get {cid}: block {block} of {peer} is refused: {why}")]
    Stale {
        /// The content that was being fetched.
        cid: Cid,
        /// The block.
        block: Cid,
        /// The peer that sent it.
        peer: PeerId,
        /// Why it is of no use.
        why: Refusal,
    },
    /// The clock of this host is not set.
    #[error(
        "cannot get {cid}: this host's clock shows a time before 2025, so that every block is dated ahead of it; set the clock (does NTP run?) and get it again"
    )]
    Clock {
        /// The content that was being fetched.
        cid: Cid,
    },
    /// The store failed.
    #[error("cannot store what was fetched: {0}")]
    Store(#[from] store::Error),
    /// The task that drove the fetch has ended.
    #[error("the fetch was stopped")]
    Stopped,
}

/// A fetch that is under way. It is a stream of [`Event`]s, which ends with
/// [`Event::Done`] or with one error. Dropping it stops the fetch, and keeps the blocks
/// that have arrived.
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

/// The maximum number of events between the task and its reader. With the one that the
/// channel adds, they hold 4 MiB of data at 1 MiB per block.
const EVENTS: usize = 3;

/// What a fetch needs from its surroundings.
#[derive(Debug, Clone)]
pub(crate) struct Setting<N> {
    pub(crate) network: N,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
    /// The budget of all fetches.
    pub(crate) budget: Budget,
    /// The table of all fetches.
    pub(crate) sharing: Sharing,
    /// The wall clock, for the times in the store's entry.
    pub(crate) now: fn() -> SystemTime,
}

impl Fetch {
    /// Starts to fetch `cid` in a separate task. `done` is called when everything is here
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
