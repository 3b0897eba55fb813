//! Which connected peers to keep so that this node stays part of its network
//! (`P2P_MIN_PEERS`).
//!
//! The choice is among the peers that are connected; how more are found is decided in
//! [`super::search`].
//!
//! # Who is worth keeping
//!
//! A peer gets points for each of these, the larger ones first: it was there before the
//! network was split; it has been connected for long; this node dialed it, so that it
//! did not push itself forward; it is on a topic of this node; it is close in the DHT.
//! Points are taken off for each peer of the same subnet that is kept already.
//!
//! Closeness counts for half of the floor only. The closest peers of a node are
//! mostly each other's closest too; a network in which everybody kept only those
//! would fall apart into clusters. The other half is whoever came along, which
//! ties all clusters together: a graph of four random edges a node is connected
//! with near certainty, and about log n / log 3 hops wide.
//!
//! # Peers that asked to be kept
//!
//! A peer that asked to be kept is as good a neighbour, but anybody can ask. So
//! such peers count for half of the floor at most; the other half this node keeps
//! for its own reasons, whatever others do.
//!
//! # Bootstrap peers
//!
//! A bootstrap node is everybody's first choice, and has room for few (see
//! `node::keep`). It is kept only until enough others are.

use std::cmp::Reverse;

use libp2p::PeerId;

use super::neighbour::Neighbour;
use super::ranking::Ranking;
use super::worth::Kept;

/// Whom to keep from now on, and whom no longer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) hold: Vec<PeerId>,
    pub(crate) release: Vec<PeerId>,
    /// How many more are wanted than there are, not counting bootstrap peers.
    pub(crate) missing: usize,
}

/// How many a node keeps at most when lost neighbours come back: half more than the
/// floor. After a split both halves have filled their floors from their own side; the
/// neighbours that come back are what ties the halves together.
fn most(floor: usize) -> usize {
    floor + floor / 2
}

/// Chooses among `peers` for a node with this floor.
pub(crate) fn plan(floor: usize, peers: &[Neighbour]) -> Plan {
    choose(peers, &mut Kept::under(floor), floor)
}

/// The same; `kept` is empty at first, and afterwards holds those that are kept, without
/// bootstrap peers.
fn choose(peers: &[Neighbour], kept: &mut Kept, floor: usize) -> Plan {
    let mut plan = Plan::default();
    let regular = || peers.iter().filter(|p| !p.bootstrap);
    regular().filter(|p| p.held).for_each(|p| kept.add(p));
    let came = regular().filter(|p| p.accepted && !p.held).count();
    let wanted = floor - came.min(floor / 2);

    let others = regular().filter(|p| !p.held && !p.refused && p.direct);
    let mut best = Ranking::new(others, |p| kept.worth(p));
    let mut chosen = Vec::new();
    // Choose one after another, since each choice changes what the others are worth.
    while let Some(peer) = best.next(|p| kept.worth(p)) {
        let full = kept.count() >= wanted;
        let tie = peer.returned && kept.count() < most(floor);
        if full && !tie {
            break;
        }
        chosen.push(peer);
        kept.add(peer);
    }
    plan.hold = chosen.iter().map(|p| p.peer).collect();
    plan.missing = wanted.saturating_sub(kept.count());

    // Bootstrap peers fill what is still missing.
    let mut spare = plan.missing;
    let mut bootstrap: Vec<&Neighbour> = peers.iter().filter(|p| p.bootstrap).collect();
    bootstrap.sort_by_key(|p| !p.held);
    for peer in bootstrap {
        let keep = spare > 0 && (peer.held || !peer.refused && peer.direct);
        spare -= usize::from(keep);
        match (keep, peer.held) {
            (true, false) => plan.hold.push(peer.peer),
            (false, true) => plan.release.push(peer.peer),
            _ => {}
        }
    }

    // When the floor is lowered there may be too many: those worth least are let go.
    if kept.count() > most(floor) {
        let all = regular().filter(|p| p.held).chain(chosen);
        let mut least = Ranking::new(all, |p| Reverse(kept.worth_within(p)));
        while kept.count() > most(floor)
            && let Some(peer) = least.next(|p| Reverse(kept.worth_within(p)))
        {
            plan.release.push(peer.peer);
            kept.remove(peer);
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ipnet::IpNet;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A peer that this node dialed a while ago, in a subnet of its own.
    fn neighbour(n: u8) -> Neighbour {
        Neighbour {
            peer: PeerId::random(),
            age: MINUTE * u32::from(n),
            subnet: Some(format!("192.0.2.{n}/32").parse().unwrap()),
            dialed: true,
            direct: true,
            near: false,
            gossip: false,
            bootstrap: false,
            returned: false,
            refused: false,
            held: false,
            accepted: false,
        }
    }

    /// The indices of those of `peers` that should be held.
    fn held(floor: usize, peers: &[Neighbour]) -> Vec<usize> {
        let plan = plan(floor, peers);
        let place = |peer: &PeerId| peers.iter().position(|p| p.peer == *peer).unwrap();
        let mut held: Vec<usize> = plan.hold.iter().map(place).collect();
        held.sort_unstable();
        held
    }

    #[test]
    fn a_node_keeps_its_floor_and_no_more() {
        let mut peers: Vec<Neighbour> = (0..9).map(neighbour).collect();
        let first = plan(4, &peers);
        assert_eq!(first.hold.len(), 4);
        assert_eq!((first.release.len(), first.missing), (0, 0));
        for peer in &mut peers {
            peer.held = first.hold.contains(&peer.peer);
        }
        assert_eq!(plan(4, &peers), Plan::default());
        assert_eq!(held(0, &peers[..0]), [] as [usize; 0]);
        let few = plan(4, &peers[..1]);
        assert_eq!(few.missing, 3);
        // A floor of zero keeps no peers.
        let none = plan(0, &peers);
        assert_eq!(
            (none.hold.len(), none.release.len(), none.missing),
            (0, 4, 0)
        );
    }

    #[test]
    fn long_lived_dialed_gossiping_and_near_peers_come_first() {
        let young = || neighbour(0);
        let peers = [
            young(),
            Neighbour {
                age: 60 * MINUTE,
                ..young()
            },
            Neighbour {
                gossip: true,
                ..young()
            },
            Neighbour {
                near: true,
                ..young()
            },
            Neighbour {
                dialed: false,
                ..young()
            },
        ];
        let mut peers = peers;
        for (n, peer) in peers.iter_mut().enumerate() {
            peer.subnet = neighbour(n as u8).subnet;
        }
        assert_eq!(held(1, &peers), [1]);
        assert_eq!(held(3, &peers), [1, 2, 3]);
        assert_eq!(held(4, &peers), [0, 1, 2, 3]);
    }

    #[test]
    fn half_of_the_floor_at_most_is_chosen_for_being_near() {
        let mut peers: Vec<Neighbour> = (0..12).map(neighbour).collect();
        for (n, peer) in peers.iter_mut().enumerate() {
            peer.age = MINUTE;
            peer.near = n < 6;
        }
        let near = held(4, &peers).into_iter().filter(|n| *n < 6).count();
        assert_eq!(near, 2);
        // But near ones are better than none.
        assert_eq!(held(4, &peers[..6]).len(), 4);
    }

    #[test]
    fn a_subnet_gets_a_second_place_only_when_no_other_is_there() {
        let mut peers: Vec<Neighbour> = (0..6).map(|_| neighbour(60)).collect();
        peers[4].subnet = neighbour(1).subnet;
        peers[4].age = Duration::ZERO;
        // This host has no subnet.
        peers[5].subnet = None;
        peers[5].age = Duration::ZERO;
        let chosen = held(3, &peers);
        assert!(chosen.contains(&4) && chosen.contains(&5), "{chosen:?}");
        assert_eq!(held(6, &peers).len(), 6);
    }

    #[test]
    fn those_who_came_by_themselves_are_half_of_the_floor_at_most() {
        let mut peers: Vec<Neighbour> = (0..12).map(neighbour).collect();
        for peer in &mut peers[..6] {
            peer.accepted = true;
            peer.dialed = false;
            peer.age = Duration::ZERO;
        }
        assert_eq!(held(4, &peers).len(), 2);
        assert_eq!(plan(4, &peers[..6]).hold.len(), 2);
        assert_eq!(
            plan(5, &peers[..1]).missing,
            3,
            "it is held and counts once"
        );
        assert_eq!(plan(4, &peers[1..2]).missing, 2);
    }

    #[test]
    fn a_bootstrap_peer_is_kept_until_others_are() {
        let mut peers = vec![neighbour(60)];
        peers[0].bootstrap = true;
        assert_eq!(held(2, &peers), [0]);
        peers[0].held = true;
        assert_eq!(plan(2, &peers).missing, 2, "others are looked for");
        peers.push(neighbour(1));
        assert_eq!(held(2, &peers), [1]);
        assert_eq!(plan(2, &peers).release, []);
        peers[1].held = true;
        peers.push(neighbour(2));
        let done = plan(2, &peers);
        assert_eq!(done.hold, [peers[2].peer]);
        assert_eq!(done.release, [peers[0].peer]);
        assert_eq!(done.missing, 0);
    }

    #[test]
    fn who_refused_or_is_only_reached_through_a_relay_is_not_asked() {
        let mut peers: Vec<Neighbour> = (0..4).map(neighbour).collect();
        peers[0].refused = true;
        peers[1].direct = false;
        peers[2].bootstrap = true;
        peers[2].refused = true;
        assert_eq!(held(4, &peers), [3]);
        assert_eq!(plan(4, &peers).missing, 3);
    }

    #[test]
    fn a_peer_that_came_back_is_kept_over_the_floor_for_a_while() {
        let mut peers: Vec<Neighbour> = (0..9).map(neighbour).collect();
        for peer in &mut peers[..4] {
            peer.held = true;
        }
        for peer in &mut peers[4..] {
            peer.returned = true;
        }
        let plan = plan(4, &peers);
        assert_eq!((plan.hold.len(), plan.release.len()), (2, 0));
    }

    /// The choice as it is described: all peers are looked at again after each choice.
    fn plainly(floor: usize, peers: &[Neighbour]) -> Plan {
        let mut kept: Vec<&Neighbour> = peers.iter().filter(|p| p.held && !p.bootstrap).collect();
        let mut others: Vec<&Neighbour> = peers.iter().collect();
        others.retain(|p| !p.held && !p.bootstrap && !p.refused && p.direct);
        let came = peers
            .iter()
            .filter(|p| !p.bootstrap && p.accepted && !p.held);
        let wanted = floor - came.count().min(floor / 2);
        let beside = |kept: &[&Neighbour]| {
            let mut beside = Kept::under(floor);
            kept.iter().for_each(|p| beside.add(p));
            beside
        };
        let mut plan = Plan::default();
        loop {
            let beside = beside(&kept);
            let best = (0..others.len()).max_by_key(|at| beside.worth(others[*at]));
            let Some(best) = best else { break };
            let tie = others[best].returned && kept.len() < most(floor);
            if kept.len() >= wanted && !tie {
                break;
            }
            plan.hold.push(others[best].peer);
            kept.push(others.swap_remove(best));
        }
        plan.missing = wanted.saturating_sub(kept.len());
        while kept.len() > most(floor) {
            let least = (0..kept.len()).min_by_key(|at| {
                let mut others = kept.clone();
                let peer = others.swap_remove(*at);
                beside(&others).worth(peer)
            });
            plan.release.push(kept.swap_remove(least.unwrap()).peer);
        }
        plan
    }

    /// Peers of all kinds, in `subnets` subnets; no two have the same age.
    fn crowd(count: u32, subnets: u32) -> Vec<Neighbour> {
        let mut ages: Vec<u32> = (0..count).collect();
        ages.sort_by_cached_key(|_| rand::random::<u32>());
        let one_in = |n: u32| rand::random_range(0..n) == 0;
        let mut peers = Vec::new();
        for age in ages {
            let subnet = rand::random_range(0..=subnets);
            let address = std::net::Ipv4Addr::from(0xc633_0000 + subnet);
            peers.push(Neighbour {
                age: Duration::from_millis(u64::from(age) * 4_321),
                subnet: (subnet < subnets).then(|| IpNet::from(std::net::IpAddr::from(address))),
                dialed: one_in(2),
                direct: !one_in(8),
                near: one_in(4),
                gossip: one_in(3),
                returned: one_in(9),
                refused: one_in(7),
                held: one_in(3),
                accepted: one_in(5),
                ..neighbour(0)
            });
        }
        peers
    }

    #[test]
    fn the_choice_is_the_one_of_looking_at_everybody_again() {
        for subnets in [0, 1, 3, 40] {
            for floor in [0, 1, 2, 5, 16, 100] {
                for _ in 0..8 {
                    let peers = crowd(60, subnets);
                    let (mut quick, mut plain) = (plan(floor, &peers), plainly(floor, &peers));
                    assert_eq!(quick.hold, plain.hold, "floor {floor}, {subnets} subnets");
                    for plan in [&mut quick, &mut plain] {
                        plan.release.sort_unstable();
                    }
                    assert_eq!(quick, plain, "floor {floor}, {subnets} subnets");
                }
            }
        }
    }

    #[test]
    fn the_work_grows_with_the_peers_and_not_with_the_floor_as_well() {
        for subnets in [0, 1, 3, 4_000] {
            for (floor, held) in [(1_000, false), (500, false), (10, true), (1_000, true)] {
                let mut peers = crowd(4_000, subnets);
                for peer in &mut peers {
                    (peer.held, peer.refused, peer.direct) = (held, false, true);
                    peer.accepted = false;
                }
                let mut kept = Kept::under(floor);
                let plan = choose(&peers, &mut kept, floor);
                assert!(plan.hold.len() + plan.release.len() >= 500);
                // Once at the beginning, and once when enough are near. For each peer that
                // is chosen: the peer itself, then the next of its group, which is out of
                // date as soon as the first is kept, and the other group of its subnet.
                let most = 8 * peers.len();
                let asked = kept.asked.get();
                assert!(asked <= most, "{asked}: floor {floor}, {subnets} subnets");
            }
        }
    }
}
