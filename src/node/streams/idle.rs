//! Ends streams on which no data moves (P2P_STREAM_IDLE_TIMEOUT).
//!
//! Each stream counts what it moves, and one task for all streams checks from time to
//! time which counts have not changed. So moving bytes does not read the clock,
//! and a thousand streams do not need a thousand timers. A stream ends between one and
//! nine eighths of the timeout after its last byte.
//!
//! This applies to the streams of content and of programs, in both directions. The
//! protocols of libp2p take care of their own: identify, DHT, autonat, relay and
//! DCUtR requests end after 10 to 60 s. Ping and gossip keep one stream in each direction
//! for as long as the connection is wanted, and end with it
//! (P2P_CONNECTION_IDLE_TIMEOUT).

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures::task::AtomicWaker;
use prometheus::IntCounter;

use crate::telemetry::coop;
use crate::text::duration::millis;

/// Watches streams. Clones watch the same streams.
#[derive(Clone, Debug)]
pub(in crate::node) struct Idle(Arc<Registry>);

#[derive(Debug)]
struct Registry {
    /// The timeout, in milliseconds.
    timeout: AtomicU64,
    /// Counts the streams that were ended.
    ended: IntCounter,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// Bounded by the number of open streams.
    streams: HashMap<u64, Seen>,
    /// Whether the task is running, which it is while there are streams.
    driven: bool,
}

/// A stream as it was last seen.
#[derive(Debug)]
struct Seen {
    life: Arc<Life>,
    moved: u64,
    since: Instant,
}

#[derive(Debug, Default)]
struct Life {
    /// Increased whenever data moves.
    moved: AtomicU64,
    /// Whether each direction waits for its turn under a bandwidth limit of this node,
    /// which is not the fault of the stream.
    queued: [AtomicBool; 2],
    ended: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
    owner: AtomicWaker,
}

impl Idle {
    /// `ended` counts the streams that were ended.
    pub(in crate::node) fn new(timeout: Duration, ended: IntCounter) -> Self {
        Idle(Arc::new(Registry {
            timeout: AtomicU64::new(millis(timeout)),
            ended,
            state: Mutex::default(),
        }))
    }

    /// Changes the timeout, also for the streams that are open.
    pub(in crate::node) fn set_timeout(&self, timeout: Duration) {
        self.0.timeout.store(millis(timeout), Ordering::Relaxed);
    }

    /// Watches a new stream until the result is dropped.
    pub(super) fn watch(&self) -> Watch {
        let life = Arc::new(Life::default());
        let mut state = self.0.lock();
        let id = state.next;
        state.next += 1;
        let seen = Seen {
            life: life.clone(),
            moved: 0,
            since: Instant::now(),
        };
        state.streams.insert(id, seen);
        if !state.driven {
            state.driven = true;
            async_std::task::spawn(coop::watch("idle streams", self.0.clone().drive()));
        }
        Watch {
            life,
            id,
            registry: self.0.clone(),
        }
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout.load(Ordering::Relaxed))
    }

    /// The interval between checks: an eighth of the timeout, but neither so long that a
    /// person notices nor so short that it costs processor time.
    fn period(&self) -> Duration {
        (self.timeout() / 8).clamp(Duration::from_millis(20), Duration::from_secs(5))
    }

    async fn drive(self: Arc<Self>) {
        loop {
            // The timeout may change at any time.
            Timer::after(self.period()).await;
            let (idle, done) = {
                let mut state = self.lock();
                let idle = state.sweep(self.timeout(), Instant::now());
                state.driven = !state.streams.is_empty();
                (idle, !state.driven)
            };
            for life in idle {
                self.ended.inc();
                life.end();
            }
            if done {
                return;
            }
        }
    }
}

impl State {
    /// Removes the streams on which no data has moved for `timeout`.
    fn sweep(&mut self, timeout: Duration, now: Instant) -> Vec<Arc<Life>> {
        let mut idle = Vec::new();
        self.streams.retain(|_, seen| {
            let moved = seen.life.moved.load(Ordering::Relaxed);
            let queued = |q: &AtomicBool| q.load(Ordering::Relaxed);
            if moved != seen.moved || seen.life.queued.iter().any(queued) {
                seen.moved = moved;
                seen.since = now;
            }
            let keep = now.saturating_duration_since(seen.since) < timeout;
            if !keep {
                idle.push(seen.life.clone());
            }
            keep
        });
        idle
    }
}

impl Life {
    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        for waker in [&self.reader, &self.writer, &self.owner] {
            waker.wake();
        }
    }
}

/// One half of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) enum Half {
    Read,
    Write,
}

/// The entry of a stream in [`Idle`].
#[derive(Debug)]
pub(super) struct Watch {
    life: Arc<Life>,
    id: u64,
    registry: Arc<Registry>,
}

impl Watch {
    /// Records that data moved.
    #[inline]
    pub(super) fn moved(&self) {
        self.life.moved.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets whether a half waits for its turn under a bandwidth limit.
    pub(super) fn queued(&self, half: Half, queued: bool) {
        self.life.queued[half as usize].store(queued, Ordering::Relaxed);
    }

    /// Fails once the stream has ended.
    #[inline]
    pub(super) fn check(&self) -> io::Result<()> {
        if self.life.ended.load(Ordering::Acquire) {
            return Err(self.error());
        }
        Ok(())
    }

    /// Registers an operation that cannot continue now, to be woken when the stream ends.
    pub(super) fn pending<T>(&self, half: Half, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let waker = match half {
            Half::Read => &self.life.reader,
            Half::Write => &self.life.writer,
        };
        waker.register(cx.waker());
        // It may have ended between the check and the registration.
        match self.check() {
            Ok(()) => Poll::Pending,
            Err(e) => Poll::Ready(Err(e)),
        }
    }

    #[cold]
    fn error(&self) -> io::Error {
        io::Error::new(
            io::ErrorKind::TimedOut,
            format!(
                "no byte has moved on the stream for {:?}, which is the limit of this node (P2P_STREAM_IDLE_TIMEOUT)",
                self.registry.timeout()
            ),
        )
    }

    /// Resolves when the stream has ended. Only one caller may wait at a time.
    pub(super) fn over(&self) -> Over {
        Over {
            life: self.life.clone(),
            timeout: self.registry.timeout(),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.registry.lock().streams.remove(&self.id);
    }
}

/// Resolves, with the timeout that was in force, when no data has moved on a
/// stream for that long. This is for code that holds a stream without using it at the
/// moment, and so would not see the error of its next use.
#[derive(Debug)]
pub struct Over {
    life: Arc<Life>,
    timeout: Duration,
}

impl Future for Over {
    type Output = Duration;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Duration> {
        self.life.owner.register(cx.waker());
        if self.life.ended.load(Ordering::Acquire) {
            return Poll::Ready(self.timeout);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);

    fn watched(state: &mut State, start: Instant) -> Arc<Life> {
        let life = Arc::new(Life::default());
        let id = state.next;
        state.next += 1;
        let seen = Seen {
            life: life.clone(),
            moved: 0,
            since: start,
        };
        state.streams.insert(id, seen);
        life
    }

    #[test]
    fn only_what_stands_still_ends() {
        let start = Instant::now();
        let mut state = State::default();
        let still = watched(&mut state, start);
        let moving = watched(&mut state, start);
        let queued = watched(&mut state, start);
        queued.queued[Half::Write as usize].store(true, Ordering::Relaxed);
        for second in 1..60 {
            moving.moved.fetch_add(1, Ordering::Relaxed);
            let idle = state.sweep(TIMEOUT, start + Duration::from_secs(second));
            assert!(idle.is_empty(), "after {second} s");
        }
        let idle = state.sweep(TIMEOUT, start + TIMEOUT);
        assert_eq!(idle.len(), 1);
        assert!(Arc::ptr_eq(&idle[0], &still));
        // Both other streams stop now.
        queued.queued[Half::Write as usize].store(false, Ordering::Relaxed);
        assert!(
            state
                .sweep(TIMEOUT, start + 2 * TIMEOUT - Duration::from_secs(2))
                .is_empty()
        );
        assert_eq!(state.sweep(TIMEOUT, start + 2 * TIMEOUT).len(), 2);
        assert!(state.streams.is_empty());
    }

    #[test]
    fn another_time_out_holds_for_streams_that_are_open() {
        let ended = IntCounter::new("ended", "ended").unwrap();
        let idle = Idle::new(Duration::from_millis(200), ended);
        let watch = idle.watch();
        idle.set_timeout(Duration::from_millis(20));
        async_std::task::block_on(async {
            assert_eq!(watch.over().await, Duration::from_millis(20));
        });
    }

    #[test]
    fn whoever_waits_is_woken_and_told_whose_limit_it_was() {
        let ended = IntCounter::new("ended", "ended").unwrap();
        let idle = Idle::new(Duration::from_millis(10), ended.clone());
        let watch = idle.watch();
        async_std::task::block_on(async {
            assert_eq!(watch.over().await, Duration::from_millis(10));
            let error = std::future::poll_fn(|cx| watch.pending::<()>(Half::Read, cx))
                .await
                .unwrap_err();
            assert!(
                error.to_string().contains("P2P_STREAM_IDLE_TIMEOUT"),
                "{error}"
            );
        });
        assert!(watch.check().is_err());
        assert_eq!(ended.get(), 1);
        // A stream that ends by itself leaves nothing behind.
        drop(idle.watch());
        assert!(idle.0.lock().streams.is_empty());
    }
}
