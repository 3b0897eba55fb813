//! How many handshakes may be under way at once.
//!
//! A handshake costs signatures and memory before anything is known about the
//! remote. So their number is bounded, and when there are many, newcomers must
//! first show that they receive what is sent to the address they claim (RFC
//! 9000, section 8.1): a flood from forged addresses never gets past that.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

/// Places for handshakes, shared by all listeners of a transport.
#[derive(Clone, Debug)]
pub(super) struct Places {
    inner: Arc<Mutex<Inner>>,
    retry_above: usize,
    limit: usize,
}

#[derive(Debug, Default)]
struct Inner {
    taken: usize,
    /// Listeners that wait for a place: one waker each at most.
    waiting: Vec<Waker>,
}

/// What to do with a connection attempt.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Go on with the handshake, keeping the place until it has ended.
    Accept(Place),
    /// Have the remote prove its address first.
    Retry,
    /// All places are taken; the waker is called when one is free.
    Wait,
}

impl Places {
    pub(super) fn new(retry_above: usize, limit: usize) -> Self {
        Self {
            inner: Arc::default(),
            retry_above,
            limit,
        }
    }

    /// Decides about an attempt whose address has been validated, or not.
    pub(super) fn ask(&self, validated: bool, waker: &Waker) -> Verdict {
        let mut inner = lock(&self.inner);
        if !validated && inner.taken >= self.retry_above {
            return Verdict::Retry;
        }
        if inner.taken >= self.limit {
            if !inner.waiting.iter().any(|w| w.will_wake(waker)) {
                inner.waiting.push(waker.clone());
            }
            return Verdict::Wait;
        }
        inner.taken += 1;
        Verdict::Accept(Place(self.inner.clone()))
    }
}

/// A place held by a handshake; free again when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Mutex<Inner>>);

impl Drop for Place {
    fn drop(&mut self) {
        let waiting = {
            let mut inner = lock(&self.0);
            inner.taken -= 1;
            std::mem::take(&mut inner.waiting)
        };
        for waker in waiting {
            waker.wake();
        }
    }
}

fn lock(inner: &Mutex<Inner>) -> std::sync::MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker;

    use super::*;

    #[test]
    fn forged_addresses_are_turned_away_before_places_run_out() {
        let (places, waker) = (Places::new(1, 2), noop_waker());
        let Verdict::Accept(first) = places.ask(false, &waker) else {
            panic!("the first one is accepted")
        };
        assert!(matches!(places.ask(false, &waker), Verdict::Retry));
        let Verdict::Accept(_second) = places.ask(true, &waker) else {
            panic!("a validated one is accepted")
        };
        assert!(matches!(places.ask(true, &waker), Verdict::Wait));
        assert!(matches!(places.ask(false, &waker), Verdict::Retry));
        drop(first);
        assert!(matches!(places.ask(true, &waker), Verdict::Accept(_)));
    }

    #[test]
    fn a_free_place_wakes_who_waits() {
        let (places, waker) = (Places::new(9, 1), noop_waker());
        let (count, counting) = counting_waker();
        let Verdict::Accept(place) = places.ask(true, &waker) else {
            panic!("the first one is accepted")
        };
        for _ in 0..3 {
            assert!(matches!(places.ask(true, &counting), Verdict::Wait));
        }
        drop(place);
        assert_eq!(count.0.load(std::sync::atomic::Ordering::SeqCst), 1);
    }

    struct Count(std::sync::atomic::AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }

    fn counting_waker() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count(Default::default()));
        (count.clone(), count.into())
    }
}
