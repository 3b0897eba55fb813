//! Writes accepted messages down before they are delivered, and stores the
//! windows in the background.
//!
//! One task owns the [`Journal`]. It writes all the marks that wait as one, so
//! that many messages at once cost one write, and no caller waits for a flush.
//! Every few seconds it flushes the journal beside its writing, and every few
//! minutes, or when the journal has grown, it stores the windows that changed
//! and deletes what the journal said of them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_std::channel::{Receiver, Sender, bounded};
use async_std::task::{JoinHandle, spawn, spawn_blocking};
use futures::channel::oneshot;
use futures::future::{Fuse, FusedFuture};
use futures::{FutureExt, StreamExt, select_biased};

use crate::message::windows::{Mark, Windows};
use crate::node::Metrics;
use crate::store::journal::{self, Journal};
use crate::store::{self, Store};
use crate::telemetry::coop;
use crate::telemetry::throttle;

/// Marks that wait to be written. Whoever brings one more waits; its message
/// is in memory already, so this bounds nothing but the queue itself.
const QUEUE: usize = 1024;

/// When what is done in the background.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// From a write to its flush, about.
    pub flush: Duration,
    /// From one storing of the windows to the next.
    pub store: Duration,
    /// Bytes of journal that make it earlier.
    pub store_bytes: u64,
    /// From a failed storing to the next attempt.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            // What a crash of the whole machine may cost.
            flush: Duration::from_secs(5),
            // Bounds what a start reads, together with the bytes.
            store: Duration::from_secs(600),
            // Some 26,000 marks, which a start reads in a few milliseconds.
            store_bytes: journal::MAX_BYTES / 8,
            retry: Duration::from_secs(60),
        }
    }
}

/// Files of the journal before the windows are stored early.
const MANY_FILES: usize = 8;

enum Job {
    Mark(Mark, oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// What a task in the background did.
enum Kept {
    Flushed(std::io::Result<()>),
    Stored(Result<(), store::Error>, Vec<PathBuf>),
}

/// The handle of the task. It ends, with everything stored, when the last clone
/// is dropped or one of them calls [`Self::close`].
#[derive(Clone, Debug)]
pub struct Recorder {
    jobs: Sender<Job>,
}

impl Recorder {
    /// Restores the windows from `store` and starts to record. Waits for the
    /// disk.
    ///
    /// # Errors
    /// When the windows or their journal cannot be read.
    pub fn open(
        store: Store,
        metrics: Arc<Metrics>,
        timing: Timing,
    ) -> Result<(Self, Arc<Mutex<Windows>>), store::Error> {
        let mut windows = Windows::restore(store.load_windows()?);
        let (journal, found) = store.open_journal(|mark| {
            // What the stored windows have already is refused as a replay.
            let _ = windows.accept(mark);
        })?;
        if found.damaged > 0 {
            log::warn!(damaged = found.damaged, read = found.marks; "left out damaged records of accepted messages; after a crash of the machine a few are normal");
        }
        let windows = Arc::new(Mutex::new(windows));
        let (jobs, queue) = bounded(QUEUE);
        let task = Task {
            journal: Some(journal),
            store,
            windows: windows.clone(),
            metrics,
            timing,
            unflushed: false,
            stored_at: Instant::now(),
            not_before: Instant::now(),
            keeping: Fuse::terminated(),
        };
        spawn(coop::watch("message numbers", task.run(queue)));
        Ok((Recorder { jobs }, windows))
    }

    /// Returns when `mark` is written: a process killed from now on has it.
    ///
    /// A disk that takes no writes does not stop messages: the window in memory
    /// still refuses their replay, and only a restart forgets it. That is
    /// counted, and said in the log.
    pub async fn record(&self, mark: Mark) {
        let (sender, written) = oneshot::channel();
        if self.jobs.send(Job::Mark(mark, sender)).await.is_ok() {
            let _ = written.await;
        }
    }

    /// Stores the windows and ends the task.
    pub async fn close(&self) {
        let (sender, closed) = oneshot::channel();
        if self.jobs.send(Job::Close(sender)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

struct Task {
    /// In a thread of the pool while it is being written.
    journal: Option<Journal>,
    store: Store,
    windows: Arc<Mutex<Windows>>,
    metrics: Arc<Metrics>,
    timing: Timing,
    unflushed: bool,
    stored_at: Instant,
    not_before: Instant,
    keeping: Fuse<JoinHandle<Kept>>,
}

impl Task {
    async fn run(mut self, queue: Receiver<Job>) {
        let mut tick = StreamExt::fuse(async_io::Timer::interval(self.timing.flush));
        let mut closing = None;
        loop {
            select_biased! {
                kept = &mut self.keeping => self.kept(kept),
                job = queue.recv().fuse() => {
                    let Ok(job) = job else { break };
                    if let Some(close) = self.jobs(job, &queue).await {
                        closing = Some(close);
                        break;
                    }
                    self.keep_when_due(false);
                }
                _ = tick.select_next_some() => self.keep_when_due(true),
            }
        }
        queue.close();
        if !self.keeping.is_terminated() {
            let kept = (&mut self.keeping).await;
            self.kept(kept);
        }
        if self.is_dirty() {
            self.start_storing();
            let kept = (&mut self.keeping).await;
            self.kept(kept);
        }
        // Whoever closes may open the store again at once.
        drop(self);
        if let Some(closing) = closing {
            let _ = closing.send(());
        }
    }

    /// Writes the mark of `job` and all that wait behind it. Returns the
    /// request to close when one was among them.
    async fn jobs(&mut self, job: Job, queue: &Receiver<Job>) -> Option<oneshot::Sender<()>> {
        let (mut marks, mut waiting, mut close) = (Vec::new(), Vec::new(), None);
        let mut next = Some(job);
        while let Some(job) = next.take() {
            match job {
                Job::Mark(mark, sender) => {
                    marks.push(mark);
                    waiting.push(sender);
                }
                Job::Close(sender) => {
                    close = Some(sender);
                    break;
                }
            }
            if marks.len() < QUEUE {
                next = queue.try_recv().ok();
            }
        }
        let count = marks.len() as u64;
        if count == 0 {
            return close;
        }
        if let Some(mut journal) = self.journal.take() {
            let (journal, result) = spawn_blocking(move || {
                let result = journal.append(&marks);
                (journal, result)
            })
            .await;
            self.journal = Some(journal);
            self.unflushed = true;
            if let Err(error) = result {
                self.metrics.message_marks_unrecorded.inc_by(count);
                if let Some(suppressed) = throttle::allow("message numbers not recorded") {
                    log::error!(error:% = error, suppressed; "cannot record accepted messages: they could be replayed after a restart");
                }
            }
        }
        for waiting in waiting {
            let _ = waiting.send(());
        }
        close
    }

    /// Whether the journal has what the stored windows may not have.
    fn is_dirty(&self) -> bool {
        self.journal
            .as_ref()
            .is_some_and(|journal| !journal.is_empty() || journal.older() > 0)
    }

    fn keep_when_due(&mut self, tick: bool) {
        let Some(journal) = self
            .journal
            .as_ref()
            .filter(|_| self.keeping.is_terminated())
        else {
            return;
        };
        let now = Instant::now();
        let large = journal.len() >= self.timing.store_bytes || journal.older() >= MANY_FILES;
        let late = self.is_dirty() && now.duration_since(self.stored_at) >= self.timing.store;
        if (large || late) && now >= self.not_before {
            self.start_storing();
        } else if tick
            && std::mem::take(&mut self.unflushed)
            && let Some(file) = journal.to_flush()
        {
            let flush = move || Kept::Flushed(file.sync_data());
            self.keeping = spawn_blocking(flush).fuse();
        }
    }

    fn start_storing(&mut self) {
        let Some(journal) = self.journal.as_mut() else {
            return;
        };
        // First the new file, then the look at the windows: every mark in the
        // files before it was in the windows before it was written.
        let files = journal.rotate();
        self.unflushed = false;
        let (store, windows) = (self.store.clone(), self.windows.clone());
        self.keeping = spawn_blocking(move || {
            let lock = || windows.lock().unwrap_or_else(PoisonError::into_inner);
            let changes = lock().take_changes();
            let result = store.save_windows(&changes);
            match result {
                Ok(()) => {
                    journal::delete(&files);
                    Kept::Stored(Ok(()), Vec::new())
                }
                Err(error) => {
                    lock().give_back(changes);
                    Kept::Stored(Err(error), files)
                }
            }
        })
        .fuse();
    }

    fn kept(&mut self, kept: Kept) {
        let now = Instant::now();
        match kept {
            Kept::Stored(Ok(()), _) => self.stored_at = now,
            Kept::Stored(Err(error), files) => {
                self.not_before = now + self.timing.retry;
                if let Some(journal) = self.journal.as_mut() {
                    journal.keep(files);
                }
                log::warn!(error:% = error, retry_s = self.timing.retry.as_secs(); "cannot store the numbers of accepted messages; the journal has them until then");
            }
            Kept::Flushed(Ok(())) => {}
            Kept::Flushed(Err(error)) => {
                if let Some(suppressed) = throttle::allow("message numbers not flushed") {
                    log::warn!(error:% = error, suppressed; "cannot flush the journal of accepted messages");
                }
            }
        }
    }
}
