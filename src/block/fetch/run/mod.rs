//! The task that drives one fetch.
//!
//! It waits for whatever comes first (room at the reader, the end of work on the disk, an
//! answer, a newly found provider, the clock). After each of these, it does what has
//! become possible: it hands out bytes, gives the disk its next work, and asks for more.
//!
//! | file | noun |
//! |---|---|
//! | `output` | moves the content to the reader |
//! | `disk` | hands work to the disk, and takes the results |
//! | `verified` | handles blocks that were verified, looked up or read |
//! | `following` | waits for another fetch of the same content |
//! | `search` | the search for providers |
//! | `sessions` | the sessions with peers: how they begin and end |
//! | `session` | the task of one session |
//! | `provider` | one session, as this task sees it |
//! | `active` | decides which holders are given work |
//! | `ask` | decides which peer to ask for what, and how much at once |
//! | `asked` | the providers that are asked for a block |
//! | `copies` | copies of one block that are being verified |
//! | `answers` | handles the events of the sessions |
//! | `tick` | what is checked regularly |
//! | `ending` | decides when the fetch ends without the content, and why |
//! | `summary` | what each provider did, and the totals of the fetch |

mod active;
mod answers;
mod ask;
mod asked;
mod copies;
mod disk;
mod ending;
mod following;
mod output;
mod provider;
mod search;
mod session;
mod sessions;
mod summary;
mod tick;
mod verified;

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_std::task::JoinHandle;
use cid::Cid;
use futures::channel::{mpsc, oneshot};
use futures::stream::BoxStream;
use futures::{FutureExt, SinkExt, StreamExt};
use futures_timer::Delay;
use libp2p::PeerId;

use super::disk::{Delivery, DiskResult};
use super::reader_queue::ReaderQueue;
use super::share::Share;
use super::{Event, FetchError, FetchOptions, Out, ProviderStats, Setting};
use crate::block::network::{Lead, Network};
use crate::content::address;
use crate::content::fetch::candidates::Candidates;
use crate::content::fetch::hedge::Hedge;
use crate::content::fetch::memory::MemoryUse;
use crate::content::fetch::plan::Plan;
use crate::content::refusal::Refusal;
use crate::store::Batch;
use asked::Asked;
use copies::Copies;
use provider::Provider;
use search::SEARCH_WAIT;
use session::SessionEvent;

/// The maximum number of blocks that wait for verification. While there are more, no
/// events of the sessions are taken.
const MAX_DELIVERIES: usize = 8;

/// The time between two ticks.
const TICK: Duration = Duration::from_millis(50);

enum Wake {
    Cancelled,
    /// The reader has taken all that it was given, while nothing more was read.
    Room,
    RoomForOutput,
    Disk(Box<DiskResult>),
    Session(u64, SessionEvent),
    Found(Option<Lead>),
    /// Another fetch of the same content has stored some of it, or has ended.
    Shared,
    Tick,
}

/// The receiver of the content.
pub(super) struct Reader {
    pub(super) output: mpsc::Sender<Result<Out, FetchError>>,
    /// Counts the bytes of content in the output.
    pub(super) queue: Arc<ReaderQueue>,
    /// Ends when no one reads any more.
    pub(super) cancelled: oneshot::Receiver<()>,
}

/// See the module's documentation.
pub(super) struct Run<N: Network> {
    setting: Setting<N>,
    root: Cid,
    options: FetchOptions,
    memory: Arc<MemoryUse>,
    plan: Plan,

    reader: Reader,
    out: VecDeque<Out>,
    out_bytes: usize,
    /// There was no memory to read more from the store; nothing is read until the reader
    /// has taken what it was given.
    waits_for_memory: bool,
    sized: bool,

    batch: Option<Batch>,
    at_disk: Option<JoinHandle<DiskResult>>,
    deliveries: Vec<Delivery>,
    since_checkpoint: u64,

    candidates: Candidates,
    providers: HashMap<u64, Provider>,
    next_provider: u64,
    /// The providers that were asked for each block that is on its way.
    asks: HashMap<Cid, Asked>,
    /// Blocks that are being verified.
    copies: HashMap<Cid, Copies>,
    /// The block at the head of the content, for which the delivery waits.
    hedge: Option<Hedge>,
    /// When a holder that is not active was tried last.
    last_trial: Instant,
    tell: mpsc::Sender<(u64, SessionEvent)>,
    events: mpsc::Receiver<(u64, SessionEvent)>,
    search: Option<BoxStream<'static, Lead>>,
    next_search: Instant,
    search_wait: Duration,
    /// The number of searches that were completed, and why the last one was not.
    searches: usize,
    unsearched: Option<String>,
    /// When a peer that was not known before was last found.
    last_lead: Instant,

    /// The part of this fetch in fetching the content together with others, until the
    /// blocks are stored.
    share: Option<Share>,
    /// Whether this fetch asks the network, rather than another fetch of the same
    /// content.
    leads: bool,
    waits: bool,
    next_share: Instant,
    /// When the checkpoint that is under way began.
    sharing: Option<Instant>,

    timer: Delay,
    ticks: u32,
    started: Instant,
    /// When something that was needed last arrived.
    progress: Instant,
    unreported_bytes: u64,
    last_problem: String,
    /// What is wrong with the copy in the store, for the error at the end.
    local_problem: String,
    /// The first block that was refused because of its time: from whom, why and when.
    outdated: Option<(Cid, PeerId, Refusal, Instant)>,
    ever_connected: bool,
    received: u64,
    local: u64,
    wasted: u64,
    stats: HashMap<PeerId, ProviderStats>,
    /// The sum of the providers beyond `MAX_STATS`.
    other_stats: ProviderStats,
}

impl<N: Network> Run<N> {
    pub(super) fn new(
        setting: Setting<N>,
        root: Cid,
        options: FetchOptions,
        reader: Reader,
        memory: Arc<MemoryUse>,
        now: Instant,
    ) -> Self {
        // Each session's sender comes with one place in the channel.
        let (tell, events) = mpsc::channel(0);
        let mut candidates = Candidates::default();
        for peer in &options.providers {
            candidates.found(*peer, true, now);
        }
        Run {
            share: Some(setting.sharing.join(root)),
            leads: false,
            waits: false,
            next_share: now,
            sharing: None,
            copies: HashMap::new(),
            hedge: None,
            last_trial: now,
            searches: 0,
            unsearched: None,
            last_lead: now,
            plan: Plan::new(root, options.max_size),
            setting,
            root,
            options,
            memory,
            reader,
            out: VecDeque::new(),
            out_bytes: 0,
            waits_for_memory: false,
            sized: false,
            batch: None,
            at_disk: None,
            deliveries: Vec::new(),
            since_checkpoint: 0,
            candidates,
            providers: HashMap::new(),
            next_provider: 0,
            asks: HashMap::new(),
            tell,
            events,
            search: None,
            next_search: now,
            search_wait: SEARCH_WAIT,
            timer: Delay::new(TICK),
            ticks: 0,
            started: now,
            progress: now,
            unreported_bytes: 0,
            last_problem: String::new(),
            local_problem: String::new(),
            outdated: None,
            ever_connected: false,
            received: 0,
            local: 0,
            wasted: 0,
            stats: HashMap::new(),
            other_stats: ProviderStats::default(),
        }
    }

    /// Runs the fetch to its end. However it ends, the blocks that have arrived stay in
    /// the store.
    pub(super) async fn run(mut self, done: impl FnOnce(&Cid)) {
        let result = self.drive().await;
        self.providers.clear();
        self.search = None;
        let result = match result {
            Ok(true) => self.keep().await,
            Ok(false) => return self.leave_as_cache().await,
            Err(error) => {
                self.leave_as_cache().await;
                self.share = None;
                let _ = self.reader.output.send(Err(error)).await;
                return;
            }
        };
        self.share = None;
        let last = match result {
            Ok(()) => {
                if self.options.keep {
                    done(&self.root);
                }
                Ok(Out::Event(Event::Done(self.summary(Instant::now()))))
            }
            Err(error) => Err(error),
        };
        let _ = self.reader.output.send(last).await;
    }

    /// Returns true when everything is delivered, and false when no one reads any more.
    async fn drive(&mut self) -> Result<bool, FetchError> {
        address::canonical(&self.root)?;
        self.leads = self.share.as_ref().is_none_or(Share::leads);
        // The time is read once per turn, when the task wakes up.
        let mut now = Instant::now();
        loop {
            self.queue_output()?;
            if self.plan.is_complete() && self.out.is_empty() {
                return Ok(true);
            }
            self.start_disk_work(now);
            self.update_waiting();
            self.ask_for_more(now);
            let wake = poll_fn(|cx| self.poll_wake(cx)).await;
            now = Instant::now();
            match wake {
                Wake::Room => {}
                Wake::Cancelled => return Ok(false),
                Wake::RoomForOutput => self.send_one(),
                Wake::Disk(done) => self.disk_done(*done, now)?,
                Wake::Session(from, told) => self.session_event(from, told, now),
                Wake::Found(Some(Lead::Named(peer))) => self.lead(peer, true, now),
                Wake::Found(Some(Lead::Connected(peer))) => self.lead(peer, false, now),
                Wake::Found(Some(Lead::Unsearched(why))) => self.unsearched = Some(why),
                Wake::Found(None) => self.searched(now),
                Wake::Shared => self.leader_news(now)?,
                Wake::Tick => self.tick(now)?,
            }
        }
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        if self.reader.cancelled.poll_unpin(cx).is_ready() {
            return Poll::Ready(Wake::Cancelled);
        }
        if !self.out.is_empty() {
            match self.reader.output.poll_ready(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Wake::RoomForOutput),
                Poll::Ready(Err(_)) => return Poll::Ready(Wake::Cancelled),
                Poll::Pending => {}
            }
        }
        if self.waits_for_memory && self.out.is_empty() && self.reader.queue.poll_len(cx) == 0 {
            self.waits_for_memory = false;
            return Poll::Ready(Wake::Room);
        }
        if let Some(work) = &mut self.at_disk
            && let Poll::Ready(done) = work.poll_unpin(cx)
        {
            self.at_disk = None;
            return Poll::Ready(Wake::Disk(Box::new(done)));
        }
        if self.deliveries.len() < MAX_DELIVERIES
            && let Poll::Ready(Some((from, told))) = self.events.poll_next_unpin(cx)
        {
            return Poll::Ready(Wake::Session(from, told));
        }
        if let Some(search) = &mut self.search
            && let Poll::Ready(found) = search.poll_next_unpin(cx)
        {
            return Poll::Ready(Wake::Found(found));
        }
        if self
            .share
            .as_ref()
            .is_some_and(|share| share.has_news(cx.waker()))
        {
            return Poll::Ready(Wake::Shared);
        }
        if Pin::new(&mut self.timer).poll_unpin(cx).is_ready() {
            self.timer.reset(TICK);
            return Poll::Ready(Wake::Tick);
        }
        Poll::Pending
    }

    pub(super) fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }
}
