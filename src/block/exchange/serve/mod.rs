//! The answering side: it receives wants and sends blocks from the store.
//!
//! There is one future for each inbound stream, which consists of three loops that run
//! side by side: one reads requests, one reads the store, and one writes answers. What
//! waits between them is bounded. So a peer that asks for much and reads slowly costs at
//! most `MAX_WANTS` addresses and three groups of blocks (about 3 × `GROUP_BYTES`). The
//! first of these groups is reserved for each stream; for the others all streams share
//! [`Limits::ahead`]. In this way many slow readers hold little memory, and blocks for a
//! few fast ones are read while others are being written.

//!
//! | file | noun |
//! |---|---|
//! | [`source`] | where the blocks come from |
//! | [`limits`] | the limits of the server |
//! | [`guest`] | a peer that is served |
//! | `streams` | the streams that are being served, and which one another displaces |
//! | `entry` | the entry of one stream among them |
//! | `wants` | the wants of one stream |
//! | `requests` | the loop that reads them |
//! | `group` | answers that are read and written together |
//! | `pace` | how fast the requests of a peer are read |
//! | [`served`] | what was sent on one stream |
//! | [`error`] | why serving a stream ended early |

mod entry;
pub mod error;
mod group;
pub mod guest;
pub mod limits;
mod pace;
mod requests;
pub mod served;
pub mod source;
mod streams;
mod unanswered;
mod wants;

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_std::future::timeout;
use futures::channel::{mpsc, oneshot};
use futures::future::{Either, select};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use futures::{SinkExt, StreamExt};
use libp2p::PeerId;

use super::MAX_REQUEST_FRAME;
use super::frame::{FrameError, FrameReader};
use super::pb::exchange::Status;
use crate::block::Metrics;
use crate::telemetry::Direction;
use entry::Entry;
pub use error::ServeError;
use group::Group;
pub use guest::Guest;
pub use limits::Limits;
use pace::Pace;
pub use served::Served;
pub use source::{Source, Stored};
use streams::ServedStreams;
use unanswered::Unanswered;
use wants::Wants;

/// Serves the blocks of one source to all peers.
#[derive(Clone, Debug)]
pub struct Server<S> {
    source: S,
    limits: Limits,
    metrics: Arc<Metrics>,
    streams: Arc<Mutex<ServedStreams>>,
    pace: Pace,
    unanswered: Unanswered,
}

impl<S: Source> Server<S> {
    /// Creates a server of the blocks that `source` has.
    pub fn new(source: S, limits: Limits, metrics: Arc<Metrics>) -> Self {
        Server {
            source,
            limits,
            metrics,
            streams: Arc::default(),
            pace: Pace::new(|_, _| None),
            unanswered: Unanswered::default(),
        }
    }

    /// Slows peers down as `pace` says. `pace` is told what a peer costs without
    /// receiving blocks: wants of blocks that are not here, questions whether a block is
    /// here, cancelled wants, and requests without wants. A want that gets its block
    /// costs the peer nothing, so that an honest fetch runs at full speed. When a peer
    /// has used up its budget, its requests are read later, but they are still answered.
    pub fn paced(
        mut self,
        pace: impl Fn(&PeerId, u32) -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        self.pace = Pace::new(pace);
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

    /// Does the same as [`Server::serve`], for a peer about which more is known.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn serve_as<T>(&self, guest: Guest, stream: T) -> Result<Served, ServeError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let peer = guest.peer;
        let (entry, displaced) = self.enter(guest, Instant::now())?;
        let (reader, mut writer) = stream.split();
        let wants = Mutex::new(Wants::counted_in(self.unanswered.clone()));
        let (notify, arrived) = mpsc::channel(1);
        let (groups, ready) = mpsc::channel(0);
        let (written, room) = mpsc::channel(1);
        let reader = FrameReader::new(reader, MAX_REQUEST_FRAME);
        let reading = requests::read(reader, &wants, notify, |uncharged| {
            let wait = self.pace.wait(&peer, uncharged)?;
            // This is well before the stream would count as idle.
            Some(wait.min(self.limits.idle / 4))
        });
        let loading = self.load(&wants, arrived, groups, &entry, room);
        let writing = self.write(&wants, ready, &mut writer, &entry, written);
        let work = pin!(async { futures::try_join!(reading, loading, writing) });
        match select(displaced, work).await {
            Either::Left(_) => Err(self.refuse(ServeError::Displaced)),
            Either::Right((done, _)) => done.map(|((), (), served)| served),
        }
    }

    /// Returns the number of wants of all peers that have arrived but have not been
    /// answered yet.
    pub fn unanswered(&self) -> usize {
        self.unanswered.count()
    }

    /// Waits until no want of any peer has been unanswered for `quiet`; not at all if none
    /// is unanswered now. Only one may wait at a time.
    pub async fn none_unanswered_for(&self, quiet: Duration) {
        self.unanswered.none_for(quiet).await;
    }

    /// Counts the error if it means that there was no place for the stream.
    fn refuse(&self, error: ServeError) -> ServeError {
        if let Some(reason) = error.refusal() {
            self.metrics.stream_refused(reason);
        }
        error
    }

    fn enter(
        &self,
        guest: Guest,
        now: Instant,
    ) -> Result<(Entry, oneshot::Receiver<()>), ServeError> {
        let entered = lock(&self.streams).enter(guest, &self.limits, now);
        let (id, displaced) = entered.map_err(|error| self.refuse(error))?;
        let entry = Entry {
            id,
            streams: Arc::clone(&self.streams),
            ahead: self.limits.ahead,
        };
        Ok((entry, displaced))
    }

    /// Reads blocks for as long as the writer takes them.
    async fn load(
        &self,
        wants: &Mutex<Wants>,
        mut arrived: mpsc::Receiver<()>,
        mut groups: mpsc::Sender<Group>,
        entry: &Entry,
        mut room: mpsc::Receiver<()>,
    ) -> Result<(), ServeError> {
        loop {
            let mut memory = None;
            while memory.is_none() && !lock(wants).queue.is_empty() {
                memory = entry.take_memory();
                // If there is none, the writer has the stream's own group, and reports
                // when that has been written.
                if memory.is_none() && room.next().await.is_none() {
                    return Ok(());
                }
            }
            let (mut answers, queued) = lock(wants).take_group();
            if !queued.is_empty() {
                let source = self.source.clone();
                let (loaded, rest) =
                    async_std::task::spawn_blocking(move || group::load(&source, queued)).await;
                answers.extend(loaded);
                lock(wants).put_back(rest);
            }
            if !answers.is_empty() {
                let group = Group { answers, memory };
                if groups.send(group).await.is_err() {
                    return Ok(());
                }
                continue;
            }
            match timeout(self.limits.idle, arrived.next()).await {
                Ok(Some(())) => {}
                // The peer has closed its half of the stream, and the queue is empty.
                Ok(None) if lock(wants).is_empty() => return Ok(()),
                Ok(None) => {}
                // The stream is idle. While answers are still to be written, the writer
                // decides about its end.
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
        entry: &Entry,
        mut written: mpsc::Sender<()>,
    ) -> Result<Served, ServeError> {
        let mut served = Served::default();
        while let Some(group) = ready.next().await {
            let count = group.answers.len();
            for answer in group.answers {
                // A want that gets its block costs nothing; a "yes" or a "no" is charged.
                if matches!(answer.result, Err(Status::DontHave | Status::Have)) {
                    lock(wants).uncharged += 1;
                }
                let sent = timeout(self.limits.idle, answer.write(writer)).await;
                sent.map_err(|_| ServeError::Stalled(self.limits.idle))?
                    .map_err(FrameError::Io)?;
                self.metrics.message(Direction::In);
                self.metrics.message(Direction::Out);
                let now = Instant::now();
                let took = now.saturating_duration_since(answer.arrived);
                self.metrics.answered_after(took.as_secs_f64());
                match &answer.result {
                    Ok(block) => {
                        entry.block_sent(now);
                        served.blocks += 1;
                        served.bytes += block.data.len() as u64;
                        self.metrics.moved(Direction::Out, block.data.len());
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
            drop(group.memory);
            // If the channel is full, it carries the same message already.
            let _ = written.try_send(());
        }
        let _ = timeout(self.limits.idle, writer.close()).await;
        Ok(served)
    }
}

/// No code that holds these locks can panic in the middle of a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
