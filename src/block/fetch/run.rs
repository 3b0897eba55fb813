//! The task that drives one fetch.
//!
//! It waits for whatever comes first (room at the reader, a finished hop, an
//! answer, a newly found provider, the clock) and after each of them does what
//! became possible: hands out bytes, starts the next hop, asks for more.

mod ask;

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ask::{Asked, Copies, Provider, Told};
use async_std::task::{JoinHandle, spawn_blocking};
use cid::Cid;
use futures::channel::{mpsc, oneshot};
use futures::stream::BoxStream;
use futures::{FutureExt, SinkExt, StreamExt};
use futures_timer::Delay;
use libp2p::PeerId;

use super::hop::{self, Around, Delivery, Found, Verified, Work};
use super::reader_queue::ReaderQueue;
use super::share::{Share, Verdict};
use super::{Event, FetchError, FetchOptions, Out, Progress, ProviderStats, Setting, Summary};
use crate::block::network::{Fault, Lead, Network};
use crate::content::address;
use crate::content::fetch::Reason;
use crate::content::fetch::candidates::Candidates;
use crate::content::fetch::hedge::Hedge;
use crate::content::fetch::memory::{MemoryUse, Reservation};
use crate::content::fetch::outcome::Outcome;
use crate::content::fetch::plan::{Arrived, Plan};
use crate::content::refusal::Refusal;
use crate::message::provenance::is_clock_set;
use crate::store::{self, Batch, Root};
use crate::text::duration;

/// Blocks that wait for verification. Sessions are held back beyond it.
const MAX_DELIVERIES: usize = 8;

/// Bytes handed to the reader's queue ahead of its reading.
const MAX_OUT: usize = 4 << 20;

/// Bytes read back from the store in one hop, for the front of the content.
const READ_BACK: usize = 4 << 20;

/// Blocks looked for in the store in one hop: a look-up is some microseconds.
const LOOK_UP: usize = 256;

/// Received bytes between two checkpoints: what an interruption costs at most.
/// A checkpoint waits for the disk, so it is not free either.
const CHECKPOINT: u64 = 256 << 20;

/// Time between two checkpoints for other fetches of the same content, and at
/// least so many times what one takes: it waits for the disk.
const SHARE_WAIT: Duration = Duration::from_millis(250);
const SHARE_PART: u32 = 4;

/// Missing blocks that are looked for again when another fetch has stored some:
/// it brings them in about the same order.
const LOOK_AGAIN: usize = 1024;

/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(50);

/// Ticks between two events of progress.
const PROGRESS_TICKS: u32 = 10;

/// How long a provider that was asked may send nothing at all.
const SILENCE: Duration = Duration::from_secs(10);

/// Bytes that count as a sign of life of the whole fetch: a slow path needs
/// longer than the patience for a block, and one byte now and then is no path.
const LIFE: u64 = 16 << 10;

/// Losses in a row after which a provider is let go until later, if another
/// delivers.
const MAX_LOSSES: u32 = 4;

/// Time until the next search for providers; doubles up to [`MAX_SEARCH_WAIT`].
/// While the content comes from somebody it is never shorter than
/// [`FED_SEARCH_WAIT`].
const SEARCH_WAIT: Duration = Duration::from_millis(250);
const FED_SEARCH_WAIT: Duration = Duration::from_secs(5);
const MAX_SEARCH_WAIT: Duration = Duration::from_secs(30);

/// The part of its patience after which a fetch ends that nobody can help: by
/// default ten seconds, in which an announcement that was just made arrives and a
/// node that has just started has met its neighbours. Who waits for longer than
/// that on purpose says so with a longer patience.
const GRACE: u32 = 6;

/// How long a fetch goes on when everybody who has a block says that its time is
/// over: another search and a retry of who could not be reached fit.
const STALE: Duration = Duration::from_secs(5);

/// Providers that the summary names.
const MAX_STATS: usize = 64;

enum Wake {
    Cancelled,
    /// The reader has taken all that it was given while nothing more was read.
    Room,
    RoomForOutput,
    Hop(Box<hop::Done>),
    Told(u64, Told),
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
    /// Nothing is read for want of memory until the reader has taken what it has.
    short: bool,
    sized: bool,

    batch: Option<Batch>,
    hop: Option<JoinHandle<hop::Done>>,
    deliveries: Vec<Delivery>,
    since_checkpoint: u64,

    candidates: Candidates,
    providers: HashMap<u64, Provider>,
    next_provider: u64,
    /// Who was asked for a block that is on its way.
    asks: HashMap<Cid, Asked>,
    /// Blocks that are being verified.
    copies: HashMap<Cid, Copies>,
    /// The block that holds up the delivery.
    front: Option<Hedge>,
    /// When a holder without a place was tried last.
    explored: Instant,
    tell: mpsc::Sender<(u64, Told)>,
    told: mpsc::Receiver<(u64, Told)>,
    search: Option<BoxStream<'static, Lead>>,
    next_search: Instant,
    search_wait: Duration,
    /// Searches that came to their end, and why the last one did not.
    searches: usize,
    unsearched: Option<String>,
    /// When somebody was found last who was not known before.
    last_lead: Instant,

    /// Its part in fetching this content with others, until what came is stored.
    share: Option<Share>,
    /// It asks the network, and not another fetch of the same content.
    leads: bool,
    waits: bool,
    next_share: Instant,
    /// When the checkpoint began that is under way for others.
    sharing: Option<Instant>,

    tick: Delay,
    ticks: u32,
    started: Instant,
    /// When something needed came last.
    progress: Instant,
    life: u64,
    last_problem: String,
    /// What is wrong with the copy that is here.
    here: String,
    /// The first block that was refused for its time, from whom, why and when.
    stale: Option<(Cid, PeerId, Refusal, Instant)>,
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
        let (tell, told) = mpsc::channel(0);
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
            front: None,
            explored: now,
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
            short: false,
            sized: false,
            batch: None,
            hop: None,
            deliveries: Vec::new(),
            since_checkpoint: 0,
            candidates,
            providers: HashMap::new(),
            next_provider: 0,
            asks: HashMap::new(),
            tell,
            told,
            search: None,
            next_search: now,
            search_wait: SEARCH_WAIT,
            tick: Delay::new(TICK),
            ticks: 0,
            started: now,
            progress: now,
            life: 0,
            last_problem: String::new(),
            here: String::new(),
            stale: None,
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
            self.hand_out()?;
            if self.plan.is_complete() && self.out.is_empty() {
                return Ok(true);
            }
            self.start_hop(now);
            self.follow();
            self.ask_for_more(now);
            let wake = poll_fn(|cx| self.poll_wake(cx)).await;
            now = Instant::now();
            match wake {
                Wake::Room => {}
                Wake::Cancelled => return Ok(false),
                Wake::RoomForOutput => self.send_one(),
                Wake::Hop(done) => self.hop_done(*done, now)?,
                Wake::Told(from, told) => self.told(from, told, now),
                Wake::Found(Some(Lead::Named(peer))) => self.lead(peer, true, now),
                Wake::Found(Some(Lead::Connected(peer))) => self.lead(peer, false, now),
                Wake::Found(Some(Lead::Unsearched(why))) => self.unsearched = Some(why),
                Wake::Found(None) => self.searched(now),
                Wake::Shared => self.shared(now)?,
                Wake::Tick => self.clock(now)?,
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
        if self.short && self.out.is_empty() && self.reader.queue.poll_len(cx) == 0 {
            self.short = false;
            return Poll::Ready(Wake::Room);
        }
        if let Some(hop) = &mut self.hop
            && let Poll::Ready(done) = hop.poll_unpin(cx)
        {
            self.hop = None;
            return Poll::Ready(Wake::Hop(Box::new(done)));
        }
        if self.deliveries.len() < MAX_DELIVERIES
            && let Poll::Ready(Some((from, told))) = self.told.poll_next_unpin(cx)
        {
            return Poll::Ready(Wake::Told(from, told));
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
        if Pin::new(&mut self.tick).poll_unpin(cx).is_ready() {
            self.tick.reset(TICK);
            return Poll::Ready(Wake::Tick);
        }
        Poll::Pending
    }

    /// A search came to its end.
    fn searched(&mut self, now: Instant) {
        self.search = None;
        if self.unsearched.is_none() {
            self.searches += 1;
        }
        let wait = match self.is_fed() {
            true => self.search_wait.max(FED_SEARCH_WAIT),
            false => self.search_wait,
        };
        self.next_search = now + wait;
        self.search_wait = (self.search_wait * 2).min(MAX_SEARCH_WAIT);
    }

    /// Says whether it waits for what another fetch of the same content brings.
    fn follow(&mut self) {
        let waits = !self.leads && self.plan.has_missing();
        if waits != self.waits
            && let Some(share) = &self.share
        {
            self.waits = waits;
            share.wait(waits);
        }
        let idle = !self.plan.needs_providers()
            && self.hop.is_none()
            && self.deliveries.is_empty()
            && self.since_checkpoint == 0;
        // What others wait for is not for this one to bring.
        if self.leads && idle && self.share.as_ref().is_some_and(Share::pass_on) {
            self.leads = false;
        }
    }

    /// Another fetch of the same content has stored some of it, or has ended.
    fn shared(&mut self, now: Instant) -> Result<(), FetchError> {
        let Some(share) = &self.share else {
            return Ok(());
        };
        let patience = self.options.patience;
        if let Some(verdict) = share.verdict() {
            // Who waits because waiting cannot help has got nothing so far.
            let since = match verdict.hopeless {
                true => self.started,
                false => self.progress,
            };
            let waited = now.duration_since(since);
            let concerns = !verdict.hopeless || self.plan.total().is_none();
            if concerns && verdict.settles(waited, patience, patience / GRACE) {
                self.last_problem = verdict.last;
                return Err(self.gave_up(verdict.reason, verdict.connected, waited, now));
            }
        }
        self.waits = false;
        self.progress = now;
        let led = mem::replace(&mut self.leads, share.leads());
        // Who is to ask for the rest looks for all of it first.
        let all = self.leads && !led;
        self.plan
            .look_again(if all { usize::MAX } else { LOOK_AGAIN });
        Ok(())
    }

    /// Whether to write down what came, for others that wait for it.
    fn shares(&self, now: Instant) -> bool {
        self.since_checkpoint > 0
            && now >= self.next_share
            && self.share.as_ref().is_some_and(Share::is_waited_for)
    }

    /// Moves what is next in the content to the reader's queue.
    fn hand_out(&mut self) -> Result<(), FetchError> {
        if !self.sized
            && let Some(total) = self.plan.total()
        {
            self.sized = true;
            // Repeated blocks could make it fit after all, but that shows only at
            // its end, when everything else has been evicted for it.
            let max = self.setting.store.usage().max_bytes;
            if total > max {
                return Err(FetchError::OverStore {
                    cid: self.root,
                    size: total,
                    max,
                });
            }
            self.out.push_back(Out::Event(Event::Size(total)));
        }
        while self.out_bytes < MAX_OUT {
            let Some(data) = self.plan.next_data()? else {
                break;
            };
            if data.len() > 0 {
                self.out_bytes += data.len();
                self.out.push_back(Out::Data(data));
            }
        }
        Ok(())
    }

    fn send_one(&mut self) {
        let Some(out) = self.out.pop_front() else {
            return;
        };
        if let Out::Data(data) = &out {
            self.out_bytes -= data.len();
            self.reader.queue.put(data.len());
        }
        // Ready was said; when the reader is gone the next turn finds out.
        let _ = self.reader.output.start_send(Ok(out));
    }

    fn start_hop(&mut self, now: Instant) {
        if self.hop.is_some() {
            return;
        }
        let (read, reserve) = self.read_back();
        let shares = self.shares(now);
        let work = Work {
            deliveries: mem::take(&mut self.deliveries),
            look_up: self.plan.look_up_next(LOOK_UP),
            read,
            reserve,
            checkpoint: shares || self.since_checkpoint >= CHECKPOINT,
        };
        if work.is_empty() {
            return;
        }
        if work.checkpoint {
            self.since_checkpoint = 0;
            self.sharing = Some(now);
        }
        let around = self.around();
        let batch = self.batch.take();
        self.hop = Some(spawn_blocking(move || hop::run(&around, batch, work)));
    }

    /// What to read from the store for the reader, as far as there is memory: the
    /// first block in any case once the reader has taken everything.
    fn read_back(&mut self) -> (Vec<Cid>, Option<Reservation>) {
        if self.out_bytes >= MAX_OUT {
            return (Vec::new(), None);
        }
        let waits = self.out.is_empty() && self.reader.queue.len() == 0;
        let reserve = self.memory.reserve(READ_BACK);
        self.short = reserve.is_none() && !waits;
        if self.short {
            return (Vec::new(), None);
        }
        let bytes = reserve.as_ref().map_or(0, Reservation::len);
        let read = self.plan.read_next(bytes as u64);
        let reserve = reserve.filter(|_| !read.is_empty());
        (read, reserve)
    }

    fn around(&self) -> Around {
        Around {
            store: self.setting.store.clone(),
            memory: Arc::clone(&self.memory),
            max_block: self.options.max_block,
            now: (self.setting.now)(),
        }
    }

    fn hop_done(&mut self, done: hop::Done, now: Instant) -> Result<(), FetchError> {
        self.batch = done.batch;
        if let (Some(began), None, Some(share)) = (self.sharing.take(), &done.error, &self.share) {
            share.stored();
            let took = now.saturating_duration_since(began);
            self.next_share = now + (took * SHARE_PART).max(SHARE_WAIT);
        }
        for verified in done.deliveries {
            let Verified { cid, peer, len, .. } = verified;
            self.looked_at(&cid);
            match verified.found {
                Ok(_) if !self.plan.is_busy(&cid) => {
                    // Another copy of it was first.
                    self.wasted += len;
                    self.stats(peer).wasted += len;
                }
                Ok(found) => {
                    self.proved(verified.from);
                    self.cancel_others(&cid);
                    self.progress = now;
                    self.received += len;
                    self.since_checkpoint += len;
                    self.candidates.delivered(&peer);
                    self.setting.network.delivered(&peer);
                    let stats = self.stats(peer);
                    stats.blocks += 1;
                    stats.bytes += len;
                    self.stale = None;
                    let may_keep = self.memory.room() > 0;
                    self.found(cid, found, may_keep)?;
                }
                Err(refusal) => self.refuse(cid, verified.from, peer, len, refusal, now)?,
            }
        }
        if let Some((cid, ago)) = done.over
            && self.here.is_empty()
        {
            self.here = format!(
                "; the time of {cid} here is over since {}",
                duration::show(ago)
            );
        }
        for (cid, found, len) in done.local {
            self.progress = now;
            self.local += match &found {
                // A leaf that was only seen; its parent says how long it is.
                Found::Here(Arrived::Leaf(None)) => self.plan.stated_size(&cid).unwrap_or(0),
                _ => len,
            };
            // What was read was bounded when it was asked for.
            self.found(cid, found, true)?;
        }
        done.error.map_or(Ok(()), |error| Err(error.into()))
    }

    /// `may_keep`: there is memory for bytes that are not next.
    fn found(&mut self, cid: Cid, found: Found, may_keep: bool) -> Result<(), FetchError> {
        match found {
            Found::Here(arrived) => Ok(self.plan.arrived(&cid, arrived, may_keep)?),
            Found::Absent => {
                self.plan.absent(&cid);
                Ok(())
            }
            Found::Bad(source) => Err(FetchError::Node {
                root: self.root,
                block: cid,
                source,
            }),
        }
    }

    /// Drops a block that did not pass its checks.
    fn refuse(
        &mut self,
        cid: Cid,
        from: u64,
        peer: PeerId,
        len: u64,
        why: Refusal,
        now: Instant,
    ) -> Result<(), FetchError> {
        let refused = &self.setting.metrics.blocks_refused;
        refused.with_label_values(&[why.reason()]).inc();
        self.wasted += len;
        if self.plan.is_busy(&cid) {
            self.wanted_again(&cid);
        }
        self.stats(peer).wasted += len;
        if why.is_fault() {
            let reason = format!("block {cid}: {why}");
            self.expel(from, peer, Fault::Block { cid, why }, &reason, now);
            return Ok(());
        }
        if matches!(why, Refusal::Future(_)) && !is_clock_set((self.setting.now)()) {
            return Err(FetchError::Clock { cid: self.root });
        }
        log::debug!(peer:% = peer, cid:% = cid, error:% = why; "block refused");
        let fault = Fault::Block {
            cid,
            why: why.clone(),
        };
        self.setting.network.report(peer, fault);
        self.stale(from, &cid, now);
        self.stale.get_or_insert((cid, peer, why, now));
        Ok(())
    }

    fn clock(&mut self, now: Instant) -> Result<(), FetchError> {
        self.ticks += 1;
        let mut silent = Vec::new();
        let delivering = self
            .providers
            .values()
            .filter(|p| p.blocks > 0 && p.speed.losses() == 0)
            .count();
        let bytes = self.front_bytes();
        let front = self.front.as_ref().map(|front| *front.cid());
        let paced = front.is_some_and(|cid| self.is_paced(&cid, now));
        if let Some(front) = &mut self.front {
            front.came(bytes, paced, now);
        }
        self.end_attempts(now);
        for (id, provider) in &mut self.providers {
            let total = provider
                .received
                .as_ref()
                .map_or(0, |n| n.load(Ordering::Relaxed));
            if total > provider.seen {
                self.life += total - provider.seen;
                provider.seen = total;
                provider.alive = now;
                provider.flowed = Some(now);
            }
            let waits = provider.connected && provider.owes();
            if waits && now.duration_since(provider.alive) > SILENCE {
                silent.push((*id, Outcome::Silent));
            } else if provider.speed.losses() >= MAX_LOSSES && delivering > 0 {
                silent.push((*id, Outcome::Useless("others are faster".into())));
            }
        }
        for (id, outcome) in silent {
            self.let_go(id, outcome, now);
        }
        if self.life >= LIFE || !self.plan.needs_providers() {
            if self.leads
                && self.life >= LIFE
                && let Some(share) = &self.share
            {
                share.lives(now);
            }
            self.life = 0;
            self.progress = now;
        }
        if !self.leads
            && let Some(lived) = self.share.as_ref().and_then(Share::lived)
        {
            // One block may take longer than the patience on a slow line, and
            // nothing of it is in the store until all of it is here.
            self.progress = self.progress.max(lived);
        }
        if self.ticks.is_multiple_of(PROGRESS_TICKS) && self.out.is_empty() {
            let progress = Progress {
                done: self.plan.done(),
                total: self.plan.total(),
                received: self.received,
                providers: self.holders(),
            };
            self.out.push_back(Out::Event(Event::Progress(progress)));
        }
        if self.ticks.is_multiple_of(PROGRESS_TICKS)
            && self.leads
            && let Some(share) = &self.share
            && share.is_waited_for()
        {
            share.explain(self.reason(now));
        }
        let waited = now.duration_since(self.progress);
        let patient = waited < self.options.patience;
        if let Some((block, peer, why, since)) = &self.stale
            && (!patient || now.duration_since(*since) >= STALE && self.nobody_is_asked())
        {
            return Err(FetchError::Stale {
                cid: self.root,
                block: *block,
                peer: *peer,
                why: why.clone(),
            });
        }
        if patient {
            return self.hope(now);
        }
        let reason = self.known_reason(now);
        self.give_up(&reason, false);
        let connected = self.ever_connected || !self.leads;
        Err(self.gave_up(reason, connected, waited, now))
    }

    /// Tells those who follow, when this fetch leads, why it ends.
    fn give_up(&self, reason: &Reason, hopeless: bool) {
        if self.leads
            && let Some(share) = &self.share
        {
            share.give_up(Verdict {
                reason: reason.clone(),
                last: self.last_problem.clone(),
                connected: self.ever_connected,
                hopeless,
            });
        }
    }

    /// The error after `waited` in which nothing came. `connected`: there was
    /// somebody to ask.
    fn gave_up(
        &mut self,
        reason: Reason,
        connected: bool,
        waited: Duration,
        now: Instant,
    ) -> FetchError {
        let total = self.plan.total();
        // When not even the root came from anybody, nobody was found.
        if total.is_none() || !connected {
            return self.no_providers(reason, now);
        }
        FetchError::Stalled {
            cid: self.root,
            done: self.plan.done(),
            total,
            waited,
            last: mem::take(&mut self.last_problem),
        }
    }

    /// An error when waiting cannot help.
    fn hope(&self, now: Instant) -> Result<(), FetchError> {
        let grace = self.options.patience / GRACE;
        let waited = now.duration_since(self.started);
        let searching = self.plan.total().is_none()
            && (self.providers.values()).all(|p| !p.named && !p.holds)
            && self.leads;
        let quiet = now.duration_since(self.last_lead) >= grace / 2;
        if !searching || waited < grace || !quiet || !self.plan.needs_providers() {
            return Ok(());
        }
        let reason = self.reason(now);
        if !reason.is_final() {
            return Ok(());
        }
        self.give_up(&reason, true);
        Err(self.no_providers(reason, now))
    }

    fn reason(&self, now: Instant) -> Reason {
        let unsearched = self.unsearched.clone();
        let mut reason = Reason::new(self.elapsed(now), self.searches, unsearched);
        self.candidates.tally(&mut reason);
        reason
    }

    /// As far as whoever asks the network knows.
    fn known_reason(&self, now: Instant) -> Reason {
        let led = self.share.as_ref().filter(|_| !self.leads);
        let led = led.and_then(Share::reason);
        led.unwrap_or_else(|| self.reason(now))
    }

    fn no_providers(&self, reason: Reason, now: Instant) -> FetchError {
        FetchError::NoProviders {
            cid: self.root,
            waited: self.elapsed(now),
            reason: Box::new(reason),
            last: self.here.clone(),
        }
    }

    fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    fn stats(&mut self, peer: PeerId) -> &mut ProviderStats {
        if self.stats.len() >= MAX_STATS && !self.stats.contains_key(&peer) {
            return &mut self.other_stats;
        }
        self.stats.entry(peer).or_default()
    }

    /// Makes what is here durable as the content of the root.
    async fn keep(&mut self) -> Result<(), FetchError> {
        let now = (self.setting.now)();
        let root = self.options.keep.then(|| Root {
            cid: self.root,
            size: self.plan.done(),
            blocks: self.plan.nodes(),
            pinned: self.options.pin,
            put_at: now,
            expires_at: None,
            name: self.options.name.clone(),
        });
        if let Some(hop) = self.hop.take() {
            let done = hop.await;
            self.batch = done.batch;
            if let Some(error) = done.error {
                return Err(error.into());
            }
        }
        if let Some(batch) = self.batch.take() {
            let kept = spawn_blocking(move || {
                let root = match root {
                    Some(root) => Some(Root {
                        // The publisher's time, not this node's.
                        expires_at: batch.expires_at(&root.cid, now)?,
                        ..root
                    }),
                    None => None,
                };
                batch.commit(root)
            })
            .await;
            match kept {
                // All of it was here before: whoever reads it must not go without
                // because a full disk cannot note that it was read.
                Err(error @ (store::Error::DiskFull { .. } | store::Error::ReadOnly { .. }))
                    if self.received == 0 =>
                {
                    log::warn!(cid:% = self.root, error:% = error; "content served from here, but not noted as kept");
                }
                kept => kept?,
            }
        }
        Ok(())
    }

    /// Makes what came durable without a root, for the next attempt.
    async fn leave_as_cache(&mut self) {
        if let Some(hop) = self.hop.take() {
            self.batch = hop.await.batch;
        }
        let checkpoint = self.batch.is_some() || !self.deliveries.is_empty();
        let deliveries = mem::take(&mut self.deliveries);
        let work = Work {
            deliveries,
            checkpoint,
            ..Work::default()
        };
        let (around, batch) = (self.around(), self.batch.take());
        let done = spawn_blocking(move || hop::run(&around, batch, work)).await;
        if let Some(error) = done.error {
            log::warn!(cid:% = self.root, error:% = error; "cannot keep what was fetched so far");
        }
    }

    fn summary(&mut self, now: Instant) -> Summary {
        // Content of one block has no parent that says how long it is.
        if self.received == 0 && self.local == 0 {
            self.local = self.plan.done();
        }
        Summary {
            cid: self.root,
            size: self.plan.done(),
            blocks: self.plan.nodes(),
            received: self.received,
            local: self.local,
            wasted: self.wasted,
            providers: mem::take(&mut self.stats),
            peak_memory: self.memory.peak(),
            elapsed: self.elapsed(now),
        }
    }
}
