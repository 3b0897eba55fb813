//! The task that drives one fetch.
//!
//! It waits for whatever comes first (room at the reader, a finished hop, an
//! answer, a newly found provider, the clock) and after each of them does what
//! became possible: hands out bytes, starts the next hop, asks for more.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_std::task::{JoinHandle, spawn, spawn_blocking};
use cid::Cid;
use futures::channel::{mpsc, oneshot};
use futures::stream::BoxStream;
use futures::{FutureExt, SinkExt, StreamExt};
use futures_timer::Delay;
use libp2p::PeerId;

use super::held::{Held, Meter};
use super::hop::{self, Delivery, Found, Work};
use super::peers::Peers;
use super::plan::Plan;
use super::provider::Speed;
use super::{Event, FetchError, FetchOptions, Out, Progress, ProviderStats, Setting, Summary};
use crate::block::address::{self, VerifyError};
use crate::block::exchange::session::{self, Answer, Command, Reply};
use crate::block::network::{Fault, Network};
use crate::observe::metrics::Direction;
use crate::store::{Batch, Root};

/// Providers asked at once. More than a few add dials and duplicate work and no
/// speed; fewer leave it to luck whether a fast one is among them.
const MAX_PROVIDERS: usize = 8;

/// Blocks that wait for verification. Sessions are held back beyond it.
const MAX_DELIVERIES: usize = 8;

/// Bytes handed to the reader's queue ahead of its reading.
const MAX_OUT: usize = 4 << 20;

/// Bytes read back from the store in one hop, for the front of the content.
const READ_BACK: u64 = 4 << 20;

/// Blocks looked for in the store in one hop: a look-up is some microseconds.
const LOOK_UP: usize = 256;

/// Received bytes between two checkpoints: what an interruption costs at most.
/// A checkpoint waits for the disk, so it is not free either.
const CHECKPOINT: u64 = 256 << 20;

/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(100);

/// Ticks between two events of progress.
const PROGRESS_TICKS: u32 = 5;

/// How long a provider may take to accept a stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a provider that was asked may send nothing at all.
const SILENCE: Duration = Duration::from_secs(10);

/// Bytes that count as a sign of life of the whole fetch: a slow path needs
/// longer than the patience for a block, and one byte now and then is no path.
const LIFE: u64 = 16 << 10;

/// Missing blocks looked at to find one for a provider that lacks the first.
const SCAN: usize = 1024;

/// Refusals in a row after which a provider is let go until later.
const MAX_REFUSALS: usize = 64;

/// Losses in a row after which a provider is let go until later, if another
/// delivers.
const MAX_LOSSES: u32 = 4;

/// Blocks of the front that may be asked of a second provider.
const RACE: usize = 32;

/// Time until the next search for providers; doubles up to [`MAX_SEARCH_WAIT`].
const SEARCH_WAIT: Duration = Duration::from_secs(1);
const MAX_SEARCH_WAIT: Duration = Duration::from_secs(30);

/// Providers that the summary names.
const MAX_STATS: usize = 64;

/// A session with one provider, as the task sees it.
struct Provider {
    peer: PeerId,
    commands: mpsc::UnboundedSender<Command>,
    next_id: u64,
    open: HashMap<u64, (Cid, Instant)>,
    speed: Speed,
    lacks: HashSet<Cid>,
    refusals: usize,
    connected: bool,
    received: Option<Arc<AtomicU64>>,
    seen: u64,
    /// When bytes came last, or when it was asked after a pause.
    alive: Instant,
}

impl Provider {
    fn ask(&mut self, cid: Cid, now: Instant) -> bool {
        if self.open.is_empty() {
            self.alive = now;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.open.insert(id, (cid, now));
        self.commands.unbounded_send(Command::Want(id, cid)).is_ok()
    }

    fn has_room(&self) -> bool {
        self.connected && self.open.len() < self.speed.window()
    }
}

/// What a session tells the task.
enum Told {
    Answer(Answer),
    Closed(String, Option<Fault>),
}

enum Wake {
    Cancelled,
    RoomForOutput,
    Hop(Box<hop::Done>),
    Told(u64, Told),
    Found(Option<PeerId>),
    Tick,
}

/// See the module's documentation.
pub(super) struct Run<N: Network> {
    setting: Setting<N>,
    root: Cid,
    options: FetchOptions,
    meter: Arc<Meter>,
    plan: Plan,

    output: mpsc::Sender<Result<Out, FetchError>>,
    cancelled: oneshot::Receiver<()>,
    out: VecDeque<Out>,
    out_bytes: usize,
    sized: bool,

    batch: Option<Batch>,
    hop: Option<JoinHandle<hop::Done>>,
    deliveries: Vec<Delivery>,
    since_checkpoint: u64,

    peers: Peers,
    providers: HashMap<u64, Provider>,
    next_provider: u64,
    /// Who was asked for a block that is on its way.
    asks: HashMap<Cid, Vec<u64>>,
    tell: mpsc::Sender<(u64, Told)>,
    told: mpsc::Receiver<(u64, Told)>,
    search: Option<BoxStream<'static, PeerId>>,
    next_search: Instant,
    search_wait: Duration,

    tick: Delay,
    ticks: u32,
    started: Instant,
    /// When something needed came last.
    progress: Instant,
    life: u64,
    last_problem: String,
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
        output: mpsc::Sender<Result<Out, FetchError>>,
        cancelled: oneshot::Receiver<()>,
        meter: Arc<Meter>,
    ) -> Self {
        let now = Instant::now();
        // One place in the channel for each session comes with its sender.
        let (tell, told) = mpsc::channel(0);
        let mut peers = Peers::default();
        for peer in &options.providers {
            peers.found(*peer, now);
        }
        Run {
            plan: Plan::new(root, options.max_size),
            setting,
            root,
            options,
            meter,
            output,
            cancelled,
            out: VecDeque::new(),
            out_bytes: 0,
            sized: false,
            batch: None,
            hop: None,
            deliveries: Vec::new(),
            since_checkpoint: 0,
            peers,
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
                let _ = self.output.send(Err(error)).await;
                return;
            }
        };
        let last = match result {
            Ok(()) => {
                if self.options.keep {
                    done(&self.root);
                }
                Ok(Out::Event(Event::Done(self.summary())))
            }
            Err(error) => Err(error),
        };
        let _ = self.output.send(last).await;
    }

    /// True when everything is delivered, false when nobody reads any more.
    async fn drive(&mut self) -> Result<bool, FetchError> {
        address::canonical(&self.root)?;
        loop {
            self.hand_out()?;
            if self.plan.is_complete() && self.out.is_empty() {
                return Ok(true);
            }
            self.start_hop();
            self.ask_for_more();
            match poll_fn(|cx| self.poll_wake(cx)).await {
                Wake::Cancelled => return Ok(false),
                Wake::RoomForOutput => self.send_one(),
                Wake::Hop(done) => self.hop_done(*done)?,
                Wake::Told(from, told) => self.told(from, told),
                Wake::Found(Some(peer)) => self.peers.found(peer, Instant::now()),
                Wake::Found(None) => {
                    self.search = None;
                    self.next_search = Instant::now() + self.search_wait;
                    self.search_wait = (self.search_wait * 2).min(MAX_SEARCH_WAIT);
                }
                Wake::Tick => self.clock()?,
            }
        }
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        if self.cancelled.poll_unpin(cx).is_ready() {
            return Poll::Ready(Wake::Cancelled);
        }
        if !self.out.is_empty() {
            match self.output.poll_ready(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Wake::RoomForOutput),
                Poll::Ready(Err(_)) => return Poll::Ready(Wake::Cancelled),
                Poll::Pending => {}
            }
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
        if Pin::new(&mut self.tick).poll_unpin(cx).is_ready() {
            self.tick.reset(TICK);
            return Poll::Ready(Wake::Tick);
        }
        Poll::Pending
    }

    /// Moves what is next in the content to the reader's queue.
    fn hand_out(&mut self) -> Result<(), FetchError> {
        if !self.sized
            && let Some(total) = self.plan.total()
        {
            self.sized = true;
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
        }
        // Ready was said; when the reader is gone the next turn finds out.
        let _ = self.output.start_send(Ok(out));
    }

    fn start_hop(&mut self) {
        if self.hop.is_some() {
            return;
        }
        let work = Work {
            deliveries: mem::take(&mut self.deliveries),
            look_up: self.plan.to_look_up(LOOK_UP),
            read: if self.out_bytes < MAX_OUT {
                self.plan.to_read(READ_BACK)
            } else {
                Vec::new()
            },
            checkpoint: self.since_checkpoint >= CHECKPOINT,
        };
        if work.is_empty() {
            return;
        }
        if work.checkpoint {
            self.since_checkpoint = 0;
        }
        let store = self.setting.store.clone();
        let batch = self.batch.take();
        let meter = Arc::clone(&self.meter);
        self.hop = Some(spawn_blocking(move || {
            hop::run(&store, batch, work, &meter)
        }));
    }

    fn hop_done(&mut self, done: hop::Done) -> Result<(), FetchError> {
        self.batch = done.batch;
        for (delivery, found) in done.deliveries {
            match found {
                Ok(found) => {
                    self.progress = Instant::now();
                    let len = delivery.held.len() as u64;
                    self.received += len;
                    self.since_checkpoint += len;
                    self.peers.delivered(&delivery.peer);
                    let stats = self.stats(delivery.peer);
                    stats.blocks += 1;
                    stats.bytes += len;
                    self.found(delivery.cid, found)?;
                }
                Err(error) => self.bad_block(&delivery, &error),
            }
        }
        for (cid, found, len) in done.local {
            self.progress = Instant::now();
            self.local += len;
            self.found(cid, found)?;
        }
        done.error.map_or(Ok(()), |error| Err(error.into()))
    }

    fn found(&mut self, cid: Cid, found: Found) -> Result<(), FetchError> {
        match found {
            Found::Here(arrived) => self.plan.arrived(&cid, arrived),
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

    fn bad_block(&mut self, delivery: &Delivery, error: &VerifyError) {
        self.setting.metrics.blocks_bad.inc();
        self.wasted += delivery.held.len() as u64;
        self.plan.absent(&delivery.cid);
        self.stats(delivery.peer).wasted += delivery.held.len() as u64;
        self.expel(
            delivery.from,
            delivery.peer,
            Fault::BadBlock(delivery.cid),
            &error.to_string(),
        );
    }

    fn told(&mut self, from: u64, told: Told) {
        let now = Instant::now();
        // Told by a session that was let go meanwhile.
        let Some(provider) = self.providers.get_mut(&from) else {
            return;
        };
        match told {
            Told::Answer(Answer::Open(received)) => {
                provider.connected = true;
                provider.received = Some(received);
                provider.alive = now;
                self.ever_connected = true;
            }
            Told::Closed(reason, Some(fault)) => {
                let peer = provider.peer;
                self.expel(from, peer, fault, &reason);
            }
            Told::Closed(reason, None) => self.let_go(from, &reason),
            Told::Answer(Answer::Reply(id, cid, reply)) => {
                self.setting.metrics.message(Direction::In, "block");
                let asked = provider.open.remove(&id).map_or(now, |(_, asked)| asked);
                match reply {
                    Reply::Block(data) => self.delivered(from, cid, data, asked, now),
                    Reply::Cancelled => self.unasked(from, &cid),
                    Reply::DontHave | Reply::Unavailable => {
                        provider.lacks.insert(cid);
                        provider.refusals += 1;
                        let refusals = provider.refusals;
                        self.unasked(from, &cid);
                        if refusals >= MAX_REFUSALS {
                            self.let_go(from, "it has too little of the content");
                        }
                    }
                }
            }
        }
    }

    fn delivered(&mut self, from: u64, cid: Cid, data: bytes::Bytes, asked: Instant, now: Instant) {
        let Some(provider) = self.providers.get_mut(&from) else {
            return;
        };
        let bytes = self.setting.metrics.block_bytes.with_label_values(&["in"]);
        bytes.inc_by(data.len() as u64);
        let processing = self
            .setting
            .metrics
            .message_processing
            .with_label_values(&["block"]);
        processing.observe(now.duration_since(asked).as_secs_f64());
        provider.speed.delivered(data.len(), asked, now);
        provider.refusals = 0;
        if !self.plan.wants(&cid) {
            // Another was first, and the cancel came too late.
            self.wasted += data.len() as u64;
            let peer = provider.peer;
            self.stats(peer).wasted += data.len() as u64;
            return;
        }
        for other in self.asks.remove(&cid).unwrap_or_default() {
            if other == from {
                continue;
            }
            if let Some(provider) = self.providers.get_mut(&other) {
                provider.speed.lost();
                let open = provider
                    .open
                    .iter()
                    .filter(|(_, (wanted, _))| *wanted == cid);
                let ids: Vec<u64> = open.map(|(id, _)| *id).collect();
                for id in ids {
                    let _ = provider.commands.unbounded_send(Command::Cancel(id));
                }
            }
        }
        self.plan.verifying(&cid);
        let Some(peer) = self.providers.get(&from).map(|provider| provider.peer) else {
            return;
        };
        let held = Held::new(data, &self.meter);
        self.deliveries.push(Delivery {
            cid,
            from,
            peer,
            held,
        });
    }

    /// The provider will not bring the block.
    fn unasked(&mut self, from: u64, cid: &Cid) {
        if let Some(asked) = self.asks.get_mut(cid) {
            asked.retain(|other| *other != from);
            if asked.is_empty() {
                self.asks.remove(cid);
                if self.plan.wants(cid) {
                    self.plan.absent(cid);
                }
            }
        }
    }

    /// Ends a session and takes back what it was asked for.
    fn close(&mut self, from: u64) -> Option<PeerId> {
        let provider = self.providers.remove(&from)?;
        for (cid, _) in provider.open.values() {
            self.unasked(from, cid);
        }
        if self.providers.is_empty() {
            // Nobody is left: search soon, however long the last wait was.
            self.search_wait = SEARCH_WAIT;
            self.next_search = self.next_search.min(Instant::now() + SEARCH_WAIT);
        }
        Some(provider.peer)
    }

    fn let_go(&mut self, from: u64, reason: &str) {
        if let Some(peer) = self.close(from) {
            log::debug!(peer:% = peer, cid:% = self.root; "provider let go: {reason}");
            self.last_problem = format!("; last: {peer}: {reason}");
            self.peers.failed(&peer, Instant::now());
        }
    }

    /// Ends the session, also one that ended by itself before its block was
    /// verified, and asks the peer nothing more.
    fn expel(&mut self, from: u64, peer: PeerId, fault: Fault, reason: &str) {
        self.close(from);
        log::warn!(peer:% = peer, cid:% = self.root; "provider expelled: {reason}");
        self.last_problem = format!("; last: {peer}: {reason}");
        self.peers.ban(&peer);
        self.setting.network.report(peer, fault);
    }

    fn ask_for_more(&mut self) {
        if !self.plan.needs_providers() {
            return;
        }
        let now = Instant::now();
        if self.search.is_none() && now >= self.next_search && self.wants_search() {
            for provider in self.providers.values_mut() {
                // They may have it by now.
                provider.lacks.clear();
            }
            self.search = Some(self.setting.network.find_providers(&self.root));
        }
        while self.providers.len() < MAX_PROVIDERS {
            let Some(peer) = self.peers.next(now) else {
                break;
            };
            self.connect(peer, now);
        }
        let mut fastest: Vec<u64> = self.providers.keys().copied().collect();
        fastest.sort_by(|a, b| self.rate(*b).total_cmp(&self.rate(*a)));
        let mut failed = Vec::new();
        for id in &fastest {
            let Some(provider) = self.providers.get_mut(id) else {
                continue;
            };
            while provider.has_room() {
                let may = |cid: &Cid| !provider.lacks.contains(cid);
                let Some(cid) = self.plan.first_missing(SCAN, may) else {
                    break;
                };
                if !provider.ask(cid, now) {
                    failed.push(*id);
                    break;
                }
                self.setting.metrics.message(Direction::Out, "block");
                self.plan.asked(&cid);
                self.asks.entry(cid).or_default().push(*id);
            }
        }
        for id in failed {
            self.let_go(id, "the stream ended");
        }
        self.race(&fastest, now);
    }

    fn rate(&self, id: u64) -> f64 {
        self.providers
            .get(&id)
            .map_or(0.0, |provider| provider.speed.rate())
    }

    fn wants_search(&self) -> bool {
        self.providers
            .values()
            .filter(|provider| provider.connected)
            .count()
            < 2
            || self.plan.has_missing()
                && self
                    .providers
                    .values()
                    .all(|provider| provider.open.is_empty())
    }

    /// Asks a second provider for blocks near the front that take longer than it
    /// would: at once when it is idle, and for the very front also when it is not.
    fn race(&mut self, fastest: &[u64], now: Instant) {
        let front = self.plan.front_asked();
        for id in fastest {
            let Some(provider) = self.providers.get(id) else {
                continue;
            };
            if !provider.connected {
                continue;
            }
            // Twice what it usually takes, and a little for the scheduler; who
            // has not delivered yet tries only what is long overdue.
            let overdue = provider
                .speed
                .latency()
                .map_or(Duration::from_secs(1), |latency| latency * 2)
                + Duration::from_millis(50);
            let idle = provider.has_room();
            let candidate = self.plan.first_asked().take(RACE).find(|cid| {
                let Some(asked) = self.asks.get(*cid) else {
                    return false;
                };
                let holder = asked.first().and_then(|holder| self.providers.get(holder));
                let Some(holder) = holder else { return false };
                asked.len() == 1
                    && asked[0] != *id
                    && !provider.lacks.contains(*cid)
                    && (idle || front == Some(**cid) && provider.speed.rate() > holder.speed.rate())
                    && holder
                        .open
                        .values()
                        .any(|(wanted, at)| wanted == *cid && now.duration_since(*at) > overdue)
            });
            if let Some(cid) = candidate.copied()
                && let Some(provider) = self.providers.get_mut(id)
                && provider.ask(cid, now)
            {
                self.setting.metrics.message(Direction::Out, "block");
                self.asks.entry(cid).or_default().push(*id);
            }
        }
    }

    fn connect(&mut self, peer: PeerId, now: Instant) {
        let id = self.next_provider;
        self.next_provider += 1;
        let (commands, orders) = mpsc::unbounded();
        self.providers.insert(
            id,
            Provider {
                peer,
                commands,
                next_id: 0,
                open: HashMap::new(),
                speed: Speed::new(),
                lacks: HashSet::new(),
                refusals: 0,
                connected: false,
                received: None,
                seen: 0,
                alive: now,
            },
        );
        let opening = self.setting.network.open(peer);
        let max_block = self.options.max_block;
        let mut tell = self.tell.clone();
        spawn(async move {
            let told = match async_std::future::timeout(OPEN_TIMEOUT, opening).await {
                Err(_) => Told::Closed(format!("no stream within {OPEN_TIMEOUT:?}"), None),
                Ok(Err(error)) => Told::Closed(error.to_string(), None),
                Ok(Ok(stream)) => {
                    let wrap = |answer| (id, Told::Answer(answer));
                    match session::run(stream, max_block, orders, &mut tell, wrap).await {
                        Ok(()) => return,
                        Err(error) => {
                            let reason = error.to_string();
                            let fault = error
                                .is_violation()
                                .then(|| Fault::Protocol(reason.clone()));
                            Told::Closed(reason, fault)
                        }
                    }
                }
            };
            let _ = tell.send((id, told)).await;
        });
    }

    fn clock(&mut self) -> Result<(), FetchError> {
        let now = Instant::now();
        self.ticks += 1;
        let mut silent = Vec::new();
        let delivering = self
            .providers
            .values()
            .filter(|p| p.speed.losses() == 0)
            .count();
        for (id, provider) in &mut self.providers {
            let total = provider
                .received
                .as_ref()
                .map_or(0, |n| n.load(Ordering::Relaxed));
            if total > provider.seen {
                self.life += total - provider.seen;
                provider.seen = total;
                provider.alive = now;
            }
            let waits = provider.connected && !provider.open.is_empty();
            if waits && now.duration_since(provider.alive) > SILENCE {
                silent.push((*id, "it sent nothing of what it was asked for"));
            } else if provider.speed.losses() >= MAX_LOSSES && delivering > 0 {
                silent.push((*id, "others are faster"));
            }
        }
        for (id, reason) in silent {
            self.let_go(id, reason);
        }
        if self.life >= LIFE || !self.plan.needs_providers() {
            self.life = 0;
            self.progress = now;
        }
        if self.ticks.is_multiple_of(PROGRESS_TICKS) && self.out.is_empty() {
            let progress = Progress {
                done: self.plan.done(),
                total: self.plan.total(),
                received: self.received,
                providers: self.providers.values().filter(|p| p.connected).count(),
            };
            self.out.push_back(Out::Event(Event::Progress(progress)));
        }
        let waited = now.duration_since(self.progress);
        if waited < self.options.patience {
            return Ok(());
        }
        let (cid, last) = (self.root, mem::take(&mut self.last_problem));
        Err(if self.ever_connected {
            let (done, total) = (self.plan.done(), self.plan.total());
            FetchError::Stalled {
                cid,
                done,
                total,
                waited,
                last,
            }
        } else {
            FetchError::NoProviders { cid, waited, last }
        })
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
            expires_at: self.options.ttl.map(|ttl| now + ttl),
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
            spawn_blocking(move || batch.commit(root)).await?;
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
        let (store, batch) = (self.setting.store.clone(), self.batch.take());
        let meter = Arc::clone(&self.meter);
        let done = spawn_blocking(move || hop::run(&store, batch, work, &meter)).await;
        if let Some(error) = done.error {
            log::warn!(cid:% = self.root; "cannot keep what was fetched so far: {error}");
        }
    }

    fn summary(&mut self) -> Summary {
        Summary {
            cid: self.root,
            size: self.plan.done(),
            blocks: self.plan.nodes(),
            received: self.received,
            local: self.local,
            wasted: self.wasted,
            providers: mem::take(&mut self.stats),
            peak_memory: self.meter.peak(),
            elapsed: self.started.elapsed(),
        }
    }
}
