//! The handle: what follows from conduct, and to whom.

use futures::{FutureExt, StreamExt};

use super::*;
use crate::peers::bans::{Author, SUBNET_AFTER};
use crate::peers::bucket::Budget;
use crate::telemetry::Metrics as _;

fn orders(sanctions: &mut Sanctions) -> Vec<Order> {
    std::iter::from_fn(|| sanctions.next().now_or_never().flatten()).collect()
}

fn actions(sanctions: &mut Sanctions) -> Vec<Action> {
    orders(sanctions)
        .into_iter()
        .filter_map(|order| match order {
            Order::Sanction(sanction) => Some(sanction.action),
            Order::Recheck => None,
        })
        .collect()
}

fn ip(n: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, n])
}

#[test]
fn offences_are_judged_and_a_ban_is_in_force_before_the_verdict_is_read() {
    let policy = Policy::default();
    let metrics = Metrics::new().unwrap();
    policy.observe(metrics.clone());
    let (peer, mut sanctions) = (PeerId::random(), policy.sanctions());
    policy.connected(peer, ConnectionId::new_unchecked(1), Some(ip(1)));
    for _ in 0..5 {
        policy.report(&peer, Conduct::InvalidSignature);
    }
    let ban = policy.banned_peer(&peer).unwrap();
    assert_eq!(ban.author, Author::Automatic);
    assert!(
        ban.reason.starts_with("invalid-signature"),
        "{}",
        ban.reason
    );
    let told = orders(&mut sanctions);
    match told[3] {
        Order::Sanction(v) => assert_eq!((v.action, v.ip), (Action::Ban, Some(ip(1)))),
        other => panic!("{other:?}"),
    }
    // What it does after it was banned is not a second ban.
    assert_eq!(policy.bans().len(), 1);
    assert_eq!(metrics.blacklist.get(), 1);
    let offences = metrics
        .misbehaviour
        .with_label_values(&["invalid-signature"]);
    assert_eq!(offences.get(), 5);
    // A merit is no sanction.
    policy.report(&PeerId::random(), Conduct::BlockDelivered);
    assert!(orders(&mut sanctions).is_empty());
}

#[test]
fn a_trusted_peer_is_told_of_and_never_cut_off() {
    let peer = PeerId::random();
    let policy = Policy::new(Settings {
        trusted: vec![peer],
        ..Settings::default()
    });
    let mut sanctions = policy.sanctions();
    for _ in 0..20 {
        policy.report(&peer, Conduct::Bomb);
    }
    assert_eq!(actions(&mut sanctions), [Action::Note; 20]);
    assert!(policy.banned_peer(&peer).is_none());
    // Ten times the budget of a stranger.
    assert_eq!(policy.allow(&peer, 2000), Ok(()));
    // An operator's word holds for it too.
    policy.ban(Target::Peer(peer), None, "").unwrap();
    assert!(policy.banned_peer(&peer).is_some());
}

/// Bans `count` fresh ids that are connected from `ip`.
fn ban_ids(policy: &Policy, ip: IpAddr, count: usize) {
    for n in 0..count {
        let peer = PeerId::random();
        policy.connected(peer, ConnectionId::new_unchecked(n), Some(ip));
        policy.report(&peer, Conduct::Bomb);
        policy.report(&peer, Conduct::Bomb);
    }
}

#[test]
fn an_address_that_goes_on_with_new_ids_is_banned_itself() {
    let policy = Policy::default();
    let mut sanctions = policy.sanctions();
    ban_ids(&policy, ip(1), SUBNET_AFTER - 1);
    assert!(policy.banned_ip(ip(1)).is_none());
    ban_ids(&policy, ip(1), 1);
    let ban = policy.banned_ip(ip(1)).unwrap();
    assert_eq!(ban.target.to_string(), "192.0.2.1/32");
    assert!(policy.banned_ip(ip(2)).is_none());
    assert!(orders(&mut sanctions).contains(&Order::Recheck));
    // This host itself is never banned, however many ids it tries.
    let here = IpAddr::from([127, 0, 0, 1]);
    ban_ids(&policy, here, 3 * SUBNET_AFTER);
    assert!(policy.banned_ip(here).is_none());
}

#[test]
fn wide_subnets_are_for_limits_and_never_banned_whole() {
    for (prefixes, from, banned) in [
        ((16, 32), ip(1), "192.0.2.1/32"),
        (
            (16, 32),
            "2001:db8:1:2::3".parse().unwrap(),
            "2001:db8:1::/56",
        ),
        (
            (8, 64),
            "2001:db8:1:2::3".parse().unwrap(),
            "2001:db8:1:2::/64",
        ),
    ] {
        let policy = Policy::new(Settings {
            prefixes: Prefixes {
                ipv4: prefixes.0,
                ipv6: prefixes.1,
            },
            ..Settings::default()
        });
        ban_ids(&policy, from, SUBNET_AFTER);
        let ban = policy.banned_ip(from).unwrap();
        assert_eq!(ban.target.to_string(), banned);
    }
}

#[test]
fn where_a_trusted_peer_was_met_or_anybody_is_configured_the_node_bans_nobody() {
    let (friend, entry) = (PeerId::random(), PeerId::random());
    let policy = Policy::new(Settings {
        trusted: vec![friend],
        ..Settings::default()
    });
    let id = ConnectionId::new_unchecked(99);
    policy.connected(friend, id, Some(ip(1)));
    ban_ids(&policy, ip(1), 3 * SUBNET_AFTER);
    assert!(policy.banned_ip(ip(1)).is_none());
    // It comes back from there.
    policy.disconnected(&friend, id, 0);
    ban_ids(&policy, ip(1), SUBNET_AFTER);
    assert!(policy.banned_ip(ip(1)).is_none());
    policy.configured(Some(&friend), ip(2));
    policy.configured(Some(&entry), ip(3));
    for n in [2, 3, 4] {
        ban_ids(&policy, ip(n), SUBNET_AFTER);
        assert_eq!(policy.banned_ip(ip(n)).is_some(), n == 4);
    }
    let trusted_at = |n| policy.is_trusted_at(ip(n));
    assert_eq!([1, 2, 3, 4].map(trusted_at), [true, true, false, false]);
}

#[test]
fn bans_by_the_node_do_not_hold_for_whom_the_operator_trusts_since() {
    let (peer, stranger) = (PeerId::random(), PeerId::random());
    let policy = Policy::default();
    policy.connected(peer, ConnectionId::new_unchecked(1), Some(ip(1)));
    policy.report(&peer, Conduct::Bomb);
    policy.report(&peer, Conduct::Bomb);
    ban_ids(&policy, ip(1), SUBNET_AFTER);
    assert!(policy.banned_peer(&peer).is_some());
    assert!(policy.banned_at(&peer, ip(1)).is_some());
    policy.trust(&[peer]);
    assert!(policy.banned_peer(&peer).is_none());
    assert!(policy.banned_at(&peer, ip(1)).is_none());
    assert!(policy.banned_at(&stranger, ip(1)).is_some());
    // An operator's do, under a wider one of the node's own too.
    for target in [Target::Net(ip(1).into()), Target::Peer(peer)] {
        policy.ban(target, None, "").unwrap();
    }
    assert!(policy.banned_peer(&peer).is_some());
    assert!(policy.banned_at(&peer, ip(1)).is_some());
}

#[test]
fn who_comes_through_a_relay_does_not_get_the_relay_banned() {
    let policy = Policy::default();
    for n in 0..3 * SUBNET_AFTER {
        let peer = PeerId::random();
        policy.connected(peer, ConnectionId::new_unchecked(n), None);
        policy.report(&peer, Conduct::Bomb);
        policy.report(&peer, Conduct::Bomb);
    }
    let nets = policy.bans().into_iter();
    assert_eq!(
        nets.filter(|b| matches!(b.target, Target::Net(_))).count(),
        0
    );
}

#[test]
fn persistent_excess_costs_reputation_and_reputation_costs_budget() {
    let rates = Rates {
        messages: Budget {
            burst: 100,
            fill: 1,
        },
        ..Rates::default()
    };
    let policy = Policy::new(Settings {
        rates,
        ..Settings::default()
    });
    let metrics = Metrics::new().unwrap();
    policy.observe(metrics.clone());
    let peer = PeerId::random();
    let passed = (0..100).filter(|_| policy.allow(&peer, 1).is_ok());
    assert_eq!(passed.count(), 100);
    assert_eq!(policy.score_of(&peer), 0.0);
    for _ in 0..200 {
        let _ = policy.allow(&peer, 1);
    }
    assert!(policy.score_of(&peer) < -3.0);
    let dropped = metrics.over_budget.get();
    assert!((190..=200).contains(&dropped), "{dropped}");

    let other = PeerId::random();
    policy.report(&other, Conduct::Bomb);
    let passed = (0..100).filter(|_| policy.allow(&other, 1).is_ok());
    assert_eq!(passed.count(), 12);
}

#[test]
fn in_a_flood_notes_are_dropped_and_bans_are_not() {
    let policy = Policy::default();
    let mut sanctions = policy.sanctions();
    let (noisy, worst) = (PeerId::random(), PeerId::random());
    for _ in 0..10 * MAX_WAITING {
        // Each is another peer, so that nobody is cut off.
        policy.report(&PeerId::random(), Conduct::PingLost);
    }
    policy.report(&noisy, Conduct::PingLost);
    policy.report(&worst, Conduct::Bomb);
    policy.report(&worst, Conduct::Bomb);
    let told = actions(&mut sanctions);
    assert_eq!(told.len(), MAX_WAITING);
    assert_eq!(told[told.len() - 2..], [Action::Disconnect, Action::Ban]);
    // When nothing but bans waits, the rest is found by looking.
    for _ in 0..MAX_WAITING + 1 {
        let peer = PeerId::random();
        policy.report(&peer, Conduct::Bomb);
    }
    let told = orders(&mut sanctions);
    assert_eq!(told[0], Order::Recheck);
}

#[test]
fn the_event_loop_is_woken() {
    let policy = Policy::default();
    let mut sanctions = policy.sanctions();
    let waiting = async_std::task::spawn(async move { sanctions.next().await });
    let peer = PeerId::random();
    policy.report(&peer, Conduct::Malformed);
    let order =
        async_std::task::block_on(async_std::future::timeout(Duration::from_secs(60), waiting));
    assert!(matches!(order, Ok(Some(Order::Sanction(v))) if v.peer == peer));
}

#[test]
fn lifting_a_ban_forgets_what_led_to_it() {
    let policy = Policy::default();
    let peer = PeerId::random();
    policy.report(&peer, Conduct::Bomb);
    policy.report(&peer, Conduct::Bomb);
    assert!(policy.unban(&Target::Peer(peer)).is_some());
    assert!(policy.banned_peer(&peer).is_none());
    assert_eq!(policy.score_of(&peer), 0.0);
    assert!(policy.unban(&Target::Peer(peer)).is_none());
}

#[test]
fn other_settings_hold_from_their_moment_on() {
    let policy = Policy::default();
    let (peer, friend) = (PeerId::random(), PeerId::random());
    policy.connected(friend, ConnectionId::new_unchecked(1), Some(ip(1)));
    let one = Budget { burst: 1, fill: 1 };
    let settings = Settings {
        rates: Rates {
            messages: one,
            ..Rates::default()
        },
        trusted: vec![friend],
        prefixes: Prefixes { ipv4: 24, ipv6: 48 },
    };
    let configured = [(Some(friend), ip(7)), (Some(peer), ip(8))];
    policy.adjust(&settings, &configured);
    assert!(policy.allow(&peer, 1).is_ok());
    assert!(policy.allow(&peer, 1).is_err());
    assert_eq!(policy.prefixes().get(), settings.prefixes);
    assert!(policy.is_trusted(&friend));
    let known = |n| policy.is_trusted_at(ip(n));
    assert_eq!([known(1), known(7), known(8)], [true, true, false]);
    policy.adjust(&Settings::default(), &configured);
    assert!(!policy.is_trusted(&friend));
    assert_eq!([known(1), known(7), known(8)], [false, false, false]);
    assert_eq!(policy.rates(), Rates::default());
}
