//! The memory of large requests, from all clients together.
//!
//! Nearly all requests are small and come in one piece. Only messages to publish and values
//! for the DHT are large. A client could send all but the last byte of many of them, so
//! they share one bound. A large request that finds no room takes that of the request which
//! has made no progress for the longest time: on a socket of this host, a program that
//! means it is done within milliseconds. Whole requests wait for one of a few places to be
//! carried out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_lock::{Semaphore, SemaphoreGuardArc};
use futures::future::AbortHandle;

/// A request of up to this size is not counted. With 512 clients, these take 32 MiB at most,
/// and this is more than any request needs that carries no message or value.
pub(super) const SMALL: usize = 64 << 10;

/// The memory of large requests that are being received: eight of the largest.
pub(super) const MAX_MAKING: usize = 32 << 20;

/// How many large requests are carried out at once.
const MAX_RUNNING: usize = 8;

/// How long a client may take for one large request.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Request {
    bytes: usize,
    /// When bytes of it came last.
    progress: Instant,
    abort: AbortHandle,
}

#[derive(Debug, Default)]
struct Making {
    bytes: usize,
    next: u64,
    requests: BTreeMap<u64, Request>,
}

/// The large requests that are being received and carried out. Clones are handles to the
/// same state.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    making: Arc<Mutex<Making>>,
    running: Arc<Semaphore>,
}

impl Default for Requests {
    fn default() -> Self {
        Requests {
            making: Arc::default(),
            running: Arc::new(Semaphore::new(MAX_RUNNING)),
        }
    }
}

/// A large request that is being received. Dropping this gives its memory back.
#[derive(Debug)]
pub(super) struct Receiving {
    requests: Requests,
    id: u64,
}

impl Requests {
    fn lock(&self) -> MutexGuard<'_, Making> {
        // Nothing panics while the lock is held.
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to receive a request of `bytes`, at most [`MAX_MAKING`]. If there is no room,
    /// others that do not go on are ended. To end this one later means `abort`.
    pub(super) fn begin(&self, bytes: usize, now: Instant, abort: AbortHandle) -> Receiving {
        let mut making = self.lock();
        while making.bytes.saturating_add(bytes) > MAX_MAKING && making.end_one() {}
        let id = making.next;
        making.next += 1;
        making.bytes += bytes;
        making.requests.insert(
            id,
            Request {
                bytes,
                progress: now,
                abort,
            },
        );
        Receiving {
            requests: self.clone(),
            id,
        }
    }

    /// Waits for a place to carry out a large request.
    pub(super) async fn run(&self) -> SemaphoreGuardArc {
        self.running.acquire_arc().await
    }
}

impl Making {
    /// Ends the request that has made no progress for the longest time.
    fn end_one(&mut self) -> bool {
        let stalest = self
            .requests
            .iter()
            .min_by_key(|(id, request)| (request.progress, **id));
        let Some(id) = stalest.map(|(id, _)| *id) else {
            return false;
        };
        self.remove(id)
            .inspect(|request| request.abort.abort())
            .is_some()
    }

    fn remove(&mut self, id: u64) -> Option<Request> {
        let request = self.requests.remove(&id)?;
        self.bytes -= request.bytes;
        Some(request)
    }
}

impl Receiving {
    /// Notes that bytes of the request came.
    pub(super) fn progress(&self, now: Instant) {
        if let Some(request) = self.requests.lock().requests.get_mut(&self.id) {
            request.progress = now;
        }
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.requests.lock().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::codec::MAX_REQUEST;

    #[test]
    fn whoever_makes_no_progress_makes_room() {
        let requests = Requests::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let begin = |now| {
            let (abort, _) = AbortHandle::new_pair();
            (requests.begin(MAX_REQUEST, now, abort.clone()), abort)
        };
        let made: Vec<_> = (0..8).map(|n| begin(at(n))).collect();
        assert!(made.iter().all(|(_, abort)| !abort.is_aborted()));
        made[0].0.progress(at(20));
        let _ninth = begin(at(21));
        let ended: Vec<bool> = made.iter().map(|(_, abort)| abort.is_aborted()).collect();
        assert_eq!(
            ended,
            [false, true, false, false, false, false, false, false]
        );
        // What has been ended is gone already, and gives nothing back a second time.
        drop(made);
        assert_eq!(requests.lock().bytes, MAX_REQUEST);
    }
}
