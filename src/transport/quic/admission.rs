//! How many handshakes may be under way at once, and who must prove its address
//! before one begins.
//!
//! A handshake costs signatures and memory before anything is known about the
//! remote. So their number is bounded, and when there are many, newcomers must
//! first show that they receive what is sent to the address they claim (RFC
//! 9000, section 8.1): a flood from forged addresses never gets past that.
//!
//! The address of a UDP packet can be forged, and the gate behind this transport
//! counts by address: somebody could spend what another's subnet may have, and
//! have it refused. So a subnet that comes more often than
//! [`Options::unproven`](super::Options::unproven) must prove its address too. A
//! forger, who never sees the answer, gets no further than that with any subnet:
//! four arrivals of the sixteen that the gate takes at once by default, and one
//! in five seconds of its eight a second.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

use super::Options;
use crate::peers::rate::Table;
use crate::peers::subnet::LivePrefixes;

/// Places for handshakes, shared by all listeners of a transport.
#[derive(Clone, Debug)]
pub(super) struct Places {
    inner: Arc<Mutex<Inner>>,
    retry_above: usize,
    limit: usize,
    subnets: LivePrefixes,
}

#[derive(Debug)]
struct Inner {
    taken: usize,
    /// Arrivals that may come from where they say.
    unproven: Table,
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
    pub(super) fn new(options: &Options, now: Instant) -> Self {
        let inner = Inner {
            taken: 0,
            unproven: Table::new(options.unproven, now),
            waiting: Vec::new(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            retry_above: options.retry_above,
            limit: options.max_pending_handshakes,
            subnets: options.subnets.clone(),
        }
    }

    /// Decides about an attempt from `ip`, which has been validated, or not.
    pub(super) fn ask(&self, validated: bool, ip: IpAddr, now: Instant, waker: &Waker) -> Verdict {
        let mut inner = lock(&self.inner);
        if !validated {
            let often = |inner: &mut Inner| match self.subnets.get().subnet(ip) {
                Some(subnet) => !inner.unproven.take(&subnet, now),
                // Nobody else can send from loopback.
                None => false,
            };
            if inner.taken >= self.retry_above || often(&mut inner) {
                return Verdict::Retry;
            }
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

    fn places(retry_above: usize, max_pending_handshakes: usize) -> (Places, Instant) {
        let (now, options) = (Instant::now(), Options::default());
        let options = Options {
            retry_above,
            max_pending_handshakes,
            ..options
        };
        (Places::new(&options, now), now)
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn forged_addresses_are_turned_away_before_places_run_out() {
        let ((places, now), waker) = (places(1, 2), noop_waker());
        let ask = |validated| places.ask(validated, HERE, now, &waker);
        let Verdict::Accept(first) = ask(false) else {
            panic!("the first one is accepted")
        };
        assert!(matches!(ask(false), Verdict::Retry));
        let Verdict::Accept(_second) = ask(true) else {
            panic!("a validated one is accepted")
        };
        assert!(matches!(ask(true), Verdict::Wait));
        assert!(matches!(ask(false), Verdict::Retry));
        drop(first);
        assert!(matches!(ask(true), Verdict::Accept(_)));
    }

    #[test]
    fn nobody_can_spend_what_another_address_may_have() {
        let ((places, now), waker) = (places(32, 256), noop_waker());
        let forged: IpAddr = "192.0.2.1".parse().unwrap();
        let passed = |validated, now| {
            (0..100)
                .filter(|_| {
                    let verdict = places.ask(validated, forged, now, &waker);
                    matches!(verdict, Verdict::Accept(_))
                })
                .count()
        };
        assert_eq!(passed(false, now), 4);
        assert_eq!(passed(false, now + std::time::Duration::from_secs(11)), 2);
        // Who really is there loses nothing but a round trip.
        assert_eq!(passed(true, now), 100);
        let other: IpAddr = "192.0.2.2".parse().unwrap();
        let verdict = places.ask(false, other, now, &waker);
        assert!(matches!(verdict, Verdict::Accept(_)));
    }

    #[test]
    fn a_free_place_wakes_who_waits() {
        let ((places, now), waker) = (places(9, 1), noop_waker());
        let (count, counting) = counting_waker();
        let Verdict::Accept(place) = places.ask(true, HERE, now, &waker) else {
            panic!("the first one is accepted")
        };
        for _ in 0..3 {
            assert!(matches!(
                places.ask(true, HERE, now, &counting),
                Verdict::Wait
            ));
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
