//! One direction of the ceilings: the queue behind its lock, and the one task that wakes
//! the streams whose turn has come.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use async_io::Timer;
use futures::FutureExt;
use futures::task::AtomicWaker;
use libp2p::PeerId;
use prometheus::IntCounter;

use super::class::Class;
use super::queue::Queue;

use crate::telemetry::coop;

/// Streams wait here; see [`Turn`].
#[derive(Debug)]
pub(in crate::node) struct Shaper {
    /// Whether there is a ceiling.
    limited: AtomicBool,
    state: Mutex<State>,
    /// The task, when something has to be granted earlier than it thought.
    driver: AtomicWaker,
    tickets: AtomicU64,
    /// Operations that had to wait, own and bulk.
    waits: [IntCounter; 2],
}

#[derive(Debug)]
struct State {
    queue: Queue,
    /// Whether the task runs; it does while somebody waits.
    driven: bool,
    /// When it will look again.
    armed: Option<Instant>,
}

impl Shaper {
    /// `rate` is in bytes a second; `None` is no ceiling.
    pub(super) fn new(rate: Option<u64>, waits: [IntCounter; 2]) -> Arc<Self> {
        Arc::new(Shaper {
            limited: AtomicBool::new(rate.is_some()),
            state: Mutex::new(State {
                queue: Queue::new(rate.unwrap_or(u64::MAX), Instant::now()),
                driven: false,
                armed: None,
            }),
            driver: AtomicWaker::new(),
            tickets: AtomicU64::new(0),
            waits,
        })
    }

    /// Whether there is a ceiling.
    #[inline]
    pub(in crate::node) fn limited(&self) -> bool {
        self.limited.load(Ordering::Relaxed)
    }

    /// Changes the ceiling from now on, in bytes a second; `None` is none. Streams that
    /// wait are served at the new one.
    pub(super) fn set_rate(self: &Arc<Self>, rate: Option<u64>) {
        let now = Instant::now();
        let mut wake = Vec::new();
        let mut state = self.lock();
        self.limited.store(rate.is_some(), Ordering::Relaxed);
        state.queue.set_rate(rate.unwrap_or(u64::MAX), now);
        state.queue.pump(now, &mut wake);
        // The task may have looked ahead by the old rate.
        state.armed = None;
        self.driver.wake();
        self.settle(state, now, wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that the task looks in time, and wakes those that were served.
    fn settle(self: &Arc<Self>, mut state: MutexGuard<'_, State>, now: Instant, wake: Vec<Waker>) {
        let mut spawn = false;
        let mut earlier = false;
        if let Some(wait) = state.queue.next() {
            let due = now.checked_add(wait);
            if !state.driven {
                state.driven = true;
                spawn = true;
            } else if let (Some(armed), Some(due)) = (state.armed, due) {
                earlier = due < armed;
            }
        }
        drop(state);
        if spawn {
            async_std::task::spawn(coop::watch("bandwidth", self.clone().drive()));
        } else if earlier {
            self.driver.wake();
        }
        wake.into_iter().for_each(Waker::wake);
    }

    /// Grants turns as the bucket fills, for as long as somebody waits.
    async fn drive(self: Arc<Self>) {
        let mut timer = Timer::never();
        poll_fn(move |cx| {
            self.driver.register(cx.waker());
            loop {
                let mut wake = Vec::new();
                let now = Instant::now();
                let mut state = self.lock();
                state.queue.pump(now, &mut wake);
                let due = state.queue.next().map(|wait| now.checked_add(wait));
                state.armed = due.flatten();
                state.driven = due.is_some();
                drop(state);
                wake.into_iter().for_each(Waker::wake);
                match due {
                    None => return Poll::Ready(()),
                    // Later than a clock can tell.
                    Some(None) => return Poll::Pending,
                    Some(Some(due)) => timer.set_at(due),
                }
                if timer.poll_unpin(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }
}

/// One direction of one stream at a ceiling. Dropping it leaves the queue.
#[derive(Debug)]
pub(in crate::node) struct Turn {
    shaper: Arc<Shaper>,
    class: Class,
    peer: PeerId,
    ticket: u64,
    waiting: bool,
}

impl Turn {
    pub(in crate::node) fn new(shaper: &Arc<Shaper>, class: Class, peer: PeerId) -> Self {
        Turn {
            ticket: shaper.tickets.fetch_add(1, Ordering::Relaxed),
            shaper: shaper.clone(),
            class,
            peer,
            waiting: false,
        }
    }

    /// Whether it waits in the queue.
    pub(in crate::node) fn waiting(&self) -> bool {
        self.waiting
    }

    fn who(&self) -> (Class, PeerId, u64) {
        (self.class, self.peer, self.ticket)
    }

    /// Asks for up to `want` bytes. Whoever gets some uses them at once, and
    /// gives back with [`Turn::give_back`] what it could not use.
    pub(in crate::node) fn poll(&mut self, cx: &mut Context<'_>, want: usize) -> Poll<usize> {
        if want == 0 {
            return Poll::Ready(0);
        }
        let who = self.who();
        let mut state = self.shaper.lock();
        if self.waiting {
            return match state.queue.claim(who, cx.waker()) {
                Some(bytes) => {
                    self.waiting = false;
                    // It may want less than when it asked.
                    drop(state);
                    if bytes > want {
                        self.give_back(bytes - want);
                    }
                    Poll::Ready(bytes.min(want))
                }
                None => Poll::Pending,
            };
        }
        let now = Instant::now();
        let mut wake = Vec::new();
        let granted = state.queue.ask(who, want, cx.waker(), now, &mut wake);
        self.shaper.settle(state, now, wake);
        match granted {
            Some(bytes) => Poll::Ready(bytes),
            None => {
                self.waiting = true;
                self.shaper.waits[self.class as usize].inc();
                Poll::Pending
            }
        }
    }

    /// Gives back what was granted and not used.
    pub(in crate::node) fn give_back(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let now = Instant::now();
        let mut wake = Vec::new();
        let mut state = self.shaper.lock();
        state.queue.give_back(self.class, self.peer, bytes);
        state.queue.pump(now, &mut wake);
        self.shaper.settle(state, now, wake);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.waiting {
            let now = Instant::now();
            let mut wake = Vec::new();
            let mut state = self.shaper.lock();
            state.queue.leave(self.who());
            state.queue.pump(now, &mut wake);
            self.shaper.settle(state, now, wake);
        }
    }
}

#[cfg(test)]
mod tests;
