//! Tests of the blacklist with both clocks.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn moment() -> Moment {
    Moment {
        mono: Instant::now() + 1000 * HOUR,
        wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000),
    }
}

fn after(m: Moment, by: Duration) -> Moment {
    Moment {
        mono: m.mono + by,
        wall: m.wall + by,
    }
}

/// Returns an empty list, and the moment at which a test begins.
fn begin() -> (BanList, Moment) {
    (BanList::default(), moment())
}

/// Returns a list that was restored at `boot`, and the peer whose ban of an hour it holds
/// since `t`.
fn restored(t: Moment, boot: Moment) -> (BanList, PeerId) {
    let (mut before, mut bans, peer) = (BanList::default(), BanList::default(), PeerId::random());
    let ban = before
        .by_operator(Target::Peer(peer), Some(HOUR), "x", t)
        .unwrap();
    bans.restore(ban, boot);
    (bans, peer)
}

fn net(text: &str) -> Target {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn targets_are_read_in_every_form_and_kept_in_one() {
    let peer = PeerId::random();
    assert_eq!(net(&peer.to_string()), Target::Peer(peer));
    assert_eq!(net("192.0.2.77/24").to_string(), "192.0.2.0/24");
    assert_eq!(net("192.0.2.77").to_string(), "192.0.2.77/32");
    assert_eq!(net("2001:db8::1/32").to_string(), "2001:db8::/32");
    assert_eq!(net("::ffff:192.0.2.1").to_string(), "192.0.2.1/32");
    assert_eq!(net("::ffff:192.0.2.0/120").to_string(), "192.0.2.0/24");
    let wrong = "192.0.2.0/33".parse::<Target>().unwrap_err().to_string();
    assert!(wrong.contains("neither a peer id"), "{wrong}");
}

#[test]
fn a_timed_ban_ends_and_a_permanent_one_does_not() {
    let ((mut bans, t), peer) = (begin(), PeerId::random());
    bans.by_operator(Target::Peer(peer), Some(HOUR), "spam", t)
        .unwrap();
    bans.by_operator(net("192.0.2.0/24"), None, "", t).unwrap();
    assert_eq!(bans.peer(&peer, t.mono).unwrap().reason, "spam");
    let later = after(t, HOUR);
    assert!(bans.peer(&peer, later.mono).is_none());
    assert!(
        bans.ip(ip("192.0.2.9"), (after(t, 900 * HOUR)).mono)
            .is_some()
    );
    bans.take_unsaved();
    bans.tend(after(later, GRACE));
    assert_eq!(bans.take_unsaved(), [Change::Remove(Target::Peer(peer))]);
    assert_eq!(bans.len(), 1);
}

#[test]
fn the_bans_in_force_are_counted_without_those_that_ended() {
    let (mut bans, t) = begin();
    let check = |bans: &BanList, now: Moment, expected: usize| {
        assert_eq!(bans.in_force(now.mono), expected);
        assert_eq!(bans.list(now.mono).len(), expected);
    };
    bans.by_operator(net("10.0.0.0/8"), None, "", t).unwrap();
    for target in ["192.0.2.1", "192.0.2.2"] {
        bans.by_operator(net(target), Some(HOUR), "", t).unwrap();
    }
    bans.automatic(net("192.0.2.3"), 2 * HOUR, "", 1, t)
        .unwrap();
    check(&bans, t, 4);
    // Some have ended, and have not been removed yet.
    let later = after(t, HOUR);
    check(&bans, later, 2);
    assert_eq!(bans.len(), 4);
    // One ban is set again, two are lifted, and the rest is removed after its end.
    bans.by_operator(net("192.0.2.1"), Some(HOUR), "", later)
        .unwrap();
    check(&bans, later, 3);
    bans.lift(&net("192.0.2.2"), later.mono);
    bans.lift(&net("192.0.2.3"), later.mono);
    check(&bans, later, 2);
    let end = after(t, 2 * HOUR + GRACE);
    bans.tend(end);
    check(&bans, end, 1);
    assert!(bans.ends.is_empty());
    // A ban of an earlier run ends when the clock, once it is set right, says so.
    let mut bans = BanList::default();
    let ban = Ban {
        target: net("192.0.2.1"),
        reason: String::new(),
        author: Author::Operator,
        since: t.wall,
        until: Some(t.wall + HOUR),
        times: 0,
    };
    let boot = Moment {
        mono: t.mono,
        wall: SystemTime::UNIX_EPOCH,
    };
    bans.restore(ban, boot);
    check(&bans, boot, 1);
    bans.tend(after(t, 2 * HOUR));
    check(&bans, after(t, 2 * HOUR), 0);
}

#[test]
fn an_address_is_found_under_every_prefix_length() {
    let (mut bans, t) = begin();
    for text in ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::/1"] {
        bans.by_operator(net(text), None, text, t).unwrap();
    }
    let found = |text: &str| bans.ip(ip(text), t.mono).map(|b| b.reason.clone());
    assert_eq!(found("10.255.1.2").as_deref(), Some("10.0.0.0/8"));
    assert_eq!(found("::ffff:10.0.0.1").as_deref(), Some("10.0.0.0/8"));
    assert_eq!(found("192.0.2.1").as_deref(), Some("192.0.2.1"));
    assert_eq!(found("192.0.2.2"), None);
    assert_eq!(found("2001:db8::9").as_deref(), Some("::/1"));
    assert_eq!(found("fe80::1"), None);
    for text in ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::/1"] {
        assert!(bans.lift(&net(text), t.mono).is_some());
    }
    assert!(bans.lengths.iter().all(Vec::is_empty));
    assert!(bans.lift(&net("10.0.0.0/8"), t.mono).is_none());
}

#[test]
fn the_nodes_own_bans_never_push_out_or_shorten_an_operators() {
    let (mut bans, t) = begin();
    let theirs = Target::Peer(PeerId::random());
    bans.by_operator(theirs, Some(HOUR), "mine", t).unwrap();
    assert!(bans.automatic(theirs, 48 * HOUR, "x", 1, t).is_none());
    for n in 0..MAX_AUTOMATIC + 100 {
        let long = Duration::from_secs(600 + n as u64);
        let who = Target::Peer(PeerId::random());
        assert!(bans.automatic(who, long, "flood", 1, t).is_some());
    }
    assert_eq!(bans.len(), MAX_AUTOMATIC + 1);
    assert_eq!(bans.list(t.mono).len(), MAX_AUTOMATIC + 1);
    // The bans that would have ended first were removed.
    let shortest = bans.list(t.mono).into_iter().filter_map(|b| b.until).min();
    assert_eq!(shortest, Some(t.wall + Duration::from_secs(700)));
    // An operator's ban replaces the node's own.
    let who = bans.list(t.mono)[0].target;
    bans.by_operator(who, None, "for good", t).unwrap();
    assert_eq!(bans.len(), MAX_AUTOMATIC + 1);
}

#[test]
fn a_shorter_automatic_ban_does_not_shorten_a_longer() {
    let (mut bans, t) = begin();
    let who = Target::Peer(PeerId::random());
    assert!(bans.automatic(who, HOUR, "a", 1, t).is_some());
    assert!(bans.automatic(who, HOUR / 2, "b", 2, t).is_none());
    let longer = bans.automatic(who, 2 * HOUR, "c", 2, t).unwrap();
    assert_eq!(longer.until, Some(t.wall + 2 * HOUR));
    // A ban that has ended does not count.
    let later = after(t, 3 * HOUR);
    assert!(bans.automatic(who, HOUR, "d", 3, later).is_some());
}

#[test]
fn the_fifth_banned_id_of_a_subnet_within_an_hour_is_one_too_many() {
    let (mut bans, t) = (BanList::default(), moment().mono);
    let subnet: IpNet = "192.0.2.1/32".parse().unwrap();
    let same = PeerId::random();
    for _ in 0..10 {
        assert_eq!(bans.crowd(subnet, &same, 0, t), None, "one id is one id");
    }
    for n in 0..3 {
        assert_eq!(
            bans.crowd(subnet, &PeerId::random(), 0, t + HOUR / 10 * n),
            None
        );
    }
    let first = bans.crowd(subnet, &PeerId::random(), 0, t + HOUR / 2);
    let expected = Excess {
        ids: SUBNET_AFTER,
        length: SUBNET_FIRST,
        times: 1,
    };
    assert_eq!(first, Some(expected));
    // The same subnet is banned again, for longer, but never for longer than a day.
    let mut lengths = Vec::new();
    for _ in 0..5 * SUBNET_AFTER {
        lengths.extend(bans.crowd(subnet, &PeerId::random(), 0, t + HOUR));
    }
    let secs: Vec<u64> = lengths.iter().map(|e| e.length.as_secs()).collect();
    assert_eq!(secs, [2400, 9600, 38_400, 86_400, 86_400]);
    // Spread over more than an hour, they do not count together.
    let other: IpNet = "198.51.100.0/24".parse().unwrap();
    for n in 0..20 {
        let at = t + HOUR / 4 * n;
        assert_eq!(bans.crowd(other, &PeerId::random(), 0, at), None, "{n}");
    }
    for _ in 0..2 * MAX_SUBNETS {
        let n: u32 = rand::random();
        let net = IpNet::new(std::net::Ipv4Addr::from(n).into(), 32).unwrap();
        bans.crowd(net, &same, 0, t);
    }
    assert!(bans.crowds.len() <= MAX_SUBNETS);
}

#[test]
fn each_well_behaved_id_of_a_subnet_takes_five_more_bad_ones_and_shortens_its_ban() {
    let t = moment().mono;
    let subnet: IpNet = "192.0.2.1/32".parse().unwrap();
    for (good, ids, seconds) in [
        (0, 5, 600.0),
        (1, 10, 300.0),
        (3, 20, 150.0),
        (7, 40, 75.0),
        (1_000, 40, 75.0),
    ] {
        let mut bans = BanList::default();
        let mut ban = || bans.crowd(subnet, &PeerId::random(), good, t);
        for n in 1..ids {
            assert_eq!(ban(), None, "{n} of {ids}");
        }
        let excess = ban().unwrap();
        assert_eq!((excess.ids, excess.length.as_secs_f64()), (ids, seconds));
        // The next one is four times as long.
        let next = std::iter::repeat_with(ban).flatten().next().unwrap();
        assert_eq!(next.length.as_secs_f64(), 4.0 * seconds);
        assert_eq!((next.ids, next.times), (ids, 2));
    }
}

#[test]
fn bans_outlive_a_restart_and_end_when_they_said() {
    let ((mut bans, t), peer) = (begin(), PeerId::random());
    let ban = bans
        .by_operator(Target::Peer(peer), Some(HOUR), "x", t)
        .unwrap();
    assert_eq!(bans.take_unsaved(), [Change::Keep(ban.clone())]);
    let mut again = BanList::default();
    let restart = after(t, HOUR / 2);
    again.restore(ban, restart);
    assert!(again.peer(&peer, after(t, HOUR * 9 / 10).mono).is_some());
    assert!(again.peer(&peer, after(t, HOUR).mono).is_none());
    assert!(!again.is_dirty());
}

#[test]
fn a_clock_that_boots_in_the_past_ends_no_ban_and_lengthens_none_for_long() {
    let t = moment();
    // The host boots with its clock in 1970.
    let boot = Moment {
        wall: SystemTime::UNIX_EPOCH,
        ..t
    };
    let (mut bans, peer) = restored(t, boot);
    assert!(bans.peer(&peer, boot.mono).is_some());
    // This ban is made while the clock is wrong.
    let (fresh, minute) = (PeerId::random(), Duration::from_secs(60));
    bans.by_operator(Target::Peer(fresh), Some(HOUR), "y", after(boot, minute))
        .unwrap();
    bans.take_unsaved();
    // NTP sets the clock: half of the first ban is over, and the second one goes on.
    let set = Moment {
        mono: boot.mono + 2 * minute,
        wall: t.wall + HOUR / 2,
    };
    bans.tend(set);
    assert!(
        bans.peer(&peer, (after(set, HOUR / 2 - minute)).mono)
            .is_some()
    );
    assert!(bans.peer(&peer, (after(set, HOUR / 2)).mono).is_none());
    assert!(
        bans.peer(&fresh, (after(set, HOUR - 2 * minute)).mono)
            .is_some()
    );
    assert!(bans.peer(&fresh, (after(set, HOUR)).mono).is_none());
    // And the disk gets the ban with its true times.
    match &bans.take_unsaved()[..] {
        [Change::Keep(ban)] => {
            assert_eq!(ban.until, Some(set.wall + HOUR - minute));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_clock_that_stays_in_the_past_makes_no_ban_longer_than_it_was_meant_to_be() {
    let t = moment();
    let boot = Moment {
        wall: SystemTime::UNIX_EPOCH,
        ..t
    };
    let (bans, peer) = restored(t, boot);
    let almost = HOUR - Duration::from_secs(1);
    assert!(bans.peer(&peer, after(boot, almost).mono).is_some());
    assert!(bans.peer(&peer, after(boot, HOUR).mono).is_none());
}

#[test]
fn a_clock_that_boots_ahead_and_is_set_back_within_a_minute_ends_no_ban() {
    let t = moment();
    let boot = Moment {
        wall: t.wall + 1000 * HOUR,
        ..t
    };
    let (mut bans, peer) = restored(t, boot);
    assert!(bans.peer(&peer, boot.mono).is_none());
    bans.tend(after(boot, Duration::from_secs(30)));
    let set = after(t, Duration::from_secs(50));
    bans.tend(set);
    assert!(bans.peer(&peer, set.mono).is_some());
    assert!(!bans.is_dirty());
}

#[test]
fn a_slewed_clock_is_not_a_stepped_one() {
    let (mut bans, t) = begin();
    bans.by_operator(net("192.0.2.1"), Some(HOUR), "", t)
        .unwrap();
    bans.take_unsaved();
    let mut now = after(t, Duration::from_secs(10));
    now.wall += Duration::from_secs(3);
    bans.tend(now);
    assert!(!bans.is_dirty());
}

#[test]
fn reasons_are_one_bounded_line() {
    let (mut bans, t) = begin();
    let long = format!("a\n{}", "ü".repeat(1000));
    let ban = bans.by_operator(net("192.0.2.1"), None, &long, t).unwrap();
    assert!(ban.reason.starts_with("a ü"));
    assert!(ban.reason.len() <= MAX_REASON);
}
