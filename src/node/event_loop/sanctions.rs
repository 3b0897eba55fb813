//! The consequences of misbehaviour: the log line, and the end of connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::EventLoop;
use crate::node::misbehaviour::{self, Misbehaviour};
use crate::peers::{Action, Order, Sanction};
use crate::system::moment::Moment;

/// The number of lines a minute for one address. It is enough for fail2ban to count to
/// the three of its jail, and so few that nobody can fill a disk with them.
const LINES_OF_ADDRESS: u32 = 6;

/// The number of lines a minute for all addresses together, since an attacker may have
/// many.
const LINES_OF_ALL: u32 = 600;

/// The number of addresses whose lines are counted at the same time.
const MAX_ADDRESSES: usize = 1_024;

const MINUTE: Duration = Duration::from_secs(60);

/// Bounds the number of lines about misbehaving peers, by address. Each minute, the count
/// starts again for all addresses, so that no time has to be kept for each.
#[derive(Debug, Default)]
pub(in crate::node) struct Lines {
    since: Option<Instant>,
    of_address: HashMap<Option<IpAddr>, u32>,
    of_all: u32,
    kept_back: u64,
}

impl Lines {
    /// Returns how many lines were suppressed since the last one, if a line about `ip`
    /// may be written at `now`.
    fn allow(&mut self, ip: Option<IpAddr>, now: Instant) -> Option<u64> {
        let over = |since: Instant| now.saturating_duration_since(since) >= MINUTE;
        if self.since.is_none_or(over) {
            self.since = Some(now);
            self.of_address.clear();
            self.of_all = 0;
        }
        let known = self.of_address.len() < MAX_ADDRESSES || self.of_address.contains_key(&ip);
        if known && self.of_all < LINES_OF_ALL {
            let lines = self.of_address.entry(ip).or_default();
            if *lines < LINES_OF_ADDRESS {
                *lines += 1;
                self.of_all += 1;
                return Some(std::mem::take(&mut self.kept_back));
            }
        }
        self.kept_back += 1;
        None
    }
}

impl EventLoop {
    pub(super) fn order(&mut self, order: Order, now: Moment) {
        match order {
            Order::Sanction(sanction) => self.judge(&sanction, now),
            Order::Recheck => self.close_unwelcome(now),
        }
    }

    fn judge(&mut self, sanction: &Sanction, now: Moment) {
        self.tell(sanction, now);
        if sanction.action == Action::Ban {
            self.swarm.behaviour_mut().kad.remove_peer(&sanction.peer);
        }
        if sanction.action > Action::Note {
            let _ = self.swarm.disconnect_peer_id(sanction.peer);
        }
    }

    /// Removes peers from the routing table that are banned, or whose addresses are all
    /// banned, whether they are connected or not: every query that comes across one would
    /// try to dial it.
    fn forget_unwelcome(&mut self, now: Moment) {
        let kad = &mut self.swarm.behaviour_mut().kad;
        let mut unwelcome: Vec<PeerId> = Vec::new();
        for bucket in kad.kbuckets() {
            self.options.policy.read(|peers| {
                let forbidden = bucket.iter().filter_map(|entry| {
                    let peer = *entry.node.key.preimage();
                    let banned = peers.ban_of_peer(&peer, now.mono).is_some();
                    let mut addresses = entry.node.value.iter();
                    let mut nowhere =
                        || addresses.all(|a| peers.is_unwelcome_at(&peer, a, now.mono));
                    (banned || nowhere()).then_some(peer)
                });
                unwelcome.extend(forbidden);
            });
        }
        for peer in unwelcome {
            kad.remove_peer(&peer);
        }
    }

    fn tell(&mut self, sanction: &Sanction, now: Moment) {
        let Some(suppressed) = self.misbehaviour_lines.allow(sanction.ip, now.mono) else {
            return;
        };
        let Sanction {
            peer,
            conduct,
            action,
            score,
            ip,
        } = sanction;
        let reputation = score.round();
        misbehaviour::tell(&Misbehaviour {
            peer,
            ip: *ip,
            offence: *conduct,
            reputation,
            action: *action,
            suppressed,
        });
    }

    /// Closes all connections that a ban or the rules for addresses forbid.
    pub(super) fn close_unwelcome(&mut self, now: Moment) {
        self.forget_unwelcome(now);
        for (peer, connection) in self.peers.unwelcome(now.mono) {
            match connection {
                // If a peer has several addresses, only the connections from banned ones
                // end.
                Some(id) => drop(self.swarm.close_connection(id)),
                None => drop(self.swarm.disconnect_peer_id(peer)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_for_each_address_and_for_all() {
        let t = Instant::now();
        let mut lines = Lines::default();
        let ip = |n: u32| Some(IpAddr::from(std::net::Ipv4Addr::from(n)));
        let told = (0..100).filter(|_| lines.allow(ip(1), t).is_some()).count();
        assert_eq!(told, LINES_OF_ADDRESS as usize);
        assert_eq!(lines.allow(ip(2), t), Some(94));
        let told = (3..10_000)
            .filter(|n| lines.allow(ip(*n), t).is_some())
            .count();
        assert!(told < LINES_OF_ALL as usize, "{told}");
        assert!(lines.of_address.len() <= MAX_ADDRESSES);
        // A minute later, the count starts again.
        assert!(lines.allow(ip(1), t + MINUTE).is_some());
        assert_eq!(lines.of_address.len(), 1);
    }
}
