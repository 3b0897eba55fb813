//! The handshake limiter: how many handshakes may be under way at once, and which
//! remotes must prove their address before one begins.
//!
//! A handshake costs signatures and memory before anything is known about the
//! remote, so the number of handshakes is bounded. When many are under way, a
//! newcomer must first show that it receives what is sent to the address it claims
//! (RFC 9000, section 8.1). A flood from forged addresses never gets past that.
//!
//! The source address of a UDP packet can be forged, and the connection gate behind
//! this transport counts by address. An attacker could therefore use up the budget of
//! somebody else's subnet and have that subnet refused. So a subnet that connects more
//! often than [`Options::unproven`](super::Options::unproven) allows must prove its
//! address too. An attacker who forges addresses never sees the answer, and gets no
//! further than this with any subnet: four of the sixteen connections that the gate
//! takes at once by default, and one in five seconds of its eight a second.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

use super::Options;
use crate::peers::Policy;
use crate::peers::rate::Table;

/// Counts the handshakes of all listeners of a transport. Clones share the count.
#[derive(Clone, Debug)]
pub(super) struct Handshakes {
    inner: Arc<Mutex<Inner>>,
    retry_above: usize,
    limit: usize,
    policy: Policy,
}

#[derive(Debug)]
struct Inner {
    under_way: usize,
    /// The connections that each subnet may begin without proving its address.
    unproven: Table,
    /// Listeners that wait for a permit: one waker each at most.
    waiting: Vec<Waker>,
}

/// What to do with a connection attempt.
#[derive(Debug)]
pub(super) enum Decision {
    /// Begin the handshake, and keep the permit until it has ended.
    Accept(Permit),
    /// Have the remote prove its address first.
    Retry,
    /// As many handshakes as allowed are under way; the waker is called when one ends.
    Wait,
}

impl Handshakes {
    pub(super) fn new(options: &Options, now: Instant) -> Self {
        let inner = Inner {
            under_way: 0,
            unproven: Table::new(options.unproven, now),
            waiting: Vec::new(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            retry_above: options.retry_above,
            limit: options.max_pending_handshakes,
            policy: options.policy.clone(),
        }
    }

    /// Decides what to do with a connection attempt from `ip`. `validated` says whether
    /// the remote has proved that address.
    pub(super) fn ask(&self, validated: bool, ip: IpAddr, now: Instant, waker: &Waker) -> Decision {
        // Asked before the lock of this limiter is taken.
        let subnet = match validated {
            true => None,
            false => self
                .policy
                .read(|peers| peers.table().prefixes().subnet(ip)),
        };
        let mut inner = lock(&self.inner);
        if !validated {
            let often = |inner: &mut Inner| match subnet {
                Some(subnet) => !inner.unproven.take(&subnet, now),
                // Only this host can send from loopback.
                None => false,
            };
            if inner.under_way >= self.retry_above || often(&mut inner) {
                return Decision::Retry;
            }
        }
        if inner.under_way >= self.limit {
            if !inner.waiting.iter().any(|w| w.will_wake(waker)) {
                inner.waiting.push(waker.clone());
            }
            return Decision::Wait;
        }
        inner.under_way += 1;
        Decision::Accept(Permit(self.inner.clone()))
    }
}

/// Permission for one handshake. Dropping it lets another one begin.
#[derive(Debug)]
pub(super) struct Permit(Arc<Mutex<Inner>>);

impl Drop for Permit {
    fn drop(&mut self) {
        let waiting = {
            let mut inner = lock(&self.0);
            inner.under_way -= 1;
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

    fn limiter(retry_above: usize, max_pending_handshakes: usize) -> (Handshakes, Instant) {
        let (now, options) = (Instant::now(), Options::default());
        let options = Options {
            retry_above,
            max_pending_handshakes,
            ..options
        };
        (Handshakes::new(&options, now), now)
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn forged_addresses_are_turned_away_before_the_limit_is_reached() {
        let ((handshakes, now), waker) = (limiter(1, 2), noop_waker());
        let ask = |validated| handshakes.ask(validated, HERE, now, &waker);
        let Decision::Accept(first) = ask(false) else {
            panic!("the first one is accepted")
        };
        assert!(matches!(ask(false), Decision::Retry));
        let Decision::Accept(_second) = ask(true) else {
            panic!("a validated one is accepted")
        };
        assert!(matches!(ask(true), Decision::Wait));
        assert!(matches!(ask(false), Decision::Retry));
        drop(first);
        assert!(matches!(ask(true), Decision::Accept(_)));
    }

    #[test]
    fn a_forger_cannot_use_up_the_budget_of_another_address() {
        let ((handshakes, now), waker) = (limiter(32, 256), noop_waker());
        let forged: IpAddr = "192.0.2.1".parse().unwrap();
        let passed = |validated, now| {
            (0..100)
                .filter(|_| {
                    let decision = handshakes.ask(validated, forged, now, &waker);
                    matches!(decision, Decision::Accept(_))
                })
                .count()
        };
        assert_eq!(passed(false, now), 4);
        assert_eq!(passed(false, now + std::time::Duration::from_secs(11)), 2);
        // A remote that really has the address loses nothing but a round trip.
        assert_eq!(passed(true, now), 100);
        let other: IpAddr = "192.0.2.2".parse().unwrap();
        let decision = handshakes.ask(false, other, now, &waker);
        assert!(matches!(decision, Decision::Accept(_)));
    }

    #[test]
    fn the_end_of_a_handshake_wakes_a_listener_that_waits() {
        let ((handshakes, now), waker) = (limiter(9, 1), noop_waker());
        let (count, counting) = counting_waker();
        let Decision::Accept(permit) = handshakes.ask(true, HERE, now, &waker) else {
            panic!("the first one is accepted")
        };
        for _ in 0..3 {
            assert!(matches!(
                handshakes.ask(true, HERE, now, &counting),
                Decision::Wait
            ));
        }
        drop(permit);
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
