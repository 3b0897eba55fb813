//! Polls of quinn's tasks that are under way, and a pause of the socket while one of them
//! takes long.
//!
//! A connection's task handles every datagram that its endpoint has queued for it, and
//! neither that loop nor the queue has a bound. Another thread goes on to fill the queue
//! meanwhile, and a datagram with many small frames takes longer to handle than to
//! receive. So while any poll has been running for [`LONG`], the endpoint receives
//! nothing. The queue ends, the poll returns, and what arrives in between waits in the
//! kernel, or is lost there as on any path that is too slow.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A healthy poll sends at most twenty datagrams and takes far less. This also bounds what
/// the endpoint can queue meanwhile to what it receives in so much time.
const LONG: Duration = Duration::from_millis(5);

/// The polls of one endpoint's tasks. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Polls(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// When each began. There are no more than threads.
    begun: Vec<(u64, Instant)>,
    count: u64,
    /// The task that wants to receive, while it may not.
    waiting: Option<Waker>,
}

impl Polls {
    /// A poll begins, and lasts until the guard is dropped.
    pub(super) fn begin(&self, now: Instant) -> UnderWay<'_> {
        let mut inner = self.lock();
        inner.count += 1;
        let number = inner.count;
        inner.begun.push((number, now));
        UnderWay {
            polls: self,
            number,
        }
    }

    /// Waits until no poll is a long one.
    pub(super) fn poll_none_is_long(&self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        let long = |(_, begun): &(u64, Instant)| now.saturating_duration_since(*begun) >= LONG;
        if !inner.begun.iter().any(long) {
            return Poll::Ready(());
        }
        inner.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A poll that is under way.
#[derive(Debug)]
pub(super) struct UnderWay<'a> {
    polls: &'a Polls,
    number: u64,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let waiting = {
            let mut inner = self.polls.lock();
            inner.begun.retain(|(number, _)| *number != self.number);
            inner.waiting.take()
        };
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn nothing_is_received_while_a_poll_takes_long() {
        let (polls, start) = (Polls::default(), Instant::now());
        let woken = Arc::new(Count::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        let first = polls.begin(start);
        assert!(polls.poll_none_is_long(start, &mut cx).is_ready());
        let second = polls.begin(start + LONG);
        let late = start + LONG;
        assert!(polls.poll_none_is_long(late, &mut cx).is_pending());
        drop(first);
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(polls.poll_none_is_long(late, &mut cx).is_ready());
        drop(second);
        // Nobody waits for that one.
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(polls.lock().begun.is_empty());
    }
}
