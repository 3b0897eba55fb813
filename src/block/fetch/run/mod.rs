//! The task that drives one fetch.
//!
//! It waits for whatever comes first (room at the reader, the end of work on the disk,
//! an answer, a newly found provider, the clock) and after each of them does what
//! became possible: hands out bytes, gives the disk its next work, asks for more.
//!
//! | file | noun |
//! |---|---|
//! | `output` | what goes to the reader |
//! | `disk` | the work that is given to the disk, and its end |
//! | `verified` | what follows from blocks that were verified, looked up or read |
//! | `following` | waiting for another fetch of the same content |
//! | `search` | the search for providers |
//! | `sessions` | the sessions with peers: how they begin and end |
//! | `session` | the task of one session |
//! | `provider` | one session, as this task sees it |
//! | `active` | which holders are given work |
//! | `ask` | whom to ask for what, and how much at once |
//! | `asked` | who is asked for a block |
//! | `copies` | copies of one block that are being verified |
//! | `answers` | what follows from what the sessions say |
//! | `tick` | what is looked at from time to time |
//! | `ending` | why the fetch ends without the content, and when |
//! | `summary` | what each provider did, and the sum of it |

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

/// Blocks that wait for verification. While there are more, no events of sessions are
/// taken.
const MAX_DELIVERIES: usize = 8;

/// Time between two ticks.
const TICK: Duration = Duration::from_millis(50);

enum Wake {
    Cancelled,
    /// The reader has taken all that it was given while nothing more was read.
    Room,
    RoomForOutput,
    Disk(Box<DiskResult>),
    Session(u64, SessionEvent),
    Found(Option<Lead>),
    /// Another fetch of the same content has stored some of it, or has ended.
    Shared,
    Tick,
}

/// Where the content goes.
pub(super) struct Reader {
    pub(super) output: mpsc::Sender<Result<Out, FetchError>>,
    /// What of it is data.
    pub(super) queue: Arc<ReaderQueue>,
    /// Ends when nobody reads any more.
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
    /// Who was asked for a block that is on its way.
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
    /// Searches that came to their end, and why the last one did not.
    searches: usize,
    unsearched: Option<String>,
    /// When somebody was found last who was not known before.
    last_lead: Instant,

    /// Its share in fetching this content with others, until what came is stored.
    share: Option<Share>,
    /// It asks the network, and not another fetch of the same content.
    leads: bool,
    waits: bool,
    next_share: Instant,
    /// When the checkpoint began that is under way.
    sharing: Option<Instant>,

    timer: Delay,
    ticks: u32,
    started: Instant,
    /// When something needed came last.
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
    /// Of those beyond [`MAX_STATS`].
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
        // One place in the channel for each session comes with its sender.
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

    /// Runs to the end. What came stays in the store, however it ends.
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

    /// True when everything is delivered, false when nobody reads any more.
    async fn drive(&mut self) -> Result<bool, FetchError> {
        address::canonical(&self.root)?;
        self.leads = self.share.as_ref().is_none_or(Share::leads);
        // The time is read once a turn, when the task wakes.
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
