//! What follows from misbehaviour: the log line, and the end of connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

use super::EventLoop;
use crate::admission::presence::direct_ip;
use crate::admission::{Action, Order, Verdict};
use crate::observe::misbehaviour::{self, Misbehaviour};

/// Lines a minute for one address: enough for fail2ban to count to the three of
/// its jail, and few enough that nobody fills a disk with them.
const LINES_OF_ADDRESS: u32 = 6;

/// Lines a minute for all addresses together: an attacker may have many.
const LINES_OF_ALL: u32 = 600;

/// Addresses whose lines are counted at once.
const MAX_ADDRESSES: usize = 1_024;

const MINUTE: Duration = Duration::from_secs(60);

/// Bounds the lines about misbehaving peers, by address. Each minute begins
/// anew for all addresses, so that there is nothing to keep for each.
#[derive(Debug, Default)]
pub(in crate::node) struct Lines {
    since: Option<Instant>,
    of_address: HashMap<Option<IpAddr>, u32>,
    of_all: u32,
    kept_back: u64,
}

impl Lines {
    /// Whether to write a line about `ip` at `now`, and how many were kept back
    /// since the last one.
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
    pub(super) fn order(&mut self, order: Order) {
        match order {
            Order::Judge(verdict) => self.judge(&verdict, Instant::now()),
            Order::Recheck => self.close_unwelcome(),
        }
    }

    fn judge(&mut self, verdict: &Verdict, now: Instant) {
        self.tell(verdict, now);
        if verdict.action == Action::Ban {
            self.swarm.behaviour_mut().kad.remove_peer(&verdict.peer);
        }
        if verdict.action > Action::Note {
            let _ = self.swarm.disconnect_peer_id(verdict.peer);
        }
    }

    /// Whether a ban or the rules for networks keep out a peer at this address.
    pub(super) fn is_unwelcome_at(&self, peer: &PeerId, address: &Multiaddr) -> bool {
        let admission = &self.options.admission;
        direct_ip(address).is_some_and(|ip| {
            let trusted = admission.is_trusted(peer);
            admission.banned_at(peer, ip).is_some()
                || self.options.gate.address(ip, trusted).is_err()
        })
    }

    /// Takes peers out of the routing table that are banned, or whose addresses all
    /// are, whether they are connected or not: every query that passes by would try to
    /// dial them.
    fn forget_unwelcome(&mut self) {
        let mut known: Vec<(PeerId, Vec<Multiaddr>)> = Vec::new();
        for bucket in self.swarm.behaviour_mut().kad.kbuckets() {
            let entries = bucket.iter().map(|e| (e.node.key, e.node.value));
            known.extend(entries.map(|(key, value)| {
                let addresses = value.iter().cloned().collect();
                (*key.preimage(), addresses)
            }));
        }
        for (peer, addresses) in known {
            let banned = self.options.admission.banned_peer(&peer).is_some();
            let nowhere = addresses.iter().all(|a| self.is_unwelcome_at(&peer, a));
            if banned || nowhere {
                self.swarm.behaviour_mut().kad.remove_peer(&peer);
            }
        }
    }

    fn tell(&mut self, verdict: &Verdict, now: Instant) {
        let Some(suppressed) = self.misbehaviour_lines.allow(verdict.ip, now) else {
            return;
        };
        let Verdict {
            peer,
            conduct,
            action,
            score,
            ip,
        } = verdict;
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
    pub(super) fn close_unwelcome(&mut self) {
        self.forget_unwelcome();
        let admission = self.options.admission.clone();
        let rules = self.options.gate.clone();
        let unwelcome_at = |peer: &PeerId, ip: IpAddr| {
            admission.banned_at(peer, ip).is_some()
                || rules.address(ip, admission.is_trusted(peer)).is_err()
        };
        let unwelcome: Vec<(PeerId, bool)> = self
            .peers
            .ids()
            .filter_map(|peer| {
                let by_id = admission.banned_peer(peer).is_some();
                let by_address = || {
                    self.peers
                        .addresses(peer)
                        .filter_map(direct_ip)
                        .any(|ip| unwelcome_at(peer, ip))
                };
                (by_id || by_address()).then_some((*peer, by_id))
            })
            .collect();
        for (peer, by_id) in unwelcome {
            if by_id {
                let _ = self.swarm.disconnect_peer_id(peer);
                continue;
            }
            // Of a peer that has several addresses only the banned ones end.
            let ids: Vec<_> = self
                .peers
                .connections(&peer)
                .filter(|(_, address)| direct_ip(address).is_some_and(|ip| unwelcome_at(&peer, ip)))
                .map(|(id, _)| id)
                .collect();
            for id in ids {
                self.swarm.close_connection(id);
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
        // A minute later it begins anew.
        assert!(lines.allow(ip(1), t + MINUTE).is_some());
        assert_eq!(lines.of_address.len(), 1);
    }
}
