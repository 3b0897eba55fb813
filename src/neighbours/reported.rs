//! Addresses that this node may be reachable at, as remotes report them: which of them
//! are passed on to autonat to be tested.
//!
//! libp2p's autonat client remembers every address that it ever heard of, and
//! walks all untested ones once a second in the event loop. Any peer can report
//! any address, a new one with each connection, so what reaches it is bounded
//! here.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;

/// Addresses taken at once: a host with a handful of interfaces and transports,
/// seen through a few NATs.
const AT_ONCE: usize = 64;

/// After those, one more is taken this often: a host that moves gets its new
/// address tested, and of a flood of false ones few are.
const ONE_MORE_EVERY: Duration = Duration::from_secs(600);

/// Addresses taken in all: as many as come in four weeks at that rate. Each takes a
/// few hundred bytes.
const AT_MOST: usize = 4096;

/// The addresses that were let through.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    since: Option<Instant>,
    known: HashSet<Multiaddr>,
}

impl Reported {
    /// Whether a report of `address` at `now` is passed on. Further reports of an
    /// address that was passed on always are: they say that it is likely.
    pub(crate) fn takes(&mut self, address: &Multiaddr, now: Instant) -> bool {
        if self.known.contains(address) {
            return true;
        }
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since).as_secs() / ONE_MORE_EVERY.as_secs();
        let allowed = AT_ONCE.saturating_add(usize::try_from(passed).unwrap_or(usize::MAX));
        if self.known.len() >= allowed.min(AT_MOST) {
            return false;
        }
        self.known.insert(address.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> Multiaddr {
        let ip = std::net::Ipv4Addr::from(n);
        format!("/ip4/{ip}/tcp/4001").parse().unwrap()
    }

    #[test]
    fn a_flood_of_addresses_becomes_a_trickle_and_known_ones_pass() {
        let (mut reported, start) = (Reported::default(), Instant::now());
        let passed = (0..10_000).filter(|n| reported.takes(&address(*n), start));
        assert_eq!(passed.count(), AT_ONCE);
        assert!(reported.takes(&address(0), start));
        let later = start + 3 * ONE_MORE_EVERY;
        let passed = (20_000..30_000).filter(|n| reported.takes(&address(*n), later));
        assert_eq!(passed.count(), 3);
        let at_last = start + Duration::from_secs(365 * 24 * 3600);
        for n in 40_000..60_000 {
            reported.takes(&address(n), at_last);
        }
        assert_eq!(reported.known.len(), AT_MOST);
    }
}
