//! Whom a ban of a subnet refuses, and whom it does not.
//!
//! When the node itself bans a subnet, it does so because somebody there makes new peer
//! ids as fast as they are banned. So the ban is about ids that are new. It does not hold
//! for a peer that this node knows and holds nothing against:
//!
//! - A peer with merit: its score is at least [`MERIT`] and it was not banned lately.
//! - A peer that has been connected for [`SETTLED`] without an offence. An attacker that
//!   opens many connections first and uses them one by one has at most as many as one
//!   subnet may have, and each is still judged by what it does.
//! - A peer that this node dialed and holds nothing against: this node chose it.
//! - A peer that a program on this host, or its operator, asked to be connected with
//!   within [`WANTED_FOR`].
//!
//! A stranger whose address is only known from the DHT, from gossip or from another peer
//! is refused in a banned subnet, also when this node dials. Otherwise, somebody who is
//! banned could go on with new ids: it would name them in the DHT and wait to be dialed.
//!
//! # Good and bad ids weigh against each other
//!
//! Behind a carrier's NAT, many people share one address. So it takes
//! [`SUBNET_AFTER`](super::bans::SUBNET_AFTER) banned ids for each person there: as many
//! for the subnet as such, and as many again for each of its peers that behaved well
//! within [`LATELY`]. The ban is shorter by the same factor. An id is free, and so is good
//! conduct for a while, so at most [`MAX_GOOD`] good ids count.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use libp2p::PeerId;

/// The score from which on a peer counts as one of merit. Fifty messages that this node
/// had not heard before are worth as much, or five blocks.
pub const MERIT: f32 = 1.0;

/// How long a connection has to stand without an offence until a ban of its subnet does
/// not close it. An attacker that sends what is invalid is banned within a second, so it
/// cannot make this many settled ids and use them at the same time.
pub const SETTLED: Duration = Duration::from_secs(60);

/// How long a connection has to stand without an offence until its peer counts as well
/// behaved when its subnet is judged. It is longer than [`SETTLED`], because ids that do
/// nothing cost nothing.
pub const PROVEN: Duration = Duration::from_secs(600);

/// The time within which good conduct counts when a subnet is judged: as long as that
/// within which banned ids count together.
pub const LATELY: Duration = super::bans::SUBNET_WINDOW;

/// The number of well-behaved ids of one subnet that count. With seven, forty ids have to
/// be banned within an hour. An attacker that earns merit with seven ids gets 35 more ids
/// out of it, each of which is banned after a few messages.
pub const MAX_GOOD: usize = 7;

/// The number of subnets in which well-behaved ids are remembered, as for those with
/// banned ids. When there are more, the one that has been quiet for longest is forgotten.
/// With 7 ids of 96 bytes each, they take 700 KiB.
const MAX_SUBNETS: usize = 1_024;

/// How long a peer is wanted after a program asked for it. A transfer takes minutes.
pub const WANTED_FOR: Duration = Duration::from_secs(600);

/// The number of peers that are wanted at the same time. A fetch dials a few of its
/// providers at once. When there are more, the first is forgotten.
const MAX_WANTED: usize = 256;

/// How often the time of a well-behaved id is renewed at most, so that a peer that sends
/// many messages costs a look-up for each and no more.
const RENEWED_EVERY: Duration = Duration::from_secs(60);

/// How a peer stands with this node, from worst to best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nobody knows it, or it has misbehaved. All bans hold.
    Stranger,
    /// It has behaved well, or this node wants it. The node's own bans of subnets do not
    /// hold, and everything else does.
    Good,
    /// The operator trusts it. The allow list does not hold either.
    Trusted,
}

/// Which peers behaved well lately, by subnet, and which are wanted.
#[derive(Debug, Default)]
pub(super) struct Standings {
    good: HashMap<IpNet, VecDeque<(Instant, PeerId)>>,
    wanted: VecDeque<(PeerId, Instant)>,
}

impl Standings {
    /// Records that a peer of merit was in `subnet`.
    pub(super) fn behaved(&mut self, subnet: IpNet, peer: &PeerId, now: Instant) {
        if self.good.len() >= MAX_SUBNETS && !self.good.contains_key(&subnet) {
            let last = |ids: &VecDeque<(Instant, PeerId)>| ids.back().map(|(at, _)| *at);
            let quiet = self.good.iter().min_by_key(|(_, ids)| last(ids));
            if let Some(quiet) = quiet.map(|(net, _)| *net) {
                self.good.remove(&quiet);
            }
        }
        let ids = self.good.entry(subnet).or_default();
        if let Some(index) = ids.iter().position(|(_, id)| id == peer) {
            if now.saturating_duration_since(ids[index].0) < RENEWED_EVERY {
                return;
            }
            ids.remove(index);
        } else if ids.len() >= MAX_GOOD {
            ids.pop_front();
        }
        ids.push_back((now, *peer));
    }

    /// Returns the peers that behaved well in `subnet` lately.
    pub(super) fn good(&self, subnet: &IpNet, now: Instant) -> impl Iterator<Item = &PeerId> {
        let ids = self.good.get(subnet).into_iter().flatten();
        let lately = move |at: &Instant| now.saturating_duration_since(*at) < LATELY;
        ids.filter(move |(at, _)| lately(at)).map(|(_, id)| id)
    }

    /// Records that this host asked for a connection with `peer`.
    pub(super) fn want(&mut self, peer: &PeerId, now: Instant) {
        self.wanted.retain(|(wanted, _)| wanted != peer);
        if self.wanted.len() >= MAX_WANTED {
            self.wanted.pop_front();
        }
        self.wanted.push_back((*peer, now));
    }

    /// Returns whether this host asked for a connection with `peer` within
    /// [`WANTED_FOR`].
    pub(super) fn is_wanted(&self, peer: &PeerId, now: Instant) -> bool {
        let asked = self.wanted.iter().find(|(wanted, _)| wanted == peer);
        asked.is_some_and(|(_, at)| now.saturating_duration_since(*at) < WANTED_FOR)
    }

    /// Forgets what is too long ago to count.
    pub(super) fn tend(&mut self, now: Instant) {
        self.good.retain(|_, ids| {
            ids.retain(|(at, _)| now.saturating_duration_since(*at) < LATELY);
            !ids.is_empty()
        });
        let wanted = |at: &Instant| now.saturating_duration_since(*at) < WANTED_FOR;
        self.wanted.retain(|(_, at)| wanted(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(n: u32) -> IpNet {
        let ip = std::net::Ipv4Addr::from(0x0a00_0000 + n);
        IpNet::new(ip.into(), 32).unwrap()
    }

    #[test]
    fn the_last_well_behaved_ids_of_an_hour_count_and_memory_is_bounded() {
        let (mut standings, t) = (Standings::default(), Instant::now());
        let ids: Vec<PeerId> = (0..10).map(|_| PeerId::random()).collect();
        for (n, id) in (0u32..).zip(&ids) {
            standings.behaved(net(1), id, t + n * RENEWED_EVERY);
        }
        let good = |s: &Standings, at| s.good(&net(1), at).copied().collect::<Vec<_>>();
        let now = t + 9 * RENEWED_EVERY;
        assert_eq!(good(&standings, now), ids[3..]);
        // Who goes on behaving well stays, and the others are forgotten after an hour.
        standings.behaved(net(1), &ids[3], t + LATELY);
        let later = t + LATELY + 9 * RENEWED_EVERY;
        assert_eq!(good(&standings, later), [ids[3]]);
        standings.tend(later);
        assert_eq!(standings.good[&net(1)].len(), 1);
        for n in 2..5_000 {
            standings.behaved(net(n), &ids[0], later + Duration::from_millis(n.into()));
        }
        assert_eq!(standings.good.len(), MAX_SUBNETS);
        assert!(standings.good(&net(1), later).next().is_none());
        assert!(standings.good(&net(4_999), later).next().is_some());
    }

    #[test]
    fn a_wish_is_granted_for_ten_minutes_and_there_are_so_many_at_once() {
        let (mut standings, t) = (Standings::default(), Instant::now());
        let first = PeerId::random();
        standings.want(&first, t);
        assert!(standings.is_wanted(&first, t + WANTED_FOR - Duration::from_nanos(1)));
        assert!(!standings.is_wanted(&first, t + WANTED_FOR));
        standings.want(&first, t + WANTED_FOR);
        assert!(standings.is_wanted(&first, t + WANTED_FOR));
        for _ in 0..MAX_WANTED {
            standings.want(&PeerId::random(), t + WANTED_FOR);
        }
        assert!(!standings.is_wanted(&first, t + WANTED_FOR));
        assert_eq!(standings.wanted.len(), MAX_WANTED);
        standings.tend(t + 2 * WANTED_FOR);
        assert!(standings.wanted.is_empty());
    }
}
