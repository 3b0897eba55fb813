//! A peer that is, or was, on a topic of this node: where it can be dialed, and
//! when it is dialed again.

use std::time::{Duration, Instant};

use libp2p::Multiaddr;

/// Addresses kept of one. A host has a handful; the address book and the DHT may
/// know more, and a dial asks them too.
const MAX_ADDRS: usize = 8;

/// The pause after the first failure; each further one doubles it.
const FIRST: Duration = Duration::from_secs(1);

/// A connection that ended sooner is a failure: its peer has no room for this
/// node, or refuses it.
const STOOD: Duration = Duration::from_secs(10);

/// Failures after which a peer counts as gone rather than as away for a moment:
/// others go before it, and it makes room for them.
pub(super) const GONE: u32 = 5;

/// Dials of one that is gone, when the topic has others, are this far apart at
/// most. Half a network that was cut off for a day must find the other half soon,
/// and there are many to try.
const LONGEST: Duration = Duration::from_secs(600);

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Contact {
    addrs: Vec<Multiaddr>,
    /// Since when it is connected.
    pub(super) connected: Option<Instant>,
    /// Its last connection broke off; nobody had closed it.
    pub(super) lost: bool,
    /// Not dialed before this: the operator has disconnected it.
    shunned: Option<Instant>,
    failures: u32,
    tried: Option<Instant>,
    /// What chance leaves of the pauses, 0.5 to 1.0.
    part: f64,
    /// It is being dialed.
    pub(super) dialing: bool,
}

impl Contact {
    /// Where it can be dialed.
    pub(super) fn addrs(&self) -> &[Multiaddr] {
        &self.addrs
    }

    /// It has other addresses. When none are given, the known ones are kept.
    pub(super) fn learn(&mut self, addrs: &[Multiaddr]) {
        if addrs.is_empty() {
            return;
        }
        self.addrs = addrs.iter().take(MAX_ADDRS).cloned().collect();
    }

    /// How often it failed in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// When it was dialed last.
    pub(super) fn tried(&self) -> Option<Instant> {
        self.tried
    }

    /// Whether it may be dialed at `now`. After a failure that takes a second,
    /// doubling up to `most`, counted from the beginning of the last dial.
    pub(super) fn due(&self, now: Instant, most: Duration) -> bool {
        if self.dialing || self.connected.is_some() || self.shunned.is_some_and(|t| now < t) {
            return false;
        }
        let Some(tried) = self.tried.filter(|_| self.failures > 0) else {
            return true;
        };
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16));
        let pause = doubled.min(most.min(LONGEST));
        now >= tried + pause.mul_f64(self.part)
    }

    /// It is dialed now. `chance` is 0.0 to 1.0.
    pub(super) fn dial(&mut self, now: Instant, chance: f64) {
        self.dialing = true;
        self.tried = Some(now);
        self.part = 1.0 - chance.clamp(0.0, 1.0) / 2.0;
    }

    /// The dial failed.
    pub(super) fn failed(&mut self) {
        self.dialing = false;
        self.failures = self.failures.saturating_add(1);
    }

    /// It is connected, whoever dialed.
    pub(super) fn connect(&mut self, now: Instant) {
        self.dialing = false;
        self.lost = false;
        self.connected = Some(now);
    }

    /// It is connected no more. `lost`: the connection broke off. The next dial
    /// waits a moment: both sides would dial in step, and what broke the connection
    /// may take a moment to pass. A peer that hangs up again and again has failed
    /// again and again.
    pub(super) fn disconnect(&mut self, now: Instant, lost: bool, chance: f64) {
        let stood = self.connected.take();
        if stood.is_some_and(|since| now.saturating_duration_since(since) >= STOOD) {
            self.failures = 0;
        }
        self.lost = lost;
        self.dial(now, chance);
        self.failed();
    }

    /// Not to be dialed before `until`.
    pub(super) fn shun(&mut self, until: Instant) {
        self.shunned = Some(until);
        self.lost = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_secs(20);

    #[test]
    fn one_that_fails_is_dialed_after_pauses_that_double_up_to_the_longest() {
        let mut now = Instant::now();
        let mut contact = Contact::default();
        for pause in [2, 4, 8, 16, 20, 20, 20] {
            assert!(contact.due(now, MOST));
            contact.dial(now, 0.0);
            assert!(!contact.due(now + 3600 * S, MOST), "one dial at a time");
            contact.failed();
            assert!(!contact.due(now + pause * S - S / 10, MOST));
            now += pause * S;
        }
        assert!(contact.failures() >= GONE);
        contact.dial(now, 1.0);
        contact.failed();
        assert!(contact.due(now + 10 * S, MOST), "chance takes half off");
        assert!(!contact.due(now + 9 * S, MOST));
        // Where others are there, it waits longer.
        assert!(!contact.due(now + 59 * S, 120 * S));
        assert!(contact.due(now + 60 * S, 120 * S));
    }

    #[test]
    fn one_that_was_lost_is_dialed_soon_and_one_that_hangs_up_ever_later() {
        let mut now = Instant::now();
        let mut contact = Contact::default();
        contact.connect(now);
        assert!(!contact.due(now, MOST));
        now += STOOD;
        contact.disconnect(now, true, 0.0);
        assert!(contact.lost);
        assert!(!contact.due(now + S, MOST));
        assert!(contact.due(now + 2 * S, MOST));
        for pause in [4, 8, 16, 20] {
            contact.connect(now);
            now += S;
            contact.disconnect(now, false, 0.0);
            assert!(!contact.due(now + pause * S - S / 10, MOST));
            assert!(contact.due(now + pause * S, MOST));
        }
        contact.shun(now + 600 * S);
        assert!(!contact.due(now + 599 * S, MOST));
        assert!(contact.due(now + 600 * S, MOST));
    }

    #[test]
    fn few_addresses_are_kept_and_none_are_not_taken_for_an_answer() {
        let told: Vec<Multiaddr> = (1..100)
            .map(|p| format!("/ip4/192.0.2.1/tcp/{p}").parse().unwrap())
            .collect();
        let mut contact = Contact::default();
        contact.learn(&told);
        contact.learn(&[]);
        assert_eq!(contact.addrs(), &told[..MAX_ADDRS]);
    }
}
