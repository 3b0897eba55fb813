//! Announces content to the DHT. A task makes the announcements when the schedule says
//! so; the store remembers them, and the network is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_std::task::spawn_blocking;
use cid::Cid;
use futures::channel::{mpsc, oneshot};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use futures_timer::Delay;

use super::network::{NO_DHT_PEER, Network, ProvideError};
use crate::block::Metrics;
use crate::content::schedule::{Backlog, Outcome, Schedule, Unsaved};
use crate::content::upkeep::{Chore, Upkeep};
use crate::store::{self, Store};
use crate::text::unix_time::unix_millis;

/// The maximum number of callers that may wait for the announcement of one root. A
/// program that puts the same content again and again adds one each time.
const MAX_WAITERS: usize = 16;

type Waiter = oneshot::Sender<Result<(), ProvideError>>;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Announcer<N> {
    network: N,
    store: Store,
    metrics: Arc<Metrics>,
    /// The wall clock, for times that are kept beyond this run.
    wall: fn() -> SystemTime,
    schedule: Mutex<Schedule>,
    waiters: Mutex<HashMap<Cid, Vec<Waiter>>>,
    notify: Mutex<mpsc::Sender<()>>,
    notified: Mutex<Option<mpsc::Receiver<()>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The data behind these locks is valid between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the error for a caller whose content was not announced to any peer.
fn untold(cid: &Cid, reason: &str) -> ProvideError {
    ProvideError {
        cid: *cid,
        alone: false,
        reason: reason.into(),
    }
}

impl<N: Network> Announcer<N> {
    /// Creates the announcer for the roots of `store` over `network`. Each root is
    /// announced again after at most `interval`, once [`Announcer::run`] is running.
    pub(super) fn new(
        network: N,
        store: Store,
        metrics: Arc<Metrics>,
        interval: Duration,
        wall: fn() -> SystemTime,
        now: Instant,
    ) -> Self {
        let (notify, notified) = mpsc::channel(1);
        Announcer {
            network,
            store,
            metrics,
            wall,
            schedule: Mutex::new(Schedule::new(interval, now, unix_millis(wall()))),
            waiters: Mutex::default(),
            notify: Mutex::new(notify),
            notified: Mutex::new(Some(notified)),
        }
    }

    pub(super) fn schedule(&self) -> MutexGuard<'_, Schedule> {
        lock(&self.schedule)
    }

    /// Announces content soon, in the background.
    pub(super) fn announce(&self, cid: &Cid, now: Instant) {
        self.schedule().announce(cid, now);
        self.wake();
    }

    /// Announces content as [`Announcer::announce`] does, and waits until peers have been
    /// told or until that has failed once.
    pub(super) async fn announce_now(&self, cid: &Cid, now: Instant) -> Result<(), ProvideError> {
        let (told, answer) = oneshot::channel();
        {
            let mut waiters = lock(&self.waiters);
            let list = waiters.entry(*cid).or_default();
            list.retain(|waiter| !waiter.is_canceled());
            match list.len() < MAX_WAITERS {
                true => list.push(told),
                // The callers that came first keep waiting; this one is answered at once.
                false => drop(told.send(Err(untold(cid, "too many wait to hear of it")))),
            }
        }
        // There may be a DHT peer since the last attempt. An attempt without one costs no
        // more than a look into the routing table.
        self.schedule().try_again();
        self.announce(cid, now);
        // When a waiter is dropped without an answer, no peer has been told.
        let unanswered = |_| Err(untold(cid, "nothing was heard of it"));
        answer.await.unwrap_or_else(unanswered)
    }

    fn answer(&self, cid: &Cid, result: &Result<(), ProvideError>) {
        for waiter in lock(&self.waiters).remove(cid).into_iter().flatten() {
            let _ = waiter.send(result.clone());
        }
    }

    /// Answers the callers that wait for the announcement of content that is gone.
    fn gone(&self, cid: &Cid) {
        self.answer(cid, &Err(untold(cid, "it is here no more")));
    }

    /// Stops announcing content that is no longer here.
    pub(super) async fn forget(&self, cid: &Cid) {
        self.schedule().forget(cid);
        self.gone(cid);
        self.network.stop_providing(cid).await;
    }

    /// Returns why content is not announced yet, when the reason is that no DHT peer was
    /// known at the last attempt and none has come since.
    pub(super) fn alone(&self, cid: &Cid) -> Option<ProvideError> {
        self.schedule().is_alone().then(|| ProvideError {
            alone: true,
            ..untold(cid, NO_DHT_PEER)
        })
    }

    /// Returns the number of roots that no peer has been told of yet.
    pub(super) fn untold(&self) -> usize {
        self.schedule().untold()
    }

    /// Returns the roots that are waiting to be announced.
    pub(super) fn backlog(&self, now: Instant) -> Backlog {
        self.schedule().backlog(now)
    }

    fn wake(&self) {
        // When the channel is full, the task will wake up anyway.
        let _ = lock(&self.notify).try_send(());
    }

    /// Announces what is due, until the future is dropped. A second call returns at once.
    pub(super) async fn run(&self) {
        let Some(mut notified) = lock(&self.notified).take() else {
            return;
        };
        let mut entered = self.network.entered().fuse();
        let mut under_way = FuturesUnordered::new();
        let mut upkeep = Upkeep::new(Instant::now());
        // The version of the store when it was last read.
        let mut version = None;
        loop {
            while let Some(chore) = upkeep.due(Instant::now()) {
                match chore {
                    Chore::Sync => self.sync(&mut version).await,
                    Chore::Save => self.save().await,
                    Chore::Count => self.count(Instant::now()),
                }
                upkeep.done(chore, Instant::now());
            }
            let now = Instant::now();
            let wake = upkeep.wake_at();
            let due = {
                let mut schedule = self.schedule();
                while let Some(cid) = schedule.next(now) {
                    let verify = schedule.is_verified(&cid);
                    under_way.push(self.carry_out(cid, verify));
                }
                // If something is due now, it waits until an announcement under way ends.
                schedule.wake_at().filter(|due| *due > now)
            };
            let wake = due.map_or(wake, |due| due.min(wake));
            let mut sleep = Delay::new(wake.saturating_duration_since(now)).fuse();
            futures::select! {
                (cid, outcome) = under_way.select_next_some() => self.done(&cid, outcome, Instant::now()),
                _ = notified.next() => {}
                // There is a DHT peer now, so no announcement waits for the first one any
                // more.
                peer = entered.next() => if peer.is_some() {
                    self.schedule().not_alone();
                },
                () = sleep => {}
            }
        }
    }

    async fn carry_out(&self, cid: Cid, verify: bool) -> (Cid, Outcome) {
        let provided = match self.network.provide(&cid, verify).await {
            Ok(provided) => provided,
            Err(error) => {
                log::debug!(cid:% = cid, error:% = error; "not announced");
                let outcome = match error.alone {
                    true => Outcome::Alone,
                    false => Outcome::Failed,
                };
                self.answer(&cid, &Err(error));
                return (cid, outcome);
            }
        };
        self.schedule().told(&cid);
        self.answer(&cid, &Ok(()));
        let confirmation = provided.confirmation.await;
        if confirmation.enough {
            let outcome = match confirmation.holders {
                0 => Outcome::Unverified,
                _ => Outcome::Ok,
            };
            return (cid, outcome);
        }
        log::debug!(
            cid:% = cid, held = confirmation.holders;
            "announced, but too few peers hold the record; trying again"
        );
        (cid, Outcome::Few(confirmation.holders))
    }

    fn done(&self, cid: &Cid, outcome: Outcome, now: Instant) {
        self.metrics.announced(outcome);
        let wall = unix_millis((self.wall)());
        self.schedule().done(cid, outcome, now, wall);
    }

    /// Sets the metrics of what is waiting.
    fn count(&self, now: Instant) {
        let backlog = self.schedule().backlog(now);
        let gauge = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let metrics = &self.metrics;
        let waiting = gauge(backlog.waiting as u64);
        metrics.announcements_waiting.set(waiting);
        let lateness = gauge(backlog.lateness.as_secs());
        metrics.announcements_lateness.set(lateness);
    }

    async fn sync(&self, version: &mut Option<(u64, u64)>) {
        let current = self.store.roots_version();
        if *version == Some(current) {
            return;
        }
        self.schedule().begin_sync();
        let (store, wall) = (self.store.clone(), (self.wall)());
        let is_first = version.is_none();
        let read = spawn_blocking(move || {
            let announced = match is_first {
                true => store.load_announcements()?,
                false => HashMap::new(),
            };
            Ok::<_, store::Error>((store.live_roots(wall)?, announced))
        });
        let (roots, announced) = match read.await {
            Ok(read) => read,
            Err(error) => {
                log::warn!(error:% = error; "cannot list the content to announce; trying again");
                return;
            }
        };
        let (now, wall) = (Instant::now(), unix_millis(wall));
        let synced = self.schedule().sync(&roots, &announced, now, wall);
        *version = Some(current);
        self.network.keep(synced.new).await;
        for cid in synced.gone {
            self.gone(&cid);
            self.network.stop_providing(&cid).await;
        }
    }

    /// Stores the times of announcements since the last call.
    pub(super) async fn save(&self) {
        let unsaved = self.schedule().take_unsaved();
        if unsaved == Unsaved::default() {
            return;
        }
        let store = self.store.clone();
        let saved = spawn_blocking(move || {
            let saved = store.save_announcements(&unsaved.announced, &unsaved.gone);
            saved.map_err(|e| (e, unsaved))
        });
        if let Err((error, unsaved)) = saved.await {
            log::warn!(error:% = error; "cannot store what was announced; trying again");
            self.schedule().put_back(unsaved);
        }
    }
}

#[cfg(test)]
mod tests;
