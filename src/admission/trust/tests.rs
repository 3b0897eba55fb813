//! The handle: what follows from conduct, and to whom.

use futures::{FutureExt, StreamExt};

use super::*;
use crate::admission::bans::{Author, SUBNET_AFTER};
use crate::admission::bucket::Budget;
use crate::telemetry::Metrics as _;

fn orders(verdicts: &mut Verdicts) -> Vec<Order> {
    std::iter::from_fn(|| verdicts.next().now_or_never().flatten()).collect()
}

fn actions(verdicts: &mut Verdicts) -> Vec<Action> {
    orders(verdicts)
        .into_iter()
        .filter_map(|order| match order {
            Order::Judge(verdict) => Some(verdict.action),
            Order::Recheck => None,
        })
        .collect()
}

fn ip(n: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, n])
}

#[test]
fn offences_are_judged_and_a_ban_is_in_force_before_the_verdict_is_read() {
    let admission = Admission::default();
    let metrics = Metrics::new().unwrap();
    admission.observe(metrics.clone());
    let (peer, mut verdicts) = (PeerId::random(), admission.verdicts());
    admission.connected(peer, ConnectionId::new_unchecked(1), Some(ip(1)));
    for _ in 0..5 {
        admission.report(&peer, Conduct::InvalidSignature);
    }
    let ban = admission.banned_peer(&peer).unwrap();
    assert_eq!(ban.author, Author::Automatic);
    assert!(
        ban.reason.starts_with("invalid-signature"),
        "{}",
        ban.reason
    );
    let told = orders(&mut verdicts);
    match told[3] {
        Order::Judge(v) => assert_eq!((v.action, v.ip), (Action::Ban, Some(ip(1)))),
        other => panic!("{other:?}"),
    }
    // What it does after it was banned is not a second ban.
    assert_eq!(admission.bans().len(), 1);
    assert_eq!(metrics.blacklist.get(), 1);
    let offences = metrics
        .misbehaviour
        .with_label_values(&["invalid-signature"]);
    assert_eq!(offences.get(), 5);
    // A merit is no verdict.
    admission.report(&PeerId::random(), Conduct::BlockDelivered);
    assert!(orders(&mut verdicts).is_empty());
}

#[test]
fn a_trusted_peer_is_told_of_and_never_cut_off() {
    let peer = PeerId::random();
    let admission = Admission::new(Settings {
        trusted: vec![peer],
        ..Settings::default()
    });
    let mut verdicts = admission.verdicts();
    for _ in 0..20 {
        admission.report(&peer, Conduct::Bomb);
    }
    assert_eq!(actions(&mut verdicts), [Action::Note; 20]);
    assert!(admission.banned_peer(&peer).is_none());
    // Ten times the budget of a stranger.
    assert_eq!(admission.allow(&peer, 2000), Ok(()));
    // An operator's word holds for it too.
    admission.ban(Target::Peer(peer), None, "").unwrap();
    assert!(admission.banned_peer(&peer).is_some());
}

/// Bans `count` fresh ids that are connected from `ip`.
fn ban_ids(admission: &Admission, ip: IpAddr, count: usize) {
    for n in 0..count {
        let peer = PeerId::random();
        admission.connected(peer, ConnectionId::new_unchecked(n), Some(ip));
        admission.report(&peer, Conduct::Bomb);
        admission.report(&peer, Conduct::Bomb);
    }
}

#[test]
fn an_address_that_goes_on_with_new_ids_is_banned_itself() {
    let admission = Admission::default();
    let mut verdicts = admission.verdicts();
    ban_ids(&admission, ip(1), SUBNET_AFTER - 1);
    assert!(admission.banned_ip(ip(1)).is_none());
    ban_ids(&admission, ip(1), 1);
    let ban = admission.banned_ip(ip(1)).unwrap();
    assert_eq!(ban.target.to_string(), "192.0.2.1/32");
    assert!(admission.banned_ip(ip(2)).is_none());
    assert!(orders(&mut verdicts).contains(&Order::Recheck));
    // This host itself is never banned, however many ids it tries.
    let here = IpAddr::from([127, 0, 0, 1]);
    ban_ids(&admission, here, 3 * SUBNET_AFTER);
    assert!(admission.banned_ip(here).is_none());
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
        let admission = Admission::new(Settings {
            prefixes: Prefixes {
                ipv4: prefixes.0,
                ipv6: prefixes.1,
            },
            ..Settings::default()
        });
        ban_ids(&admission, from, SUBNET_AFTER);
        let ban = admission.banned_ip(from).unwrap();
        assert_eq!(ban.target.to_string(), banned);
    }
}

#[test]
fn where_a_trusted_peer_was_met_or_anybody_is_configured_the_node_bans_nobody() {
    let (friend, entry) = (PeerId::random(), PeerId::random());
    let admission = Admission::new(Settings {
        trusted: vec![friend],
        ..Settings::default()
    });
    let id = ConnectionId::new_unchecked(99);
    admission.connected(friend, id, Some(ip(1)));
    ban_ids(&admission, ip(1), 3 * SUBNET_AFTER);
    assert!(admission.banned_ip(ip(1)).is_none());
    // It comes back from there.
    admission.disconnected(&friend, id, 0);
    ban_ids(&admission, ip(1), SUBNET_AFTER);
    assert!(admission.banned_ip(ip(1)).is_none());
    admission.configured(Some(&friend), ip(2));
    admission.configured(Some(&entry), ip(3));
    for n in [2, 3, 4] {
        ban_ids(&admission, ip(n), SUBNET_AFTER);
        assert_eq!(admission.banned_ip(ip(n)).is_some(), n == 4);
    }
    let trusted_at = |n| admission.is_trusted_at(ip(n));
    assert_eq!([1, 2, 3, 4].map(trusted_at), [true, true, false, false]);
}

#[test]
fn bans_by_the_node_do_not_hold_for_whom_the_operator_trusts_since() {
    let (peer, stranger) = (PeerId::random(), PeerId::random());
    let admission = Admission::default();
    admission.connected(peer, ConnectionId::new_unchecked(1), Some(ip(1)));
    admission.report(&peer, Conduct::Bomb);
    admission.report(&peer, Conduct::Bomb);
    ban_ids(&admission, ip(1), SUBNET_AFTER);
    assert!(admission.banned_peer(&peer).is_some());
    assert!(admission.banned_at(&peer, ip(1)).is_some());
    admission.trust(&[peer]);
    assert!(admission.banned_peer(&peer).is_none());
    assert!(admission.banned_at(&peer, ip(1)).is_none());
    assert!(admission.banned_at(&stranger, ip(1)).is_some());
    // An operator's do, under a wider one of the node's own too.
    for target in [Target::Net(ip(1).into()), Target::Peer(peer)] {
        admission.ban(target, None, "").unwrap();
    }
    assert!(admission.banned_peer(&peer).is_some());
    assert!(admission.banned_at(&peer, ip(1)).is_some());
}

#[test]
fn who_comes_through_a_relay_does_not_get_the_relay_banned() {
    let admission = Admission::default();
    for n in 0..3 * SUBNET_AFTER {
        let peer = PeerId::random();
        admission.connected(peer, ConnectionId::new_unchecked(n), None);
        admission.report(&peer, Conduct::Bomb);
        admission.report(&peer, Conduct::Bomb);
    }
    let nets = admission.bans().into_iter();
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
    let admission = Admission::new(Settings {
        rates,
        ..Settings::default()
    });
    let metrics = Metrics::new().unwrap();
    admission.observe(metrics.clone());
    let peer = PeerId::random();
    let passed = (0..100).filter(|_| admission.allow(&peer, 1).is_ok());
    assert_eq!(passed.count(), 100);
    assert_eq!(admission.reputation(&peer), 0.0);
    for _ in 0..200 {
        let _ = admission.allow(&peer, 1);
    }
    assert!(admission.reputation(&peer) < -3.0);
    let dropped = metrics.over_budget.get();
    assert!((190..=200).contains(&dropped), "{dropped}");

    let other = PeerId::random();
    admission.report(&other, Conduct::Bomb);
    let passed = (0..100).filter(|_| admission.allow(&other, 1).is_ok());
    assert_eq!(passed.count(), 12);
}

#[test]
fn in_a_flood_notes_are_dropped_and_bans_are_not() {
    let admission = Admission::default();
    let mut verdicts = admission.verdicts();
    let (noisy, worst) = (PeerId::random(), PeerId::random());
    for _ in 0..10 * MAX_WAITING {
        // Each is another peer, so that nobody is cut off.
        admission.report(&PeerId::random(), Conduct::PingLost);
    }
    admission.report(&noisy, Conduct::PingLost);
    admission.report(&worst, Conduct::Bomb);
    admission.report(&worst, Conduct::Bomb);
    let told = actions(&mut verdicts);
    assert_eq!(told.len(), MAX_WAITING);
    assert_eq!(told[told.len() - 2..], [Action::Disconnect, Action::Ban]);
    // When nothing but bans waits, the rest is found by looking.
    for _ in 0..MAX_WAITING + 1 {
        let peer = PeerId::random();
        admission.report(&peer, Conduct::Bomb);
    }
    let told = orders(&mut verdicts);
    assert_eq!(told[0], Order::Recheck);
}

#[test]
fn the_event_loop_is_woken() {
    let admission = Admission::default();
    let mut verdicts = admission.verdicts();
    let waiting = async_std::task::spawn(async move { verdicts.next().await });
    let peer = PeerId::random();
    admission.report(&peer, Conduct::Malformed);
    let order =
        async_std::task::block_on(async_std::future::timeout(Duration::from_secs(60), waiting));
    assert!(matches!(order, Ok(Some(Order::Judge(v))) if v.peer == peer));
}

#[test]
fn lifting_a_ban_forgets_what_led_to_it() {
    let admission = Admission::default();
    let peer = PeerId::random();
    admission.report(&peer, Conduct::Bomb);
    admission.report(&peer, Conduct::Bomb);
    assert!(admission.unban(&Target::Peer(peer)).is_some());
    assert!(admission.banned_peer(&peer).is_none());
    assert_eq!(admission.reputation(&peer), 0.0);
    assert!(admission.unban(&Target::Peer(peer)).is_none());
}

#[test]
fn other_settings_hold_from_their_moment_on() {
    let admission = Admission::default();
    let (peer, friend) = (PeerId::random(), PeerId::random());
    admission.connected(friend, ConnectionId::new_unchecked(1), Some(ip(1)));
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
    admission.adjust(&settings, &configured);
    assert!(admission.allow(&peer, 1).is_ok());
    assert!(admission.allow(&peer, 1).is_err());
    assert_eq!(admission.prefixes().get(), settings.prefixes);
    assert!(admission.is_trusted(&friend));
    let known = |n| admission.is_trusted_at(ip(n));
    assert_eq!([known(1), known(7), known(8)], [true, true, false]);
    admission.adjust(&Settings::default(), &configured);
    assert!(!admission.is_trusted(&friend));
    assert_eq!([known(1), known(7), known(8)], [false, false, false]);
    assert_eq!(admission.rates(), Rates::default());
}
