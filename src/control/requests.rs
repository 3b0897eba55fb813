//! The memory of large requests, from all clients together.
//!
//! Nearly all requests are small and come in one piece. Only messages to publish and values
//! for the DHT are large. A client could send all but the last byte of many of them, so
//! only [`MAX_RECEIVED`] are received at a time, and no more of the others is read than
//! what came with their lengths. While others wait, a request that makes no progress is
//! given up: on a socket of this host, a program that means it is done within milliseconds.
//! Whole requests wait for one of a few places to be carried out.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_io::Timer;
use async_lock::{Semaphore, SemaphoreGuardArc};
use futures::future::{AbortHandle, Either, select};

/// A request of up to this size is not counted. With 512 clients, these take 32 MiB at most,
/// and this is more than any request needs that carries no message or value.
pub(super) const SMALL: usize = 64 << 10;

/// How many large requests are received at once. At 4 MiB each, they take 32 MiB.
pub(super) const MAX_RECEIVED: usize = 8;

/// How many large requests are carried out at once.
const MAX_RUNNING: usize = 8;

/// How long a request may make no progress while others wait. The other side is a process
/// on the same host, which writes the next bytes as soon as there is room for them.
const STALE: Duration = Duration::from_millis(50);

/// How many bytes are progress. A program that sends a byte now and then makes none.
const PROGRESS: usize = 16 << 10;

/// How long a client may take for one large request, from the time that it is received.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Request {
    /// When the last [`PROGRESS`] bytes of it were complete.
    progress: Instant,
    /// Bytes that have come since.
    since: usize,
    abort: AbortHandle,
}

#[derive(Debug, Default)]
struct Received {
    next: u64,
    /// At most [`MAX_RECEIVED`].
    requests: BTreeMap<u64, Request>,
}

/// The large requests that are being received and carried out. Clones are handles to the
/// same state.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    received: Arc<Mutex<Received>>,
    receiving: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Default for Requests {
    fn default() -> Self {
        Requests {
            received: Arc::default(),
            receiving: Arc::new(Semaphore::new(MAX_RECEIVED)),
            running: Arc::new(Semaphore::new(MAX_RUNNING)),
        }
    }
}

/// A large request that is being received. Dropping this makes room for another one.
#[derive(Debug)]
pub(super) struct Receiving {
    requests: Requests,
    id: u64,
    _room: SemaphoreGuardArc,
}

impl Requests {
    fn lock(&self) -> MutexGuard<'_, Received> {
        // Nothing panics while the lock is held.
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room for a large request. To give it up later means `abort`.
    pub(super) async fn receive(&self, abort: AbortHandle) -> Receiving {
        let mut room = pin!(self.receiving.acquire_arc());
        let room = loop {
            match select(room, Timer::after(STALE)).await {
                Either::Left((guard, _)) => break guard,
                Either::Right((_, waiting)) => {
                    self.lock().give_up_one(Instant::now());
                    room = waiting;
                }
            }
        };
        let mut received = self.lock();
        let id = received.next;
        received.next += 1;
        let progress = Instant::now();
        received.requests.insert(
            id,
            Request {
                progress,
                since: 0,
                abort,
            },
        );
        drop(received);
        Receiving {
            requests: self.clone(),
            id,
            _room: room,
        }
    }

    /// Waits for a place to carry out a large request.
    pub(super) async fn run(&self) -> SemaphoreGuardArc {
        self.running.acquire_arc().await
    }
}

impl Received {
    /// Gives up the request that has made no progress for the longest time, if that is
    /// longer than [`STALE`].
    fn give_up_one(&mut self, now: Instant) {
        let stale = self
            .requests
            .iter()
            .filter(|(_, request)| now.saturating_duration_since(request.progress) >= STALE)
            .min_by_key(|(id, request)| (request.progress, **id));
        if let Some(id) = stale.map(|(id, _)| *id)
            && let Some(request) = self.requests.remove(&id)
        {
            request.abort.abort();
        }
    }
}

impl Receiving {
    /// Notes that so many bytes of the request came.
    pub(super) fn progress(&self, bytes: usize, now: Instant) {
        if let Some(request) = self.requests.lock().requests.get_mut(&self.id) {
            request.since += bytes;
            if request.since >= PROGRESS {
                request.since = 0;
                request.progress = now;
            }
        }
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.requests.lock().requests.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use async_std::task::{block_on, spawn};

    use super::*;

    fn begin(requests: &Requests) -> (Receiving, AbortHandle) {
        let (abort, _) = AbortHandle::new_pair();
        (block_on(requests.receive(abort.clone())), abort)
    }

    #[test]
    fn the_stalest_request_is_given_up_and_only_if_it_is_stale() {
        let requests = Requests::default();
        let made: Vec<_> = (0..MAX_RECEIVED).map(|_| begin(&requests)).collect();
        let start = Instant::now();
        let later = start + STALE;
        for (request, _) in &made[1..] {
            request.progress(PROGRESS, start + Duration::from_millis(1));
        }
        made[0].0.progress(PROGRESS, start);
        // Single bytes are no progress.
        made[0].0.progress(1, later);
        requests.lock().give_up_one(later - Duration::from_nanos(1));
        assert!(made.iter().all(|(_, abort)| !abort.is_aborted()));
        for _ in 0..2 {
            requests.lock().give_up_one(later);
        }
        assert!(made[0].1.is_aborted());
        assert!(made[1..].iter().all(|(_, abort)| !abort.is_aborted()));
    }

    #[test]
    fn room_is_free_when_what_was_given_up_is_gone() {
        let requests = Requests::default();
        let mut made: Vec<_> = (0..MAX_RECEIVED).map(|_| begin(&requests)).collect();
        let next = spawn({
            let requests = requests.clone();
            async move {
                let (abort, _) = AbortHandle::new_pair();
                drop(requests.receive(abort).await);
            }
        });
        // One of them is given up for the next, and drops what it holds.
        while !made.iter().any(|(_, abort)| abort.is_aborted()) {
            std::thread::yield_now();
        }
        made.retain(|(_, abort)| !abort.is_aborted());
        block_on(next);
        assert!(made.len() < MAX_RECEIVED);
    }
}
