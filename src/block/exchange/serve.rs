//! The answering side: wants come in, blocks of the store go out.
//!
//! One future for each inbound stream, made of three loops that run side by
//! side: one reads requests, one reads the store, one writes answers. What lies
//! between them is bounded, so that a peer that asks much and reads slowly costs
//! at most [`MAX_WANTS`] addresses and three groups of blocks (about
//! 3 × [`GROUP_BYTES`]). The first of them each stream has for itself; for the
//! others all streams share [`Limits::ahead`], so that a crowd of slow readers
//! holds little, and a few fast ones are read for while they are written to.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_std::future::timeout;
use bytes::Bytes;
use cid::Cid;
use futures::channel::{mpsc, oneshot};
use futures::future::{Either, select};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use futures::{SinkExt, StreamExt};
use ipnet::IpNet;
use libp2p::PeerId;

use super::frame::{self, FrameError, FrameReader};
use super::pb::exchange::{Response, Status};
use super::pb::message::Block;
use super::{MAX_REQUEST_FRAME, MAX_WANTS};
use crate::block::Metrics;
use crate::content::address;
use crate::message::compression;
use crate::message::provenance::Provenance;
use crate::telemetry::Direction;
use crate::telemetry::throttle;

/// Blocks are read in groups of about this size: a hop to a blocking thread
/// costs tens of microseconds, reading 1 MiB hundreds.
const GROUP_BYTES: usize = 1 << 20;

/// Points of reputation by which one peer has to be above another to take its
/// place: more than a few delivered messages make.
const CLEARLY: f64 = 10.0;

/// Answers in one group, when blocks are small or missing.
const GROUP_ANSWERS: usize = 64;

/// A block to serve, with what its publisher says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its bytes.
    pub data: Bytes,
    /// Its publisher's statement, whose time is not over.
    pub provenance: Provenance,
}

/// Where the server gets blocks from. Calls block; they are made off the event
/// loop.
pub trait Source: Clone + Send + Sync + 'static {
    /// The block, when it is here and its time is not over.
    ///
    /// # Errors
    /// When it cannot be read; one line for the log.
    fn block(&self, cid: &Cid) -> Result<Option<Stored>, String>;

    /// Whether [`Source::block`] would give the block, without reading it.
    ///
    /// # Errors
    /// As [`Source::block`].
    fn has(&self, cid: &Cid) -> Result<bool, String>;
}

/// What the server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams served at once for one peer. A fetch uses one; a peer may run
    /// a few.
    pub streams_per_peer: usize,
    /// Streams served at once for all. Each may hold one group, about 1 MiB, so
    /// 128 hold 128 MiB at the very worst, and `ahead` beyond that. (Twice that
    /// when all blocks are the largest that are taken, 2 MiB.)
    pub streams: usize,
    /// Bytes of blocks that all streams together hold beyond the group that each
    /// is writing. A peer may have as many as are still free, so that the first
    /// to come leaves some for others; eight streams at full speed use 16 MiB.
    pub ahead: usize,
    /// When all places are taken, a new stream gets that of a peer of clearly
    /// lower reputation, else one of the peer (or subnet) that has most, if that still leaves
    /// it no fewer than the newcomer, else that of the one that has gone longest
    /// without a block, if that is at least this long. A peer
    /// whose link carries 70 kB/s takes a block of 1 MiB in the default time
    /// and keeps its place; one that only sits there does not.
    pub spare: Duration,
    /// A stream without wants, or whose peer does not take an answer, ends
    /// after this long.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            streams_per_peer: 8,
            streams: 128,
            ahead: 32 << 20,
            spare: Duration::from_secs(15),
            idle: Duration::from_secs(60),
        }
    }
}

/// Why serving a stream ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Reading or writing failed, or a frame was wrong.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// More wants than the protocol allows.
    #[error("more than {MAX_WANTS} unanswered wants")]
    TooManyWants,
    /// More cancels in one request than there can be wants.
    #[error("more than {MAX_WANTS} cancels in one request")]
    TooManyCancels,
    /// A want whose address is no CID.
    #[error("a want without a valid CID")]
    BadWant,
    /// The peer did not take an answer in time.
    #[error("the peer took no answer for {0:?}")]
    Stalled(Duration),
    /// This node already serves as many streams as it may.
    #[error("already serving {0} streams {1}")]
    Busy(usize, &'static str),
    /// It had gone long without a block when another needed its place.
    #[error("without a block for longest when another stream needed the place")]
    Displaced,
}

impl ServeError {
    /// Whether the peer broke the protocol.
    pub fn is_violation(&self) -> bool {
        match self {
            ServeError::Frame(error) => error.is_violation(),
            ServeError::TooManyWants | ServeError::TooManyCancels | ServeError::BadWant => true,
            ServeError::Stalled(_) | ServeError::Busy(..) | ServeError::Displaced => false,
        }
    }
}

/// Who is served, and what decides between it and others when there are more
/// than can be.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// The peer.
    pub peer: PeerId,
    /// Its reputation, -100 to 100.
    pub score: f64,
    /// The subnet it counts for, if it is known. Peer ids are free and addresses
    /// are not, so the peers of one subnet share places and memory as one.
    pub subnet: Option<IpNet>,
}

impl Guest {
    /// A stranger from nowhere.
    pub fn new(peer: PeerId) -> Self {
        Guest {
            peer,
            score: 0.0,
            subnet: None,
        }
    }

    fn party(&self) -> Party {
        match self.subnet {
            Some(subnet) => Party::Subnet(subnet),
            None => Party::Peer(self.peer),
        }
    }
}

/// Those who share as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Party {
    Peer(PeerId),
    Subnet(IpNet),
}

/// What one stream was served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Blocks sent.
    pub blocks: u64,
    /// Their bytes, as they were sent.
    pub bytes: u64,
    /// Wants answered without a block.
    pub refused: u64,
    /// Questions whether a block is here that were answered with yes.
    pub confirmed: u64,
}

/// Serves the blocks of one source to all peers.
#[derive(Clone, Debug)]
pub struct Server<S> {
    source: S,
    limits: Limits,
    metrics: Arc<Metrics>,
    places: Arc<Mutex<Places>>,
    pace: Pace,
    unanswered: Arc<AtomicUsize>,
}

/// Says how long to wait before reading more requests of a peer that has asked
/// so many times in vain.
type Pacing = dyn Fn(&PeerId, u32) -> Option<Duration> + Send + Sync;

#[derive(Clone)]
struct Pace(Arc<Pacing>);

impl std::fmt::Debug for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pace")
    }
}

impl<S: Source> Server<S> {
    /// A server of what `source` has.
    pub fn new(source: S, limits: Limits, metrics: Arc<Metrics>) -> Self {
        Server {
            source,
            limits,
            metrics,
            places: Arc::default(),
            pace: Pace(Arc::new(|_, _| None)),
            unanswered: Arc::default(),
        }
    }

    /// Slows peers by what `pace` says. It is asked for what a peer costs without
    /// being served: wants of blocks that are not here, questions whether one is
    /// here, cancelled wants, requests that want nothing. A want that gets its block is paid for by the block, so
    /// an honest fetch runs at full speed; and who has used up its budget is read
    /// from later, and still served.
    pub fn paced(
        mut self,
        pace: impl Fn(&PeerId, u32) -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        self.pace = Pace(Arc::new(pace));
        self
    }

    /// Serves one inbound stream until the peer closes it.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn serve<T>(&self, peer: PeerId, stream: T) -> Result<Served, ServeError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.serve_as(Guest::new(peer), stream).await
    }

    /// As [`Server::serve`], for a peer of which more is known.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn serve_as<T>(&self, guest: Guest, stream: T) -> Result<Served, ServeError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let peer = guest.peer;
        let (slot, displaced) = self.enter(guest, Instant::now())?;
        let (reader, mut writer) = stream.split();
        let wants = Mutex::new(Wants::counted_in(self.unanswered.clone()));
        let (bell, rung) = mpsc::channel(1);
        let (groups, ready) = mpsc::channel(0);
        let (written, room) = mpsc::channel(1);
        let reader = FrameReader::new(reader, MAX_REQUEST_FRAME);
        let reading = read_requests(reader, &wants, bell, |vain| {
            let wait = (self.pace.0)(&peer, vain)?;
            // Well before the stream would count as idle.
            Some(wait.min(self.limits.idle / 4))
        });
        let loading = self.load(&wants, rung, groups, &slot, room);
        let writing = self.write(&wants, ready, &mut writer, &slot, written);
        let work = pin!(async { futures::try_join!(reading, loading, writing) });
        match select(displaced, work).await {
            Either::Left(_) => {
                self.refused("exchange_displaced");
                Err(ServeError::Displaced)
            }
            Either::Right((done, _)) => done.map(|((), (), served)| served),
        }
    }

    /// Wants of all peers that have arrived and are not answered yet.
    pub fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Acquire)
    }

    fn refused(&self, reason: &'static str) {
        let refused = &self.metrics.traffic.streams_refused;
        refused.with_label_values(&[reason]).inc();
    }

    fn enter(
        &self,
        guest: Guest,
        now: Instant,
    ) -> Result<(Slot, oneshot::Receiver<()>), ServeError> {
        let entered = lock(&self.places).enter(guest, &self.limits, now);
        let (id, displaced) = entered.inspect_err(|_| self.refused("exchange_busy"))?;
        let slot = Slot {
            id,
            places: Arc::clone(&self.places),
            ahead: self.limits.ahead,
        };
        Ok((slot, displaced))
    }

    /// Reads blocks as long as the writer takes them.
    async fn load(
        &self,
        wants: &Mutex<Wants>,
        mut rung: mpsc::Receiver<()>,
        mut groups: mpsc::Sender<Group>,
        slot: &Slot,
        mut room: mpsc::Receiver<()>,
    ) -> Result<(), ServeError> {
        loop {
            let mut hold = None;
            while hold.is_none() && !lock(wants).queue.is_empty() {
                hold = slot.hold();
                // Else the writer has the stream's own group, and says when it is
                // written.
                if hold.is_none() && room.next().await.is_none() {
                    return Ok(());
                }
            }
            let (mut answers, queued) = lock(wants).take_group();
            if !queued.is_empty() {
                let source = self.source.clone();
                let (loaded, rest) =
                    async_std::task::spawn_blocking(move || load_group(&source, queued)).await;
                answers.extend(loaded);
                lock(wants).put_back(rest);
            }
            if !answers.is_empty() {
                let group = Group { answers, hold };
                if groups.send(group).await.is_err() {
                    return Ok(());
                }
                continue;
            }
            match timeout(self.limits.idle, rung.next()).await {
                Ok(Some(())) => {}
                // The peer closed its half and the queue is empty.
                Ok(None) if lock(wants).is_empty() => return Ok(()),
                Ok(None) => {}
                // Idle. With answers still on their way the writer decides.
                Err(_) if lock(wants).unanswered > 0 => {}
                Err(_) => return Err(ServeError::Stalled(self.limits.idle)),
            }
        }
    }

    async fn write<W: AsyncWrite + Unpin>(
        &self,
        wants: &Mutex<Wants>,
        mut ready: mpsc::Receiver<Group>,
        writer: &mut W,
        slot: &Slot,
        mut written: mpsc::Sender<()>,
    ) -> Result<Served, ServeError> {
        let mut served = Served::default();
        let processing = self
            .metrics
            .traffic
            .message_processing
            .with_label_values(&["block"]);
        let bytes = self
            .metrics
            .block_bytes
            .with_label_values(&[Direction::Out.as_str()]);
        while let Some(group) = ready.next().await {
            let count = group.answers.len();
            for answer in group.answers {
                // A block pays for the want of it; a yes or a no does not.
                if matches!(answer.result, Err(Status::DontHave | Status::Have)) {
                    lock(wants).vain += 1;
                }
                let sent = timeout(self.limits.idle, answer.write(writer)).await;
                sent.map_err(|_| ServeError::Stalled(self.limits.idle))?
                    .map_err(FrameError::Io)?;
                self.metrics.traffic.message(Direction::In, "block");
                self.metrics.traffic.message(Direction::Out, "block");
                let now = Instant::now();
                let took = now.saturating_duration_since(answer.arrived);
                processing.observe(took.as_secs_f64());
                match &answer.result {
                    Ok(block) => {
                        slot.fed(now);
                        served.blocks += 1;
                        served.bytes += block.data.len() as u64;
                        bytes.inc_by(block.data.len() as u64);
                    }
                    Err(Status::Have) => served.confirmed += 1,
                    Err(_) => served.refused += 1,
                }
            }
            let flushed = timeout(self.limits.idle, writer.flush()).await;
            flushed
                .map_err(|_| ServeError::Stalled(self.limits.idle))?
                .map_err(FrameError::Io)?;
            lock(wants).answered(count);
            drop(group.hold);
            // Full means that it is said already.
            let _ = written.try_send(());
        }
        let _ = timeout(self.limits.idle, writer.close()).await;
        Ok(served)
    }
}

/// Reads the blocks of `queued` until the group is full; gives back the rest.
fn load_group<S: Source>(source: &S, mut queued: VecDeque<Want>) -> (Vec<Answer>, VecDeque<Want>) {
    let mut answers = Vec::new();
    let mut bytes = 0;
    while bytes < GROUP_BYTES && answers.len() < GROUP_ANSWERS {
        let Some(want) = queued.pop_front() else {
            break;
        };
        let found = match want.have_only {
            true => source.has(&want.cid).map(|has| has.then_some(None)),
            false => source.block(&want.cid).map(|stored| stored.map(Some)),
        };
        let result = match found {
            Ok(Some(Some(stored))) => {
                bytes += stored.data.len();
                Ok(pack(&want.cid, stored))
            }
            Ok(Some(None)) => Err(Status::Have),
            Ok(None) => Err(Status::DontHave),
            Err(error) => {
                // A bad disk and a peer that asks again and again.
                if let Some(suppressed) = throttle::allow("unreadable block") {
                    log::warn!(cid:% = want.cid, error:% = error, suppressed; "cannot read a block that a peer wants");
                }
                Err(Status::Unavailable)
            }
        };
        answers.push(Answer {
            id: want.id,
            arrived: want.arrived,
            result,
        });
    }
    (answers, queued)
}

/// The block as it travels: packed when that makes it smaller.
fn pack(cid: &Cid, stored: Stored) -> Box<Block> {
    let said = stored.provenance;
    let (data, how) = compression::pack(stored.data);
    Box::new(Block {
        hash: cid.hash().to_bytes().into(),
        data,
        timestamp: said.timestamp,
        ttl: said.ttl,
        version: said.version,
        signature: said.signature,
        key: said.key,
        compression: how as i32,
    })
}

async fn read_requests<R: AsyncRead + Unpin>(
    mut reader: FrameReader<R>,
    wants: &Mutex<Wants>,
    mut bell: mpsc::Sender<()>,
    pace: impl Fn(u32) -> Option<Duration>,
) -> Result<(), ServeError> {
    while let Some(request) = reader.request().await? {
        let arrived = Instant::now();
        // Each is looked for in the queue: a frame full of one-byte ids would
        // cost a thousand times what it cost to send.
        if request.cancel.len() > MAX_WANTS {
            return Err(ServeError::TooManyCancels);
        }
        // A request that asks for nothing does not keep the stream alive.
        let mut news = !request.wants.is_empty();
        let vain = {
            let mut wants = lock(wants);
            wants.vain += request.cancel.len() as u32 + u32::from(!news);
            for want in request.wants {
                let cid = Cid::try_from(&want.cid[..]).map_err(|_| ServeError::BadWant)?;
                // A CID that this node cannot verify is one it does not have.
                let cid = address::canonical(&cid).unwrap_or(cid);
                wants.push(Want {
                    id: want.id,
                    cid,
                    have_only: want.have_only,
                    arrived,
                })?;
            }
            for id in request.cancel {
                news |= wants.cancel(id);
            }
            std::mem::take(&mut wants.vain)
        };
        if news {
            // Full means that it is ringing already.
            let _ = bell.try_send(());
        }
        if vain > 0
            && let Some(wait) = pace(vain)
        {
            async_io::Timer::after(wait).await;
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Want {
    id: u64,
    cid: Cid,
    /// Only whether it is here.
    have_only: bool,
    arrived: Instant,
}

#[derive(Debug)]
struct Answer {
    id: u64,
    arrived: Instant,
    result: Result<Box<Block>, Status>,
}

/// Answers that are written together.
struct Group {
    answers: Vec<Answer>,
    /// The memory that their blocks take, unless there are none.
    hold: Option<Hold>,
}

impl Answer {
    async fn write<W: AsyncWrite + Unpin>(&self, writer: &mut W) -> std::io::Result<()> {
        match &self.result {
            Ok(block) => frame::write_block(writer, self.id, block).await,
            Err(status) => {
                let response = Response {
                    id: self.id,
                    status: *status as i32,
                    block: None,
                };
                frame::write_message(writer, &response).await
            }
        }
    }
}

impl Drop for Wants {
    fn drop(&mut self) {
        self.of_all.fetch_sub(self.unanswered, Ordering::AcqRel);
    }
}

/// Wants of one stream between their arrival and their answer.
#[derive(Debug, Default)]
struct Wants {
    queue: VecDeque<Want>,
    cancelled: Vec<Want>,
    /// In the two above, being read, or being written.
    unanswered: usize,
    /// Those of all streams together.
    of_all: Arc<AtomicUsize>,
    /// What the peer cost without being served, not yet charged.
    vain: u32,
}

impl Wants {
    fn counted_in(of_all: Arc<AtomicUsize>) -> Self {
        Wants {
            queue: VecDeque::new(),
            cancelled: Vec::new(),
            unanswered: 0,
            of_all,
            vain: 0,
        }
    }

    fn answered(&mut self, count: usize) {
        self.unanswered -= count;
        self.of_all.fetch_sub(count, Ordering::AcqRel);
    }

    fn push(&mut self, want: Want) -> Result<(), ServeError> {
        if self.unanswered >= MAX_WANTS {
            return Err(ServeError::TooManyWants);
        }
        self.unanswered += 1;
        self.of_all.fetch_add(1, Ordering::AcqRel);
        self.queue.push_back(want);
        Ok(())
    }

    /// Whether it was still in the queue; otherwise it is on its way and stays
    /// so.
    fn cancel(&mut self, id: u64) -> bool {
        let Some(at) = self.queue.iter().position(|want| want.id == id) else {
            return false;
        };
        self.cancelled.extend(self.queue.remove(at));
        true
    }

    fn take_group(&mut self) -> (Vec<Answer>, VecDeque<Want>) {
        let cancelled = self.cancelled.drain(..).map(|want| Answer {
            id: want.id,
            arrived: want.arrived,
            result: Err(Status::Cancelled),
        });
        let answers = cancelled.collect();
        let few = self.queue.len().min(GROUP_ANSWERS);
        (answers, self.queue.drain(..few).collect())
    }

    fn put_back(&mut self, rest: VecDeque<Want>) {
        for want in rest.into_iter().rev() {
            self.queue.push_front(want);
        }
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.cancelled.is_empty()
    }
}

/// The streams that are being served.
#[derive(Debug, Default)]
struct Places {
    next: u64,
    taken: HashMap<u64, Place>,
}

#[derive(Debug)]
struct Place {
    /// Who it was when it came.
    guest: Guest,
    /// When the last block went out, or the stream began.
    fed: Instant,
    /// Whether the group that each stream has for itself is in memory.
    own: bool,
    /// Groups beyond that one.
    ahead: usize,
    /// Dropped with the place, which tells the stream that it has lost it.
    _hold: oneshot::Sender<()>,
}

impl Places {
    /// A place, its number, and what ends when it is lost to another stream.
    fn enter(
        &mut self,
        guest: Guest,
        limits: &Limits,
        now: Instant,
    ) -> Result<(u64, oneshot::Receiver<()>), ServeError> {
        // At most a few hundred, looked at once for a stream.
        let mine = |place: &&Place| place.guest.peer == guest.peer;
        let mine = self.taken.values().filter(mine).count();
        if mine >= limits.streams_per_peer {
            return Err(ServeError::Busy(mine, "for this peer"));
        }
        if self.taken.len() >= limits.streams {
            let spare = self
                .worst(guest.score)
                .or_else(|| self.of_the_greediest(guest.party()))
                .or_else(|| self.unfed(limits.spare, now));
            let Some(spare) = spare else {
                return Err(ServeError::Busy(self.taken.len(), "for all peers"));
            };
            self.taken.remove(&spare);
        }
        let (hold, displaced) = oneshot::channel();
        let id = self.next;
        self.next += 1;
        self.taken.insert(
            id,
            Place {
                guest,
                fed: now,
                own: false,
                ahead: 0,
                _hold: hold,
            },
        );
        Ok((id, displaced))
    }

    /// Memory for one more group of a stream: its own if that is free, else one of
    /// those that all share, `most` bytes. A party may have as much of these as is
    /// still free (dynamic thresholds, as in `node/streams/slots`). `None`: when
    /// the stream has written a group it may ask again.
    fn hold(&mut self, id: u64, most: usize) -> Option<bool> {
        let party = self.taken.get(&id)?.guest.party();
        // One pass over a few hundred places for a megabyte of blocks.
        let (mut all, mut mine) = (0, 0);
        for place in self.taken.values() {
            all += place.ahead;
            if place.guest.party() == party {
                mine += place.ahead;
            }
        }
        let place = self.taken.get_mut(&id)?;
        if !place.own {
            place.own = true;
            return Some(true);
        }
        let free = (most / GROUP_BYTES).saturating_sub(all);
        (mine < free).then(|| {
            place.ahead += 1;
            false
        })
    }

    /// The place of a peer of clearly lower score than the one that comes;
    /// of several, the one that has gone longest without a block.
    fn worst(&self, score: f64) -> Option<u64> {
        let place = self.taken.iter().min_by(|(_, a), (_, b)| {
            let order = a.guest.score.total_cmp(&b.guest.score);
            order.then(a.fed.cmp(&b.fed))
        });
        place
            .filter(|(_, place)| place.guest.score + CLEARLY <= score)
            .map(|(id, _)| *id)
    }

    /// A place of the party that has most of them, when it would still have no
    /// fewer than the one that comes.
    fn of_the_greediest(&self, comes: Party) -> Option<u64> {
        let mut counts: HashMap<Party, usize> = HashMap::new();
        for place in self.taken.values() {
            *counts.entry(place.guest.party()).or_default() += 1;
        }
        let mine = counts.get(&comes).copied().unwrap_or(0);
        let (party, most) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        if most < mine + 2 {
            return None;
        }
        let places = self.taken.iter();
        let places = places.filter(|(_, place)| place.guest.party() == party);
        places.min_by_key(|(_, place)| place.fed).map(|(id, _)| *id)
    }

    /// The place that has gone longest without a block, if that is long.
    fn unfed(&self, spare: Duration, now: Instant) -> Option<u64> {
        let place = self.taken.iter().min_by_key(|(_, place)| place.fed);
        place
            .filter(|(_, place)| now.saturating_duration_since(place.fed) >= spare)
            .map(|(id, _)| *id)
    }
}

/// A stream's place among those served, given back when it ends.
struct Slot {
    id: u64,
    places: Arc<Mutex<Places>>,
    /// [`Limits::ahead`].
    ahead: usize,
}

/// Memory that one group takes, given back when it is written.
struct Hold {
    id: u64,
    places: Arc<Mutex<Places>>,
    own: bool,
}

impl Drop for Hold {
    fn drop(&mut self) {
        // A stream that has lost its place holds its last groups for a moment
        // more; nobody counts them.
        if let Some(place) = lock(&self.places).taken.get_mut(&self.id) {
            if self.own {
                place.own = false;
            } else {
                place.ahead = place.ahead.saturating_sub(1);
            }
        }
    }
}

impl Slot {
    /// Memory for one more group, if there is any now.
    fn hold(&self) -> Option<Hold> {
        let own = lock(&self.places).hold(self.id, self.ahead)?;
        Some(Hold {
            id: self.id,
            places: Arc::clone(&self.places),
            own,
        })
    }

    /// A block went out.
    fn fed(&self, now: Instant) {
        if let Some(place) = lock(&self.places).taken.get_mut(&self.id) {
            place.fed = now;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.places).taken.remove(&self.id);
    }
}

/// Nothing that holds these locks can panic half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            streams_per_peer: 3,
            streams: 6,
            ..Limits::default()
        }
    }

    fn of(score: f64) -> Guest {
        Guest {
            score,
            ..Guest::new(PeerId::random())
        }
    }

    type Entered = Result<(u64, oneshot::Receiver<()>), ServeError>;

    fn lost(entered: &mut Entered) -> bool {
        let hold = &mut entered.as_mut().unwrap().1;
        hold.try_recv().is_err()
    }

    #[test]
    fn a_crowd_makes_room_for_newcomers_and_for_better_peers() {
        let (start, limits) = (Instant::now(), limits());
        let mut places = Places::default();
        let (a, b) = (PeerId::random(), PeerId::random());
        let mut taken: Vec<_> = [a, a, a, b, b, b]
            .into_iter()
            .map(|peer| places.enter(Guest::new(peer), &limits, start))
            .collect();
        // Those of most places give one, until everybody has as many.
        for _ in 0..4 {
            taken.push(places.enter(Guest::new(PeerId::random()), &limits, start));
        }
        let left = |peer| {
            let mine = |place: &&Place| place.guest.peer == peer;
            places.taken.values().filter(mine).count()
        };
        assert_eq!((left(a), left(b)), (1, 1));
        let full = places.enter(Guest::new(PeerId::random()), &limits, start);
        assert!(matches!(full, Err(ServeError::Busy(6, _))), "{full:?}");
        let full = places.enter(of(CLEARLY / 2.0), &limits, start);
        assert!(full.is_err(), "not clearly better");
        // One that is known to be good takes the place of a stranger.
        let good = places.enter(of(50.0), &limits, start);
        assert!(good.is_ok());
        assert_eq!(places.taken.len(), 6);
        assert_eq!(taken.iter_mut().map(lost).filter(|lost| !lost).count(), 5);
    }

    #[test]
    fn many_ids_of_one_subnet_share_as_one_peer() {
        let (start, limits) = (Instant::now(), limits());
        let mut places = Places::default();
        let from = |subnet: &str| Guest {
            subnet: subnet.parse().ok(),
            ..Guest::new(PeerId::random())
        };
        let mut crowd: Vec<_> = (0..6)
            .map(|_| places.enter(from("192.0.2.1/32"), &limits, start))
            .collect();
        for subnet in ["192.0.2.2/32", "192.0.2.3/32", "2001:db8::/56"] {
            crowd.push(places.enter(from(subnet), &limits, start));
        }
        assert_eq!(
            crowd
                .iter_mut()
                .filter_map(|e| lost(e).then_some(()))
                .count(),
            3
        );
        let full = places.enter(from("192.0.2.1/32"), &limits, start);
        assert!(full.is_err(), "it has most already");
        // And what is read ahead: half of it for all of them.
        let ids: Vec<_> = crowd
            .iter()
            .take(6)
            .map(|e| e.as_ref().unwrap().0)
            .collect();
        let mut got = 0;
        for id in ids {
            for _ in 0..9 {
                got += u32::from(places.hold(id, 8 * GROUP_BYTES) == Some(false));
            }
        }
        assert_eq!(got, 4);
    }

    #[test]
    fn slow_streams_share_what_is_read_ahead_and_each_has_a_group_of_its_own() {
        let (start, limits) = (Instant::now(), Limits::default());
        let mut places = Places::default();
        let enter = |places: &mut Places, peer| {
            let entered = places.enter(Guest::new(peer), &limits, start);
            let (id, displaced) = entered.unwrap();
            (id, displaced)
        };
        // Sixteen peers of eight streams, none of which ever writes a group.
        let mut kept = Vec::new();
        let mut counts = Vec::new();
        for _ in 0..16 {
            let peer = PeerId::random();
            let mut got = 0;
            for _ in 0..8 {
                let (id, displaced) = enter(&mut places, peer);
                kept.push((id, displaced));
                assert_eq!(places.hold(id, limits.ahead), Some(true), "its own");
                for _ in 0..2 {
                    got += usize::from(places.hold(id, limits.ahead).is_some());
                }
            }
            counts.push(got);
        }
        assert_eq!(counts[..6], [16, 8, 4, 2, 1, 1]);
        let held: usize = places
            .taken
            .values()
            .map(|p| p.ahead + usize::from(p.own))
            .sum();
        assert_eq!(held * GROUP_BYTES, (128 << 20) + limits.ahead);
        // What the first gives back, the last may have.
        let last = kept.last().unwrap().0;
        assert_eq!(places.hold(last, limits.ahead), None);
        let first: Vec<_> = kept.drain(..8).map(|(id, _)| id).collect();
        for id in first {
            places.taken.remove(&id);
        }
        assert_eq!(places.hold(last, limits.ahead), Some(false));
    }
}
