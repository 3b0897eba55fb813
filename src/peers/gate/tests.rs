use std::time::Duration;

use super::super::bans::SUBNET_AFTER;
use super::super::networks::Networks;
use super::super::world::{World, endpoint, ip};
use super::super::{Conduct, Settings, Target};
use super::*;

fn settings(rules: Rules) -> Settings {
    Settings {
        rules,
        ..Settings::default()
    }
}

/// Returns rules with rates that no test of other limits reaches.
fn rules() -> Rules {
    Rules {
        rate: 100_000,
        subnet_rate: 100_000,
        ..Rules::default()
    }
}

fn host(n: u32) -> String {
    std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string()
}

fn nets(list: &[&str]) -> Networks {
    list.iter().map(|n| n.parse().unwrap()).collect()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>, limit: &str) -> String {
    let refusal = result.unwrap_err();
    assert_eq!(refusal.limit(), limit, "{refusal}");
    let text = refusal.to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[test]
fn a_denied_network_wins_over_an_allowed_one() {
    let mut world = World::with_rules(
        Rules {
            allow: nets(&["192.0.2.0/24", "2001:db8::/32"]),
            deny: nets(&["192.0.2.128/25"]),
            ..rules()
        },
        Limits::default(),
    );
    world.comes("192.0.2.1").unwrap();
    world.comes("2001:db8::1").unwrap();
    refused(world.arrives("192.0.2.200"), "P2P_DENY_CIDRS");
    refused(world.arrives("198.51.100.1"), "P2P_ALLOW_CIDRS");
    // The same IPv4 address, mapped to IPv6.
    refused(world.arrives("::ffff:192.0.2.200"), "P2P_DENY_CIDRS");
    refused(world.dials("192.0.2.200"), "P2P_DENY_CIDRS");
}

#[test]
fn a_name_cannot_lead_to_this_host_or_to_a_denied_network() {
    let peers = Peers::new(settings(Rules {
        deny: nets(&["10.0.0.0/8"]),
        ..rules()
    }));
    let dial = |to, name| peers.dial(ip(to), name, None, Instant::now());
    refused(dial("10.1.2.3", Some("x.test")), "P2P_DENY_CIDRS");
    for here in [
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
    ] {
        refused(dial(here, Some("x.test")), "name of this host");
    }
    dial("127.0.0.1", None).unwrap();
    dial("127.0.0.1", Some("localhost")).unwrap();
    dial("192.0.2.1", Some("x.test")).unwrap();
}

#[test]
fn bans_hold_before_and_after_the_handshake_for_trusted_peers_too() {
    let banned = PeerId::random();
    let friend = PeerId::random();
    let rules = Rules {
        deny: nets(&["198.51.100.0/24"]),
        ..rules()
    };
    let trusting = Settings {
        trusted: vec![banned, friend],
        ..settings(rules)
    };
    let mut world = World::with(trusting, Limits::default());
    let now = world.moment();
    for target in [Target::Net(ip("192.0.2.66").into()), Target::Peer(banned)] {
        world.peers.ban(target, None, "spam", now).unwrap();
    }
    let text = refused(world.arrives("192.0.2.66"), "bans");
    assert!(text.contains("spam"), "{text}");
    refused(world.comes_as(banned, "192.0.2.1"), "bans");
    refused(world.comes_as(friend, "198.51.100.1"), "P2P_DENY_CIDRS");
    refused(world.begins(None, &["192.0.2.66"]), "bans");
    refused(world.begins(Some(&banned), &[]), "bans");
    world.comes_as(friend, "192.0.2.1").unwrap();
}

#[test]
fn a_ban_that_comes_during_a_handshake_ends_it() {
    let mut world = World::with_rules(rules(), Limits::default());
    let (peer, from) = (PeerId::random(), "192.0.2.1");
    let id = world.arrives(from).unwrap();
    for target in [Target::Net(ip(from).into()), Target::Peer(peer)] {
        world.proves(id, peer, from).unwrap();
        world.reaches(&peer, Some(from)).unwrap();
        let now = world.moment();
        world.peers.ban(target, None, "", now).unwrap();
        refused(world.proves(id, peer, from), "bans");
        refused(world.reaches(&peer, Some(from)), "bans");
        world.peers.unban(&target, now.mono).unwrap();
    }
}

#[test]
fn a_subnet_fills_up_with_connections_and_handshakes_and_empties_again() {
    let mut world = World::with_rules(
        Rules {
            per_subnet: 2,
            ..rules()
        },
        Limits::default(),
    );
    let (one, same, other) = ("2001:db8:0:1::1", "2001:db8:0:2::9", "2001:db8:0:100::1");
    let peer = PeerId::random();
    let first = world.comes_as(peer, one).unwrap();
    let pending = world.arrives(same).unwrap();
    let text = refused(world.arrives(one), "P2P_MAX_CONNECTIONS_PER_SUBNET");
    assert!(text.contains("2001:db8::/56"), "{text}");
    world.comes(other).unwrap();
    world.gate.settled(pending);
    world
        .arrives(same)
        .map(|id| world.gate.settled(id))
        .unwrap();
    world.peers.closed(&peer, first).unwrap();
    assert!(world.gate.arriving.is_empty());
    assert_eq!(world.peers.table().len(), 1, "only the other one is left");
}

#[test]
fn wider_prefixes_make_wider_subnets_and_loopback_none() {
    let rules = Rules {
        per_subnet: 1,
        rate: 1,
        subnet_rate: 1,
        ..Rules::default()
    };
    let wide = Settings {
        prefixes: Prefixes { ipv4: 24, ipv6: 56 },
        ..settings(rules)
    };
    let mut world = World::with(wide, Limits::default());
    world.comes("192.0.2.1").unwrap();
    refused(world.comes("192.0.2.250"), "P2P_MAX_CONNECTIONS_PER_SUBNET");
    world.comes("192.0.3.1").unwrap();
    for _ in 0..50 {
        world.comes("127.0.0.1").unwrap();
    }
}

#[test]
fn strangers_cannot_take_the_places_of_our_own_dials() {
    let limits = Limits {
        total: 40,
        ..Limits::default()
    };
    let mut world = World::with_rules(rules(), limits);
    for n in 0..30 {
        world.comes(&host(n)).unwrap();
    }
    let text = refused(world.comes(&host(30)), "P2P_MAX_CONNECTIONS");
    assert!(text.contains("40") && text.contains("10"), "{text}");
    for n in 0..10 {
        world.dials(&host(100 + n)).unwrap();
    }
    // And the limit holds for dials too.
    refused(world.dials(&host(200)), "P2P_MAX_CONNECTIONS");
    let table = world.peers.table();
    assert_eq!(table.inbound() + table.outbound(), 40);

    let mut world = World::with_rules(rules(), Limits::default());
    for _ in 0..48 {
        world.comes("192.0.2.1").unwrap();
    }
    // These are refused before the handshake.
    refused(world.arrives("192.0.2.1"), "P2P_MAX_CONNECTIONS_PER_SUBNET");
    for _ in 0..16 {
        world.dials("192.0.2.1").unwrap();
    }
    refused(world.dials("192.0.2.1"), "P2P_MAX_CONNECTIONS_PER_SUBNET");
}

#[test]
fn handshakes_that_end_at_the_same_time_do_not_break_a_cap() {
    let limits = Limits {
        total: 8,
        ..Limits::default()
    };
    let mut world = World::with_rules(rules(), limits);
    let arrived: Vec<_> = (0..20).map(|n| world.arrives(&host(n)).unwrap()).collect();
    let mut established = 0;
    for (n, id) in (0..).zip(arrived) {
        let (peer, from) = (PeerId::random(), host(n));
        if world.proves(id, peer, &from).is_ok() {
            world.opened(id, peer, ip(&from), false);
            established += 1;
        } else {
            world.gate.settled(id);
        }
    }
    assert_eq!(established, 6);
    assert!(world.gate.arrivals.is_empty() && world.gate.arriving.is_empty());
    assert_eq!(world.peers.table().len(), 6);

    // The limit holds for dials too.
    let dialed: Vec<_> = (0..9)
        .map(|_| {
            let peer = PeerId::random();
            (world.begins(Some(&peer), &[]).unwrap(), peer)
        })
        .collect();
    for (id, peer) in dialed {
        match world.reaches(&peer, None) {
            Ok(()) => world.opened(id, peer, ip("192.0.2.1"), true),
            Err(_) => world.gate.settled(id),
        }
    }
    let table = world.peers.table();
    assert_eq!((table.inbound(), table.outbound()), (6, 2));

    // And both for one subnet: one of four places is kept for dials.
    let rules = Rules {
        per_subnet: 4,
        ..rules()
    };
    let mut world = World::with_rules(rules, Limits::default());
    let arrived: Vec<_> = (0..3)
        .map(|_| world.arrives("192.0.2.1").unwrap())
        .collect();
    for _ in 0..2 {
        world.dials("192.0.2.1").unwrap();
    }
    let mut establish = |id| {
        let (peer, from) = (PeerId::random(), "192.0.2.1");
        let allowed = world.proves(id, peer, from);
        allowed.map(|()| world.opened(id, peer, ip(from), false))
    };
    establish(arrived[0]).unwrap();
    refused(establish(arrived[1]), "P2P_MAX_CONNECTIONS_PER_SUBNET");
}

#[test]
fn each_direction_and_each_peer_has_its_cap() {
    let limits = Limits {
        inbound: 2,
        outbound: 1,
        per_peer: 3,
        ..Limits::default()
    };
    let mut world = World::with_rules(rules(), limits.clone());
    world.comes("192.0.2.1").unwrap();
    world.comes("192.0.2.2").unwrap();
    refused(world.comes("192.0.2.3"), "P2P_MAX_INBOUND_CONNECTIONS");
    world.dials("192.0.2.4").unwrap();
    refused(world.dials("192.0.2.5"), "P2P_MAX_OUTBOUND_CONNECTIONS");

    let mut world = World::with_rules(rules(), Limits::default());
    let peer = PeerId::random();
    for _ in 0..4 {
        world.comes_as(peer, "192.0.2.1").unwrap();
    }
    refused(
        world.comes_as(peer, "192.0.2.2"),
        "P2P_MAX_CONNECTIONS_PER_PEER",
    );
    world.begins(Some(&peer), &[]).unwrap();
    refused(world.reaches(&peer, None), "P2P_MAX_CONNECTIONS_PER_PEER");
}

#[test]
fn one_subnet_cannot_hold_all_handshakes_and_slow_ones_make_room() {
    let mut world = World::with_rules(rules(), Limits::default());
    for _ in 0..MAX_PENDING_PER_SUBNET {
        world.arrives("192.0.2.1").unwrap();
    }
    refused(world.arrives("192.0.2.1"), "pending connections");
    for n in MAX_PENDING_PER_SUBNET..MAX_PENDING_INBOUND {
        world.arrives(&host(n)).unwrap();
    }
    refused(world.arrives("198.51.100.1"), "pending connections");
    world.pass(GRACE);
    // The slow handshakes are pushed out one by one, and those that began later are not.
    let mut out = HashSet::new();
    for n in 0..MAX_PENDING_INBOUND {
        let (_, evicted) = world.arrives_from(Some(ip(&host(1000 + n)))).unwrap();
        assert!(out.insert(evicted.expect("somebody makes room")));
    }
    refused(world.arrives("198.51.100.2"), "pending connections");
    for id in out {
        world.gate.settled(id);
    }
    assert_eq!(world.gate.arrivals.len(), MAX_PENDING_INBOUND as usize);
    let arriving: u32 = world.gate.arriving.values().sum();
    assert_eq!(arriving, MAX_PENDING_INBOUND);
    // The slow handshakes of a full subnet make room for others of that subnet, and for
    // nobody else.
    world.pass(GRACE);
    let ids: Vec<ConnectionId> = world.gate.arrivals.keys().copied().collect();
    for id in &ids[..64] {
        world.gate.settled(*id);
    }
    let mine: HashSet<_> = (0..MAX_PENDING_PER_SUBNET)
        .map(|_| world.arrives("192.0.2.1").unwrap())
        .collect();
    refused(world.arrives("192.0.2.1"), "pending connections");
    world.pass(GRACE);
    world.luck.set(0.5);
    let (_, evicted) = world.arrives_from(Some(ip("192.0.2.1"))).unwrap();
    assert!(mine.contains(&evicted.unwrap()));
}

#[test]
fn places_are_counted_as_they_are_taken() {
    let trusting = Settings {
        trusted: vec![PeerId::random()],
        ..settings(Rules { ..rules() })
    };
    let mut world = World::with(trusting, Limits::default());
    let mut under_way = Vec::new();
    let mut state = 1_u32;
    for step in 0..5_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        world
            .luck
            .set(f64::from(state) / f64::from(u32::MAX) * 0.999);
        world.pass(Duration::from_millis(u64::from(state >> 16) % 40));
        if let Ok(id) = world.arrives(&host(state >> 20 & 0x1f)) {
            under_way.push(id);
        }
        // Many handshakes begin and end by turns.
        if (step / 500) % 2 == 1 {
            for _ in 0..2.min(under_way.len()) {
                let id = under_way.swap_remove(state as usize % under_way.len());
                world.gate.settled(id);
            }
        }
        let mut counted = Taken::default();
        for arrival in world.gate.arrivals.values() {
            if let Some(count) = counted.of(&arrival.slot) {
                *count += 1;
            }
        }
        assert_eq!(world.gate.taken, counted, "step {step}");
        assert!(counted.common <= MAX_PENDING_INBOUND);
        assert!(counted.open <= TRUSTED_LANE - TRUSTED_LANE_KNOWN);
    }
    for id in under_way {
        world.gate.settled(id);
    }
    assert_eq!(world.gate.taken, Taken::default());
    assert!(world.gate.arriving.is_empty());
}

#[test]
fn rates_hold_for_a_subnet_and_in_total() {
    let rules = Rules {
        rate: 20,
        subnet_rate: 2,
        ..Rules::default()
    };
    let mut world = World::with_rules(rules, Limits::default());
    let come = |world: &mut World, from: &str| world.arrives(from).map(|id| world.gate.settled(id));
    for _ in 0..4 {
        come(&mut world, "192.0.2.1").unwrap();
    }
    let text = refused(
        come(&mut world, "192.0.2.1"),
        "P2P_MAX_INBOUND_RATE_PER_SUBNET",
    );
    assert!(
        text.contains("192.0.2.1/32") && text.contains('2'),
        "{text}"
    );
    world.pass(Duration::from_secs(1));
    come(&mut world, "192.0.2.1").unwrap();
    come(&mut world, "192.0.2.1").unwrap();
    refused(
        come(&mut world, "192.0.2.1"),
        "P2P_MAX_INBOUND_RATE_PER_SUBNET",
    );
    let let_in = (0..1000).filter(|n| come(&mut world, &host(*n)).is_ok());
    assert_eq!(let_in.count(), 38, "40, two of them spent");
    refused(come(&mut world, &host(2000)), "P2P_MAX_INBOUND_RATE");
}

#[test]
fn a_flood_lets_an_honest_address_through_with_a_chance_of_one_in_32() {
    let mut world = World::with_rules(Rules::default(), Limits::default());
    // The flood uses up the total rate.
    while world
        .arrives(&host(world.next as u32))
        .map(|id| world.gate.settled(id))
        .is_ok()
    {}
    let (mut state, mut passed) = (1_u64, 0);
    for _ in 0..32_000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        world.luck.set((state >> 11) as f64 / (1_u64 << 53) as f64);
        // Each try comes from a new address, so that the rate of its subnet does not
        // matter.
        let from = host(1_000_000 + world.next as u32);
        if let Ok(id) = world.arrives(&from) {
            world.gate.settled(id);
            passed += 1;
        }
    }
    assert!(
        (800..1200).contains(&passed),
        "{passed} of 32,000, 1,000 expected"
    );
}

#[test]
fn a_flooding_subnet_does_not_leak_into_what_others_need() {
    let mut world = World::with_rules(Rules::default(), Limits::default());
    world.luck.set(0.0);
    let mut passed = 0;
    for _ in 0..10_000 {
        if let Ok(id) = world.arrives("192.0.2.1") {
            world.gate.settled(id);
            passed += 1;
        }
    }
    // Although it is always lucky, it gets no more than half of the total's burst.
    assert!(passed <= 66, "{passed}");
    world.luck.set(0.999);
    for n in 0..60 {
        world
            .arrives(&host(n))
            .map(|id| world.gate.settled(id))
            .unwrap();
    }
}

#[test]
fn trusted_peers_pass_what_strangers_fill() {
    let friend = PeerId::random();
    let full = Limits {
        total: 1,
        ..Limits::default()
    };
    let trusting = Settings {
        trusted: vec![friend],
        ..settings(Rules {
            per_subnet: 1,
            ..rules()
        })
    };
    let mut world = World::with(trusting, full);
    world.comes("192.0.2.1").unwrap();
    refused(world.comes("192.0.2.9"), "P2P_MAX_CONNECTIONS");
    // The friend comes from a full subnet, to a full node, and more often than strangers
    // may.
    for _ in 0..5 {
        world.comes_as(friend, "192.0.2.1").unwrap();
    }
    // Its address is known now. Strangers that hold the other places of the lane with
    // slow handshakes cannot keep it out.
    let places = TRUSTED_LANE - TRUSTED_LANE_KNOWN;
    let mut strangers = 0;
    for n in 0..1000 {
        world.pass(Duration::from_secs(1));
        strangers += u32::from(world.arrives(&host(n)).is_ok());
    }
    assert_eq!(strangers, places);
    world.comes_as(friend, "192.0.2.1").unwrap();
    // And a stranger is refused for the reason for which it would be refused without the
    // lane.
    let id = world.arrives("192.0.2.1").unwrap();
    let stranger = PeerId::random();
    refused(
        world.proves(id, stranger, "192.0.2.1"),
        "P2P_MAX_CONNECTIONS",
    );
}

#[test]
fn the_lane_costs_a_handshake_twice_a_second_at_most() {
    let trusting = Settings {
        trusted: vec![PeerId::random()],
        ..settings(Rules {
            rate: 1,
            subnet_rate: 1,
            ..Rules::default()
        })
    };
    let mut world = World::with(trusting, Limits::default());
    let mut handshakes = 0;
    for n in 0..10_000 {
        world.pass(Duration::from_millis(1));
        if let Ok(id) = world.arrives(&host(n)) {
            world.gate.settled(id);
            handshakes += 1;
        }
    }
    // In ten seconds: 2 + 10 at the rate, and 8 + 20 in the lane.
    assert!((36..=41).contains(&handshakes), "{handshakes}");
}

#[test]
fn no_limit_keeps_out_a_peer_of_peering() {
    type Case = (&'static str, fn(&mut Rules, &mut Limits, &mut Sample));
    let cases: [Case; 8] = [
        ("P2P_MAX_CONNECTIONS", |_, limits, _| limits.total = 4),
        ("P2P_MAX_INBOUND_CONNECTIONS", |_, limits, _| {
            limits.inbound = 1
        }),
        ("P2P_MAX_CONNECTIONS_PER_SUBNET", |rules, _, _| {
            rules.per_subnet = 1
        }),
        ("P2P_MAX_INBOUND_RATE", |rules, _, _| rules.rate = 1),
        ("P2P_MAX_INBOUND_RATE_PER_SUBNET", |rules, _, _| {
            rules.subnet_rate = 1
        }),
        ("P2P_MAX_MEMORY", |_, limits, _| {
            limits.memory = Some(100 << 20)
        }),
        ("LimitNOFILE", |_, _, sample| sample.open = 1024),
        // Not even the connections are left that this node keeps for itself.
        ("P2P_MAX_CONNECTIONS", |_, limits, _| {
            (limits.total, limits.inbound, limits.outbound) = (0, 0, 0);
        }),
    ];
    for (limit, change) in cases {
        let (friend, home) = (PeerId::random(), "192.0.2.77");
        let mut rules = rules();
        let mut limits = Limits {
            per_peer: 1,
            ..Limits::default()
        };
        let mut sample = Sample {
            descriptors: 1024,
            open: 100,
            resident: 100 << 20,
        };
        change(&mut rules, &mut limits, &mut sample);
        let settings = Settings {
            peering: vec![friend],
            ..settings(rules)
        };
        let mut world = World::with(settings, limits);
        world.resources.set(sample);
        let address = endpoint(ip(home), true).get_remote_address().clone();
        world.peers.remembered_at(&friend, &address);
        // Strangers from the same address take all that there is.
        let refusal = (0..200).find_map(|_| world.comes(home).err());
        assert_eq!(refusal.unwrap().limit(), limit);
        for from in [home, home, "198.51.100.5"] {
            let came = world.comes_as(friend, from);
            assert!(came.is_ok(), "{limit} from {from}: {came:?}");
            let dialed = world.begins(Some(&friend), &[from]);
            assert!(dialed.is_ok(), "{limit} to {from}: {dialed:?}");
            let reached = world.reaches(&friend, Some(from));
            assert!(reached.is_ok(), "{limit} to {from}: {reached:?}");
            world.opened(dialed.unwrap(), friend, ip(from), true);
        }
    }
}

#[test]
fn descriptors_and_memory_run_out_for_strangers_first() {
    let limits = Limits {
        memory: Some(1600 << 20),
        ..Limits::default()
    };
    let friend = PeerId::random();
    let trusting = Settings {
        trusted: vec![friend],
        ..settings(Rules { ..rules() })
    };
    let mut world = World::with(trusting.clone(), limits.clone());
    let sample = Sample {
        descriptors: 1024,
        open: 800,
        resident: 100 << 20,
    };
    world.resources.set(sample);
    // Connections are counted between two looks: 800 + 32 = 1024 - 192.
    for n in 0..32 {
        world.comes(&host(n)).unwrap();
    }
    let text = refused(world.comes(&host(40)), "LimitNOFILE");
    assert!(
        text.contains("1024") && text.contains("P2P_MAX_CONNECTIONS"),
        "{text}"
    );
    world.dials("192.0.2.1").unwrap();
    world.resources.set(Sample {
        open: 900,
        ..sample
    });
    refused(world.dials("192.0.2.1"), "LimitNOFILE");
    world.comes_as(friend, "192.0.2.1").unwrap();

    let mut world = World::with(trusting, limits);
    world.resources.set(Sample {
        resident: 1499 << 20,
        ..sample
    });
    world.comes("192.0.2.1").unwrap();
    world.resources.set(Sample {
        resident: 1500 << 20,
        ..sample
    });
    let text = refused(world.comes("192.0.2.2"), "P2P_MAX_MEMORY");
    assert!(text.contains("1500 MiB"), "{text}");
    world.dials("192.0.2.1").unwrap();
    world.comes_as(friend, "192.0.2.3").unwrap();
    world.resources.set(Sample {
        resident: 1600 << 20,
        ..sample
    });
    refused(world.dials("192.0.2.1"), "P2P_MAX_MEMORY");
    world.begins(Some(&friend), &[]).unwrap();
}

#[test]
fn dials_under_way_are_counted_and_a_closed_gate_lets_nobody_in() {
    let mut world = World::with_rules(rules(), Limits::default());
    for _ in 0..MAX_PENDING_OUTBOUND {
        world.begins(None, &[]).unwrap();
    }
    refused(world.begins(None, &[]), "pending connections");
    // Handshakes of strangers are counted separately.
    world.arrives("192.0.2.1").unwrap();
    world.gate.close();
    refused(world.arrives("192.0.2.1"), "draining");
}

#[test]
fn trusted_peers_pass_the_allow_list_and_the_nodes_own_bans_where_they_are_known() {
    let (friend, stranger) = (PeerId::random(), PeerId::random());
    let trusting = Settings {
        trusted: vec![friend],
        ..settings(Rules {
            allow: nets(&["10.0.0.0/8"]),
            ..rules()
        })
    };
    let mut world = World::with(trusting, Limits::default());
    let (known, new) = ("192.0.2.1", "192.0.2.2");
    let address = endpoint(ip(known), true).get_remote_address().clone();
    world.peers.configured(&[(Some(friend), address)]);
    // These addresses are outside of the allowed networks.
    refused(world.arrives(new), "P2P_ALLOW_CIDRS");
    world.comes_as(friend, known).unwrap();
    refused(world.comes_as(stranger, known), "P2P_ALLOW_CIDRS");
    world.begins(Some(&friend), &[known]).unwrap();
    refused(world.begins(Some(&friend), &[new]), "P2P_ALLOW_CIDRS");
    world.reaches(&friend, Some(known)).unwrap();
    refused(world.reaches(&stranger, Some(known)), "P2P_ALLOW_CIDRS");
    // The node itself bans an address before it knows that the peer is there.
    let now = world.moment();
    for _ in 0..SUBNET_AFTER {
        let bad = PeerId::random();
        world.comes_as(bad, "10.0.0.1").unwrap();
        for _ in 0..2 {
            world.peers.report(&bad, Conduct::Bomb, now);
        }
    }
    refused(world.arrives("10.0.0.1"), "bans");
    // The peer was met there before the ban.
    let id = world.id();
    world.opened(id, friend, ip("10.0.0.1"), false);
    world.comes_as(friend, "10.0.0.1").unwrap();
    refused(world.comes_as(stranger, "10.0.0.1"), "bans");
    // An operator's ban holds for both.
    for banned in [known, "10.0.0.1"] {
        let target = Target::Net(ip(banned).into());
        world.peers.ban(target, None, "", now).unwrap();
        refused(world.arrives(banned), "bans");
    }
}

#[test]
fn other_rules_hold_from_their_moment_on_and_count_what_stands() {
    let mut world = World::with_rules(rules(), Limits::default());
    let peer = PeerId::random();
    world.comes_as(peer, "192.0.2.1").unwrap();
    world.comes_as(peer, "192.0.2.1").unwrap();
    let arriving = world.arrives("192.0.2.9").unwrap();
    let adjust = |world: &mut World, settings: Settings, limits: Limits| {
        world.peers.adjust(settings, &[]);
        world.gate.adjust(&world.peers, limits, world.now);
    };
    // There are three connections from one /24, although from two addresses.
    let wide = Settings {
        prefixes: Prefixes { ipv4: 24, ipv6: 56 },
        ..settings(Rules {
            per_subnet: 4,
            ..rules()
        })
    };
    adjust(&mut world, wide, Limits::default());
    refused(world.comes("192.0.2.77"), "P2P_MAX_CONNECTIONS_PER_SUBNET");
    world.gate.settled(arriving);
    world.comes("192.0.2.77").unwrap();
    // Each address counts by itself again.
    let narrow = Rules {
        per_subnet: 4,
        ..rules()
    };
    adjust(&mut world, settings(narrow), Limits::default());
    world.comes("192.0.2.78").unwrap();

    let one = Limits {
        per_peer: 2,
        ..Limits::default()
    };
    adjust(&mut world, settings(rules()), one);
    refused(
        world.comes_as(peer, "192.0.2.1"),
        "P2P_MAX_CONNECTIONS_PER_PEER",
    );
    adjust(&mut world, settings(rules()), Limits::default());
    world.comes_as(peer, "192.0.2.1").unwrap();

    let slow = Rules {
        rate: 1,
        ..Rules::default()
    };
    adjust(&mut world, settings(slow), Limits::default());
    let came = (0..50).filter(|n| world.comes(&host(*n)).is_ok()).count();
    assert_eq!(came, 2, "two seconds' worth");
    let slow = Rules {
        subnet_rate: 1,
        ..rules()
    };
    adjust(&mut world, settings(slow), Limits::default());
    // The bucket of all peers was used up, and fills at the new rate.
    world.pass(Duration::from_secs(1));
    let came = (0..20).filter(|_| world.comes(&host(77)).is_ok()).count();
    assert_eq!(came, 2);
}
