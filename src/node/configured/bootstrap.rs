//! The peers through which this node enters its network.
//!
//! Configured bootstrap peers are mixed with peers that are remembered from the last run.
//! If the node used only remembered peers, an attacker that once filled its routing table
//! could keep it captive.

use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

use super::target::Target;

/// The number of remembered peers that are dialed in one round, in addition to all
/// configured ones.
pub(in crate::node) const REMEMBERED_AT_ONCE: usize = 8;

/// The longest pause between two tries at a bootstrap peer when the node has no
/// connection at all. Within 30 s of the end of an outage, of whatever length, the node
/// has tried, and the try has had time to succeed. Chance shortens the pause by up to
/// half.
const ALONE: Duration = Duration::from_secs(20);

/// The same for a node that has peers, but fewer than it should, and no other peers to
/// dial.
const FEW: Duration = Duration::from_secs(60);

/// The pauses, first and longest, before the next try at a bootstrap peer that has
/// refused to keep the connection (see [`crate::node::keep`]). The pause doubles each
/// time. The node has no other peers to dial, but a full peer with ten thousand such
/// clients must not see more of them than it can take: 10,000 in 300 s are 33 a second,
/// half of the default of P2P_MAX_INBOUND_RATE.
const REFUSED: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(300));

/// How badly the node needs peers to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) enum Need {
    /// It has as many peers as it should have.
    None,
    /// It has fewer, or knows no peer of the DHT.
    Few,
    /// It has no connection at all.
    Alone,
}

/// One bootstrap peer.
#[derive(Debug)]
struct Entrance {
    target: Target,
    /// Whether there was a connection with the peer in this run.
    met: bool,
    /// How often in a row the peer refused to keep the connection, and the time before
    /// which it is not tried again because of that.
    refused: (u32, Option<Instant>),
}

impl Entrance {
    fn new(address: Multiaddr) -> Self {
        Entrance {
            target: Target::new(address),
            met: false,
            refused: (0, None),
        }
    }
}

/// The bootstrap peers.
#[derive(Debug, Default)]
pub(in crate::node) struct Bootstrap {
    list: Vec<Entrance>,
}

impl Bootstrap {
    pub(in crate::node) fn new(addresses: Vec<Multiaddr>) -> Self {
        Bootstrap {
            list: addresses.into_iter().map(Entrance::new).collect(),
        }
    }

    /// Changes the addresses from now on. What is known of those that stay is kept.
    pub(in crate::node) fn adjust(&mut self, addresses: &[Multiaddr]) {
        let mut before = std::mem::take(&mut self.list);
        for address in addresses {
            let at = before.iter().position(|e| e.target.address == *address);
            self.list.push(match at {
                Some(at) => before.swap_remove(at),
                None => Entrance::new(address.clone()),
            });
        }
    }

    /// Returns whether `peer` is a bootstrap peer.
    pub(in crate::node) fn contains(&self, peer: &PeerId) -> bool {
        self.list
            .iter()
            .any(|e| e.target.peer.as_ref() == Some(peer))
    }

    /// Returns the addresses to dial now: all that are due when the node needs peers, and
    /// otherwise those of peers that were not reached in this run. The node has to meet
    /// the configured peers at some time, even if it has remembered peers or other peers
    /// dial it.
    pub(in crate::node) fn due(
        &mut self,
        now: Instant,
        need: Need,
        connected: impl Fn(&PeerId) -> bool,
        mut chance: impl FnMut() -> f64,
    ) -> Vec<Multiaddr> {
        let mut due = Vec::new();
        for Entrance {
            target,
            met,
            refused,
        } in &mut self.list
        {
            if target.peer.as_ref().is_some_and(&connected)
                || refused.1.is_some_and(|until| now < until)
            {
                continue;
            }
            // For an address without a peer id, the node cannot tell whether it was
            // reached.
            let unmet = target.peer.is_some() && !*met;
            if (need != Need::None || unmet) && target.backoff.due(now) {
                match need {
                    Need::None => target.backoff.failed(now, chance()),
                    Need::Few => target.backoff.failed_within(FEW, now, chance()),
                    Need::Alone => target.backoff.failed_within(ALONE, now, chance()),
                }
                due.push(target.address.clone());
            }
        }
        due
    }

    fn of(&mut self, peer: &PeerId) -> impl Iterator<Item = &mut Entrance> {
        let list = self.list.iter_mut();
        list.filter(move |e| e.target.peer.as_ref() == Some(peer))
    }

    /// Records that a peer was connected: the backoff of its target starts again.
    pub(in crate::node) fn connected(&mut self, peer: &PeerId, now: Instant, chance: f64) {
        for entrance in self.of(peer) {
            entrance.met = true;
            entrance.target.backoff.succeeded(now, chance);
        }
    }

    /// Records that the peer refused to keep the connection.
    pub(in crate::node) fn refused(&mut self, peer: &PeerId, now: Instant, chance: f64) {
        for entrance in self.of(peer) {
            let (times, until) = &mut entrance.refused;
            let pause = REFUSED.0.saturating_mul(1 << (*times).min(16));
            let pause = pause.min(REFUSED.1);
            *times = times.saturating_add(1);
            *until = Some(now + pause.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0));
        }
    }

    /// Records that the peer keeps the connection.
    pub(in crate::node) fn kept(&mut self, peer: &PeerId) {
        for entrance in self.of(peer) {
            entrance.refused = (0, None);
        }
    }

    /// Records that the node's last connection ended, even if it ended because it was
    /// idle.
    pub(in crate::node) fn alone(&mut self, now: Instant, mut chance: impl FnMut() -> f64) {
        for entrance in &mut self.list {
            entrance.target.backoff.within(ALONE, now, chance());
        }
    }

    /// Tries soon, because a program on this host has something to say and no peer is
    /// connected.
    pub(in crate::node) fn wanted(&mut self) {
        for entrance in &mut self.list {
            entrance.target.backoff.hurry();
        }
    }

    /// Records that the last connection with a peer ended, and not because it was idle:
    /// the node tries again soon.
    pub(in crate::node) fn lost(&mut self, peer: &PeerId) {
        for entrance in self.of(peer) {
            entrance.target.backoff.hurry();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::configured::testing::{nobody, target};

    #[test]
    fn bootstrap_peers_are_tried_for_ever_while_lonely_and_left_alone_otherwise() {
        let (peer, address) = target();
        let mut bootstrap = Bootstrap::new(vec![address.clone()]);
        let mut now = Instant::now();
        for _ in 0..50 {
            assert_eq!(
                bootstrap.due(now, Need::Few, nobody, || 0.0),
                vec![address.clone()]
            );
            assert!(bootstrap.due(now, Need::Few, nobody, || 0.0).is_empty());
            now += FEW;
        }
        bootstrap.connected(&peer, now, 0.0);
        let later = now + Duration::from_secs(10);
        assert!(bootstrap.due(later, Need::Few, nobody, || 0.0).is_empty());
        let much_later = now + Duration::from_secs(3600);
        assert!(
            bootstrap
                .due(much_later, Need::None, nobody, || 0.0)
                .is_empty()
        );
        assert!(
            bootstrap
                .due(much_later, Need::Few, |p| *p == peer, || 0.0)
                .is_empty()
        );
        bootstrap.lost(&peer);
        assert_eq!(bootstrap.due(now, Need::Few, nobody, || 0.0).len(), 1);
    }

    #[test]
    fn a_node_that_idling_left_alone_returns_within_seconds_and_at_once_to_speak() {
        let (peer, address) = target();
        let mut bootstrap = Bootstrap::new(vec![address.clone()]);
        let now = Instant::now();
        bootstrap.connected(&peer, now, 0.0);
        bootstrap.alone(now, || 0.0);
        assert!(bootstrap.due(now, Need::Alone, nobody, || 0.0).is_empty());
        assert_eq!(
            bootstrap.due(now + ALONE, Need::Alone, nobody, || 0.0),
            vec![address.clone()]
        );

        bootstrap.connected(&peer, now, 0.0);
        bootstrap.wanted();
        assert_eq!(
            bootstrap.due(now, Need::Alone, nobody, || 0.0),
            vec![address]
        );
        // The peer did not answer. Asking again does not make the node dial faster.
        bootstrap.wanted();
        assert!(bootstrap.due(now, Need::Alone, nobody, || 0.0).is_empty());
    }

    #[test]
    fn a_node_that_is_alone_tries_every_twenty_seconds_whatever_failed_before() {
        let (_, address) = target();
        let mut bootstrap = Bootstrap::new(vec![address]);
        let mut now = Instant::now();
        for _ in 0..20 {
            bootstrap.due(now, Need::None, nobody, || 0.0);
            now += Duration::from_secs(300);
        }
        // Its other peers disappear in the middle of a pause of five minutes.
        now -= Duration::from_secs(299);
        assert!(bootstrap.due(now, Need::Alone, nobody, || 0.0).is_empty());
        bootstrap.alone(now, || 0.0);
        for _ in 0..20 {
            now += ALONE;
            assert_eq!(bootstrap.due(now, Need::Alone, nobody, || 0.0).len(), 1);
        }
    }

    #[test]
    fn a_bootstrap_peer_that_is_full_is_left_alone_for_longer_and_longer() {
        let (peer, address) = target();
        let mut bootstrap = Bootstrap::new(vec![address]);
        let mut now = Instant::now();
        for pause in [60, 120, 240, 300, 300] {
            bootstrap.connected(&peer, now, 0.0);
            bootstrap.refused(&peer, now, 0.0);
            bootstrap.alone(now, || 0.0);
            let pause = Duration::from_secs(pause);
            let almost = now + pause - Duration::from_millis(1);
            assert!(
                bootstrap
                    .due(almost, Need::Alone, nobody, || 0.0)
                    .is_empty()
            );
            now += pause;
            assert_eq!(bootstrap.due(now, Need::Alone, nobody, || 0.0).len(), 1);
        }
        bootstrap.connected(&peer, now, 0.0);
        bootstrap.kept(&peer);
        bootstrap.alone(now, || 0.0);
        now += ALONE;
        assert_eq!(bootstrap.due(now, Need::Alone, nobody, || 0.0).len(), 1);
    }

    #[test]
    fn a_bootstrap_peer_that_was_never_met_is_tried_beside_other_peers() {
        let (peer, address) = target();
        let anybody: Multiaddr = "/dnsaddr/bootstrap.example".parse().unwrap();
        let mut bootstrap = Bootstrap::new(vec![address.clone(), anybody]);
        let mut now = Instant::now();
        for _ in 0..50 {
            assert_eq!(
                bootstrap.due(now, Need::None, nobody, || 0.0),
                vec![address.clone()]
            );
            now += Duration::from_secs(300);
        }
        bootstrap.connected(&peer, now, 0.0);
        now += Duration::from_secs(3600);
        assert!(bootstrap.due(now, Need::None, nobody, || 0.0).is_empty());
    }
}
