//! Places for openings of the exchange that have to dial, and for walks through the
//! DHT for a peer's addresses: of all fetches of a node together.
//!
//! Provider records are free to forge, and one hostile DHT node names as many peers
//! that nobody can reach as a fetch takes. Their dials must leave the node room for
//! its own. Whoever waits for a place is served in turn, and does not wait for a
//! crowd: a dial that has taken long gives its place back when another waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use futures_timer::Delay;

/// Openings that dial at once. The gate allows the node 256 dials in all, so that
/// more than half are left for its own; and as many places, given back after
/// [`LONG`], take up the 32 a second that a fetch begins.
const MAX_DIALS: usize = 96;

/// How long a dial keeps its place when another waits for it: some round trips of a
/// long path, and a lost packet of it.
const LONG: Duration = Duration::from_secs(3);

/// Walks for addresses at once. The node has 256 queries in all, each walk asks some
/// tens of peers, and most providers are named together with their addresses.
const MAX_WALKS: usize = 8;

/// See the module's documentation. Clones share the places.
#[derive(Debug, Clone, Default)]
pub(super) struct Openings {
    queue: Arc<Mutex<Queue>>,
    walks: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    /// Those that dial, the oldest first.
    dialing: BTreeMap<u64, Dialing>,
    waiting: VecDeque<oneshot::Sender<Place>>,
}

#[derive(Debug)]
struct Dialing {
    since: Instant,
    /// Taken when it was told to give its place back.
    over: Option<oneshot::Sender<()>>,
}

impl Queue {
    fn admit(&mut self, openings: &Openings, now: Instant) -> Place {
        let id = self.next;
        self.next += 1;
        let (over, told) = oneshot::channel();
        let dialing = Dialing {
            since: now,
            over: Some(over),
        };
        self.dialing.insert(id, dialing);
        Place {
            openings: openings.clone(),
            id,
            told,
        }
    }

    /// The next that waits, with its place when there is one.
    fn serve(
        &mut self,
        openings: &Openings,
        now: Instant,
    ) -> Option<(oneshot::Sender<Place>, Place)> {
        self.waiting.retain(|waiter| !waiter.is_canceled());
        if self.dialing.len() >= MAX_DIALS {
            return None;
        }
        let waiter = self.waiting.pop_front()?;
        Some((waiter, self.admit(openings, now)))
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

impl Openings {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that holds it can panic half-way through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place to dial, in turn.
    pub(super) async fn place(&self) -> Place {
        loop {
            let place = {
                let mut queue = self.lock();
                let now = Instant::now();
                if queue.dialing.len() < MAX_DIALS && queue.waiting.is_empty() {
                    return queue.admit(self, now);
                }
                let (waiter, place) = oneshot::channel();
                queue.waiting.push_back(waiter);
                queue.review(now);
                place
            };
            // Those that wait and have gone may have been all that were in the way.
            self.serve();
            if let Ok(place) = place.await {
                return place;
            }
        }
    }

    /// Gives free places to those that wait.
    fn serve(&self) {
        loop {
            let next = self.lock().serve(self, Instant::now());
            let Some((waiter, place)) = next else { return };
            // A place that comes back is free again, and the next gets it.
            let _ = waiter.send(place);
        }
    }

    /// Places to dial that are taken.
    #[cfg(test)]
    pub(super) fn dialing(&self) -> usize {
        self.lock().dialing.len()
    }

    /// A place for a walk, if one is free.
    pub(super) fn walk(&self) -> Option<Walk> {
        let more = |walks| (walks < MAX_WALKS).then_some(walks + 1);
        let taken = self
            .walks
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.ok().map(|_| Walk(self.walks.clone()))
    }
}

/// A place to dial, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    openings: Openings,
    id: u64,
    told: oneshot::Receiver<()>,
}

impl Place {
    /// Done when the dial has taken long and another waits for the place.
    pub(super) async fn over(&mut self) {
        Delay::new(LONG).await;
        self.openings.lock().review(Instant::now());
        let _ = (&mut self.told).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let over = self.openings.lock().dialing.remove(&self.id);
        drop(over);
        self.openings.serve();
    }
}

/// A place for a walk, until it is dropped.
#[derive(Debug)]
pub(super) struct Walk(Arc<AtomicUsize>);

impl Drop for Walk {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    fn full(openings: &Openings) -> VecDeque<Place> {
        let places = (0..MAX_DIALS).map(|_| openings.place().now_or_never().unwrap());
        places.collect()
    }

    fn wait(openings: &Openings) -> BoxFuture<'static, Place> {
        let openings = openings.clone();
        let mut waiter = async move { openings.place().await }.boxed();
        assert!((&mut waiter).now_or_never().is_none(), "there is no place");
        waiter
    }

    #[test]
    fn places_go_to_those_who_wait_in_turn_and_not_to_who_has_gone() {
        let openings = Openings::default();
        let mut places = full(&openings);
        let mut waiters: VecDeque<_> = (0..4).map(|_| wait(&openings)).collect();
        drop(waiters.remove(1));
        places.pop_front();
        // Who comes now does not come first.
        let last = wait(&openings);
        waiters.push_back(last);
        let first = waiters.pop_front().unwrap().now_or_never();
        assert!(first.is_some());
        assert!(
            waiters
                .iter_mut()
                .all(|waiter| waiter.now_or_never().is_none())
        );
        places.clear();
        assert!(
            waiters
                .drain(..)
                .all(|waiter| waiter.now_or_never().is_some())
        );
        // A place that was given and never taken comes back too.
        drop(first);
        let places = full(&openings);
        let given = wait(&openings);
        drop(places);
        drop(given);
        assert_eq!(full(&openings).len(), MAX_DIALS);
        assert!(openings.lock().dialing.is_empty());
    }

    #[test]
    fn the_oldest_dials_are_over_when_others_wait_and_they_have_had_their_time() {
        let openings = Openings::default();
        let mut places = full(&openings);
        let told = |places: &mut VecDeque<Place>| {
            let over = places
                .iter_mut()
                .map(|place| place.told.try_recv() == Ok(Some(())));
            over.collect::<Vec<bool>>()
        };
        let start = Instant::now();
        openings.lock().review(start + LONG * 2);
        assert!(!told(&mut places).contains(&true), "nobody waits");
        let waiters = [wait(&openings), wait(&openings)];
        openings.lock().review(start);
        assert!(!told(&mut places).contains(&true), "they are new");
        openings.lock().review(start + LONG * 2);
        let over = told(&mut places);
        assert_eq!(over[..3], [true, true, false]);
        assert_eq!(over.iter().filter(|over| **over).count(), waiters.len());
        // As long as they have not gone, no others go for the same.
        openings.lock().review(start + LONG * 2);
        assert!(!told(&mut places).contains(&true));
    }

    #[test]
    fn walks_are_few_and_nobody_waits_for_one() {
        let openings = Openings::default();
        let walks: Vec<Walk> = (0..MAX_WALKS).filter_map(|_| openings.walk()).collect();
        assert_eq!(walks.len(), MAX_WALKS);
        assert!(openings.walk().is_none());
        drop(walks);
        assert!(openings.walk().is_some());
    }
}
