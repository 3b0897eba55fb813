//! Tests of the handle: what conduct leads to, and for which peers.

use futures::{FutureExt, StreamExt};

use libp2p::Multiaddr;
use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;

use super::*;
use crate::peers::bans::{Author, SUBNET_AFTER};
use crate::peers::bucket::Budget;
use crate::peers::record::Connection;
use crate::peers::reputation::Action;
use crate::peers::state::MAX_WAITING;
use crate::peers::subnet::Prefixes;

/// Returns the current time. What these tests check does not depend on it.
fn now() -> Moment {
    Moment::now()
}

fn at(ip: IpAddr) -> Multiaddr {
    Multiaddr::empty().with(ip.into()).with(Protocol::Tcp(1))
}

/// Establishes a connection; through a relay when there is no address.
fn connect(policy: &Policy, peer: PeerId, id: usize, ip: Option<IpAddr>) {
    let remote = match ip {
        Some(ip) => at(ip),
        None => format!("/ip4/198.51.100.1/tcp/1/p2p/{peer}/p2p-circuit")
            .parse()
            .unwrap(),
    };
    let endpoint = ConnectedPoint::Listener {
        local_addr: at(ip.unwrap_or(IpAddr::from([192, 0, 2, 99]))),
        send_back_addr: remote,
    };
    let connection = Connection::new(&endpoint, now().mono);
    policy.write(|peers| peers.opened(peer, ConnectionId::new_unchecked(id), connection));
}

/// An observer that remembers what it was told.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<Note>>);

impl Observer for Notes {
    fn note(&self, note: &Note) {
        self.0.lock().unwrap().push(note.clone());
    }
}

impl Notes {
    fn of(policy: &Policy) -> Arc<Notes> {
        let notes = Arc::new(Notes::default());
        policy.observe(notes.clone());
        notes
    }

    fn count(&self, is: impl Fn(&Note) -> bool) -> usize {
        self.0
            .lock()
            .unwrap()
            .iter()
            .filter(|note| is(note))
            .count()
    }
}

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
    let notes = Notes::of(&policy);
    let (peer, mut sanctions) = (PeerId::random(), policy.sanctions());
    connect(&policy, peer, 1, Some(ip(1)));
    for _ in 0..5 {
        policy.report(&peer, Conduct::InvalidSignature, now());
    }
    let ban = policy.ban_of_peer(&peer, now().mono).unwrap();
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
    // What the peer does after it was banned does not lead to a second ban.
    assert_eq!(policy.bans(now().mono).len(), 1);
    assert_eq!(notes.count(|note| *note == Note::Banned), 1);
    let offence = Note::Offence(Conduct::InvalidSignature);
    assert_eq!(notes.count(|note| *note == offence), 5);
    assert_eq!(notes.count(|note| *note == Note::InForce(1)), 1);
    // A merit does not lead to a sanction.
    policy.report(&PeerId::random(), Conduct::BlockDelivered, now());
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
        policy.report(&peer, Conduct::Bomb, now());
    }
    assert_eq!(actions(&mut sanctions), [Action::Note; 20]);
    assert!(policy.ban_of_peer(&peer, now().mono).is_none());
    // Ten times the budget of a stranger.
    assert_eq!(policy.allow(&peer, 2000, now()), Ok(()));
    // An operator's ban holds for a trusted peer too.
    policy.ban(Target::Peer(peer), None, "", now()).unwrap();
    assert!(policy.ban_of_peer(&peer, now().mono).is_some());
}

/// Bans `count` fresh ids that are connected from `ip`.
fn ban_ids(policy: &Policy, ip: IpAddr, count: usize) {
    for n in 0..count {
        let peer = PeerId::random();
        connect(policy, peer, n, Some(ip));
        policy.report(&peer, Conduct::Bomb, now());
        policy.report(&peer, Conduct::Bomb, now());
    }
}

#[test]
fn an_address_that_goes_on_with_new_ids_is_banned_itself() {
    let policy = Policy::default();
    let mut sanctions = policy.sanctions();
    ban_ids(&policy, ip(1), SUBNET_AFTER - 1);
    assert!(policy.ban_of_address(ip(1), now().mono).is_none());
    ban_ids(&policy, ip(1), 1);
    let ban = policy.ban_of_address(ip(1), now().mono).unwrap();
    assert_eq!(ban.target.to_string(), "192.0.2.1/32");
    assert!(policy.ban_of_address(ip(2), now().mono).is_none());
    assert!(orders(&mut sanctions).contains(&Order::Recheck));
    // This host itself is never banned, however many ids it uses.
    let here = IpAddr::from([127, 0, 0, 1]);
    ban_ids(&policy, here, 3 * SUBNET_AFTER);
    assert!(policy.ban_of_address(here, now().mono).is_none());
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
        let ban = policy.ban_of_address(from, now().mono).unwrap();
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
    connect(&policy, friend, 99, Some(ip(1)));
    ban_ids(&policy, ip(1), 3 * SUBNET_AFTER);
    assert!(policy.ban_of_address(ip(1), now().mono).is_none());
    // It comes back from the same address.
    policy.write(|peers| peers.closed(&friend, id)).unwrap();
    ban_ids(&policy, ip(1), SUBNET_AFTER);
    assert!(policy.ban_of_address(ip(1), now().mono).is_none());
    let configured = [(Some(friend), at(ip(2))), (Some(entry), at(ip(3)))];
    policy.write(|peers| peers.configured(&configured));
    for n in [2, 3, 4] {
        ban_ids(&policy, ip(n), SUBNET_AFTER);
        assert_eq!(policy.ban_of_address(ip(n), now().mono).is_some(), n == 4);
    }
    let trusted_at = |n| policy.read(|peers| peers.trust().is_trusted_at(ip(n)));
    assert_eq!([1, 2, 3, 4].map(trusted_at), [true, true, false, false]);
}

/// Returns whether a ban keeps a peer out at the first address.
fn banned_at(policy: &Policy, peer: &PeerId) -> bool {
    policy.read(|peers| peers.is_unwelcome_at(peer, &at(ip(1)), now().mono))
}

#[test]
fn bans_by_the_node_do_not_hold_for_whom_the_operator_trusts_since() {
    let (peer, stranger) = (PeerId::random(), PeerId::random());
    let policy = Policy::default();
    connect(&policy, peer, 1, Some(ip(1)));
    policy.report(&peer, Conduct::Bomb, now());
    policy.report(&peer, Conduct::Bomb, now());
    ban_ids(&policy, ip(1), SUBNET_AFTER);
    assert!(policy.ban_of_peer(&peer, now().mono).is_some());
    assert!(banned_at(&policy, &peer));
    let settings = Settings {
        trusted: vec![peer],
        ..Settings::default()
    };
    policy.write(|peers| peers.adjust(settings, &[]));
    assert!(policy.ban_of_peer(&peer, now().mono).is_none());
    assert!(!banned_at(&policy, &peer));
    assert!(banned_at(&policy, &stranger));
    // An operator's bans do hold, also below a wider one of the node's own.
    for target in [Target::Net(ip(1).into()), Target::Peer(peer)] {
        policy.ban(target, None, "", now()).unwrap();
    }
    assert!(policy.ban_of_peer(&peer, now().mono).is_some());
    assert!(banned_at(&policy, &peer));
}

#[test]
fn who_comes_through_a_relay_does_not_get_the_relay_banned() {
    let policy = Policy::default();
    for n in 0..3 * SUBNET_AFTER {
        let peer = PeerId::random();
        connect(&policy, peer, n, None);
        policy.report(&peer, Conduct::Bomb, now());
        policy.report(&peer, Conduct::Bomb, now());
    }
    let nets = policy.bans(now().mono).into_iter();
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
    let notes = Notes::of(&policy);
    let peer = PeerId::random();
    let passed = (0..100).filter(|_| policy.allow(&peer, 1, now()).is_ok());
    assert_eq!(passed.count(), 100);
    assert_eq!(policy.score_of(&peer, now().mono), 0.0);
    for _ in 0..200 {
        let _ = policy.allow(&peer, 1, now());
    }
    assert!(policy.score_of(&peer, now().mono) < -3.0);
    let dropped = notes.count(|note| matches!(note, Note::OverBudget(..)));
    assert!((190..=200).contains(&dropped), "{dropped}");

    let other = PeerId::random();
    policy.report(&other, Conduct::Bomb, now());
    let passed = (0..100).filter(|_| policy.allow(&other, 1, now()).is_ok());
    assert_eq!(passed.count(), 12);
}

#[test]
fn in_a_flood_notes_are_dropped_and_bans_are_not() {
    let policy = Policy::default();
    let mut sanctions = policy.sanctions();
    let (noisy, worst) = (PeerId::random(), PeerId::random());
    for _ in 0..10 * MAX_WAITING {
        // Each is another peer, so that no peer is cut off.
        policy.report(&PeerId::random(), Conduct::PingLost, now());
    }
    policy.report(&noisy, Conduct::PingLost, now());
    policy.report(&worst, Conduct::Bomb, now());
    policy.report(&worst, Conduct::Bomb, now());
    let told = actions(&mut sanctions);
    assert_eq!(told.len(), MAX_WAITING);
    assert_eq!(told[told.len() - 2..], [Action::Disconnect, Action::Ban]);
    // When only bans wait, the others are found by looking at the bans themselves.
    for _ in 0..MAX_WAITING + 1 {
        let peer = PeerId::random();
        policy.report(&peer, Conduct::Bomb, now());
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
    policy.report(&peer, Conduct::Malformed, now());
    let order =
        async_std::task::block_on(async_std::future::timeout(Duration::from_secs(60), waiting));
    assert!(matches!(order, Ok(Some(Order::Sanction(v))) if v.peer == peer));
}

#[test]
fn lifting_a_ban_forgets_what_led_to_it() {
    let policy = Policy::default();
    let peer = PeerId::random();
    policy.report(&peer, Conduct::Bomb, now());
    policy.report(&peer, Conduct::Bomb, now());
    assert!(policy.unban(&Target::Peer(peer), now().mono).is_some());
    assert!(policy.ban_of_peer(&peer, now().mono).is_none());
    assert_eq!(policy.score_of(&peer, now().mono), 0.0);
    assert!(policy.unban(&Target::Peer(peer), now().mono).is_none());
}

#[test]
fn other_settings_hold_from_their_moment_on() {
    let policy = Policy::default();
    let (peer, friend) = (PeerId::random(), PeerId::random());
    connect(&policy, friend, 1, Some(ip(1)));
    let one = Budget { burst: 1, fill: 1 };
    let prefixes = Prefixes { ipv4: 24, ipv6: 48 };
    let settings = Settings {
        rates: Rates {
            messages: one,
            ..Rates::default()
        },
        trusted: vec![friend],
        prefixes,
        ..Settings::default()
    };
    let configured = [(Some(friend), at(ip(7))), (Some(peer), at(ip(8)))];
    policy.write(|peers| peers.adjust(settings, &configured));
    let moment = now();
    assert!(policy.allow(&peer, 1, moment).is_ok());
    assert!(policy.allow(&peer, 1, moment).is_err());
    assert_eq!(policy.read(|peers| peers.table().prefixes()), prefixes);
    assert!(policy.is_trusted(&friend));
    let known = |n| policy.read(|peers| peers.trust().is_trusted_at(ip(n)));
    assert_eq!([known(1), known(7), known(8)], [true, true, false]);
    policy.write(|peers| peers.adjust(Settings::default(), &configured));
    assert!(!policy.is_trusted(&friend));
    assert_eq!([known(1), known(7), known(8)], [false, false, false]);
    assert_eq!(policy.rates(), Rates::default());
}
