//! Permits to dial, for fetches that open a stream to a peer that is not connected, and
//! to walk through the DHT for a peer's addresses. All fetches of a node share them.
//!
//! Provider records are free to forge, and one hostile DHT node names as many peers
//! that nobody can reach as a fetch takes. Their dials must leave the node room for
//! its own. Whoever waits for a permit is served in turn, and does not wait for a
//! crowd: a dial that has taken long gives its permit back when another waits. A
//! semaphore does not do that: it does not know who has had a permit for the longest.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_lock::{Semaphore, SemaphoreGuardArc};
use futures::channel::oneshot;
use futures_timer::Delay;

/// Dials for fetches at once. The gate allows the node 256 dials in all, so that
/// more than half are left for its own; and as many permits, given back after
/// [`LONG`], take up the 32 a second that a fetch begins.
const MAX_DIALS: usize = 96;

/// How long a dial keeps its permit when another waits for it: some round trips of a
/// long path, and a lost packet of it.
const LONG: Duration = Duration::from_secs(3);

/// Walks for addresses at once. The node has 256 queries in all, each walk asks some
/// tens of peers, and most providers are named together with their addresses.
const MAX_WALKS: usize = 8;

/// See the module's documentation. Clones share the permits.
#[derive(Debug, Clone)]
pub(super) struct Permits {
    queue: Arc<Mutex<Queue>>,
    walks: Arc<Semaphore>,
}

impl Default for Permits {
    fn default() -> Self {
        Permits {
            queue: Arc::default(),
            walks: Arc::new(Semaphore::new(MAX_WALKS)),
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    /// Those that dial, the oldest first.
    dialing: BTreeMap<u64, Dialing>,
    waiting: VecDeque<oneshot::Sender<DialPermit>>,
}

#[derive(Debug)]
struct Dialing {
    since: Instant,
    /// Taken when it was told to give its permit back.
    over: Option<oneshot::Sender<()>>,
}

impl Queue {
    fn admit(&mut self, permits: &Permits, now: Instant) -> DialPermit {
        let id = self.next;
        self.next += 1;
        let (over, told) = oneshot::channel();
        let dialing = Dialing {
            since: now,
            over: Some(over),
        };
        self.dialing.insert(id, dialing);
        DialPermit {
            permits: permits.clone(),
            id,
            told,
        }
    }

    /// The next that waits, with its permit when there is one.
    fn serve(
        &mut self,
        permits: &Permits,
        now: Instant,
    ) -> Option<(oneshot::Sender<DialPermit>, DialPermit)> {
        self.waiting.retain(|waiter| !waiter.is_canceled());
        if self.dialing.len() >= MAX_DIALS {
            return None;
        }
        let waiter = self.waiting.pop_front()?;
        Some((waiter, self.admit(permits, now)))
    }

    /// Tells as many dials that they are over as others wait, the oldest first and
    /// none that has not had its time.
    fn review(&mut self, now: Instant) {
        self.waiting.retain(|waiter| !waiter.is_canceled());
        let told = self.dialing.values().filter(|d| d.over.is_none()).count();
        let wanted = self.waiting.len().saturating_sub(told);
        let long = |d: &&mut Dialing| now.saturating_duration_since(d.since) >= LONG;
        let old = self.dialing.values_mut().take_while(long);
        let old = old.filter_map(|dialing| dialing.over.take());
        for over in old.take(wanted) {
            let _ = over.send(());
        }
    }
}

impl Permits {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that holds it can panic half-way through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A permit to dial, in turn.
    pub(super) async fn to_dial(&self) -> DialPermit {
        loop {
            let permit = {
                let mut queue = self.lock();
                let now = Instant::now();
                if queue.dialing.len() < MAX_DIALS && queue.waiting.is_empty() {
                    return queue.admit(self, now);
                }
                let (waiter, permit) = oneshot::channel();
                queue.waiting.push_back(waiter);
                queue.review(now);
                permit
            };
            // Those that wait and have gone may have been all that were in the way.
            self.serve();
            if let Ok(permit) = permit.await {
                return permit;
            }
        }
    }

    /// Gives free permits to those that wait.
    fn serve(&self) {
        loop {
            let next = self.lock().serve(self, Instant::now());
            let Some((waiter, permit)) = next else { return };
            // A permit that comes back is free again, and the next gets it.
            let _ = waiter.send(permit);
        }
    }

    /// Places to dial that are taken.
    #[cfg(test)]
    pub(super) fn dialing(&self) -> usize {
        self.lock().dialing.len()
    }

    /// A permit for a walk, if one is free.
    pub(super) fn to_walk(&self) -> Option<WalkPermit> {
        let permit = self.walks.try_acquire_arc()?;
        Some(WalkPermit { _permit: permit })
    }
}

/// A permit to dial, which is given back when it is dropped.
#[derive(Debug)]
pub(super) struct DialPermit {
    permits: Permits,
    id: u64,
    told: oneshot::Receiver<()>,
}

impl DialPermit {
    /// Done when the dial has taken long and another waits for the permit.
    pub(super) async fn over(&mut self) {
        Delay::new(LONG).await;
        self.permits.lock().review(Instant::now());
        let _ = (&mut self.told).await;
    }
}

impl Drop for DialPermit {
    fn drop(&mut self) {
        let over = self.permits.lock().dialing.remove(&self.id);
        drop(over);
        self.permits.serve();
    }
}

/// A permit for a walk, which is given back when it is dropped.
#[derive(Debug)]
pub(super) struct WalkPermit {
    _permit: SemaphoreGuardArc,
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    fn full(permits: &Permits) -> VecDeque<DialPermit> {
        let held = (0..MAX_DIALS).map(|_| permits.to_dial().now_or_never().unwrap());
        held.collect()
    }

    fn wait(permits: &Permits) -> BoxFuture<'static, DialPermit> {
        let permits = permits.clone();
        let mut waiter = async move { permits.to_dial().await }.boxed();
        assert!((&mut waiter).now_or_never().is_none(), "there is no permit");
        waiter
    }

    #[test]
    fn permits_go_to_those_who_wait_in_turn_and_not_to_who_has_gone() {
        let permits = Permits::default();
        let mut held = full(&permits);
        let mut waiters: VecDeque<_> = (0..4).map(|_| wait(&permits)).collect();
        drop(waiters.remove(1));
        held.pop_front();
        // Who comes now does not come first.
        let last = wait(&permits);
        waiters.push_back(last);
        let first = waiters.pop_front().unwrap().now_or_never();
        assert!(first.is_some());
        assert!(
            waiters
                .iter_mut()
                .all(|waiter| waiter.now_or_never().is_none())
        );
        held.clear();
        assert!(
            waiters
                .drain(..)
                .all(|waiter| waiter.now_or_never().is_some())
        );
        // A permit that was given and never taken comes back too.
        drop(first);
        let held = full(&permits);
        let given = wait(&permits);
        drop(held);
        drop(given);
        assert_eq!(full(&permits).len(), MAX_DIALS);
        assert!(permits.lock().dialing.is_empty());
    }

    #[test]
    fn the_oldest_dials_are_over_when_others_wait_and_they_have_had_their_time() {
        let permits = Permits::default();
        let mut held = full(&permits);
        let told = |held: &mut VecDeque<DialPermit>| {
            let over = held
                .iter_mut()
                .map(|permit| permit.told.try_recv() == Ok(Some(())));
            over.collect::<Vec<bool>>()
        };
        let start = Instant::now();
        permits.lock().review(start + LONG * 2);
        assert!(!told(&mut held).contains(&true), "nobody waits");
        let waiters = [wait(&permits), wait(&permits)];
        permits.lock().review(start);
        assert!(!told(&mut held).contains(&true), "they are new");
        permits.lock().review(start + LONG * 2);
        let over = told(&mut held);
        assert_eq!(over[..3], [true, true, false]);
        assert_eq!(over.iter().filter(|over| **over).count(), waiters.len());
        // As long as they have not gone, no others go for the same.
        permits.lock().review(start + LONG * 2);
        assert!(!told(&mut held).contains(&true));
    }

    #[test]
    fn walks_are_few_and_nobody_waits_for_one() {
        let permits = Permits::default();
        let walks: Vec<WalkPermit> = (0..MAX_WALKS).filter_map(|_| permits.to_walk()).collect();
        assert_eq!(walks.len(), MAX_WALKS);
        assert!(permits.to_walk().is_none());
        drop(walks);
        assert!(permits.to_walk().is_some());
    }
}
