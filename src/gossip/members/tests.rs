//! Members in virtual time: who is dialed when, what is searched when, and that
//! everything is bounded.

use super::*;
use libp2p::gossipsub::IdentTopic;

const S: Duration = Duration::from_secs(1);

/// A mesh has six at least and eight as its aim, as with the default degree.
fn members() -> Members {
    Members::new(6, 8)
}

fn topic(name: &str) -> TopicHash {
    IdentTopic::new(name).hash()
}

fn peers(count: usize) -> Vec<PeerId> {
    (0..count).map(|_| PeerId::random()).collect()
}

fn address(n: usize) -> Multiaddr {
    format!("/ip4/192.0.2.1/tcp/{n}").parse().unwrap()
}

/// Runs the clock, one tick a second, from `from` seconds on for `ticks` ticks.
/// Every dial fails after `dial` seconds, every search finds nobody and takes one,
/// every announcement succeeds. Answers the seconds of each kind of deed.
struct Log {
    dials: Vec<(u64, PeerId)>,
    searches: Vec<u64>,
    announcements: Vec<u64>,
    most_dialing: usize,
}

fn run(members: &mut Members, start: Instant, from: u64, ticks: u64, dial: u64) -> Log {
    let mut log = Log {
        dials: Vec::new(),
        searches: Vec::new(),
        announcements: Vec::new(),
        most_dialing: 0,
    };
    let mut dialing: Vec<(u64, PeerId)> = Vec::new();
    let mut searching: Vec<TopicHash> = Vec::new();
    let mut announcing: Vec<TopicHash> = Vec::new();
    for tick in from..from + ticks {
        let now = start + S * u32::try_from(tick).unwrap();
        dialing.retain(|(end, peer)| {
            if *end <= tick {
                members.failed(peer);
            }
            *end > tick
        });
        for hash in searching.drain(..) {
            members.searched(&hash, now, 0.0);
        }
        for hash in announcing.drain(..) {
            members.announced(&hash, true, now, 0.0);
        }
        for deed in members.due(now, true, |_| false, || 0.0) {
            match deed {
                Deed::Dial(peer, _) => {
                    log.dials.push((tick, peer));
                    dialing.push((tick + dial, peer));
                }
                Deed::Search(hash, _) => {
                    log.searches.push(tick);
                    searching.push(hash);
                }
                Deed::Announce(hash, _) => {
                    log.announcements.push(tick);
                    announcing.push(hash);
                }
            }
        }
        log.most_dialing = log.most_dialing.max(dialing.len());
    }
    log
}

/// The pauses between the seconds of a list.
fn pauses(of: &[u64]) -> Vec<u64> {
    of.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn a_topic_with_nobody_is_announced_and_searched_at_once_and_ever_less_often() {
    let (mut members, start) = (members(), Instant::now());
    members.joined(topic("t"), "t", [], start);
    assert!(
        members.due(start, false, |_| false, || 0.0).is_empty(),
        "nothing can be asked of a DHT that nobody is known of"
    );
    let log = run(&mut members, start, 0, 200, 1);
    assert_eq!(log.searches[0], 0);
    // Each takes a second, then comes the pause.
    assert_eq!(pauses(&log.searches), [3, 5, 9, 17, 31, 31, 31, 31, 31]);
    assert_eq!(log.announcements, [0, 61]);
    let log = run(&mut members, start, 200, 8000, 1);
    let rest = pauses(&log.searches);
    assert_eq!(rest.iter().filter(|p| **p == 31).count(), 20);
    assert!(rest[25..].iter().all(|p| *p == 121));
    assert_eq!(pauses(&log.announcements), [961, 1801, 1801, 1801]);
    assert!(members.left(&topic("t")).is_some());
    let log = run(&mut members, start, 8200, 4000, 1);
    assert!(log.searches.is_empty() && log.announcements.is_empty());
    assert!(members.topics.is_empty());
}

#[test]
fn a_topic_with_a_few_is_searched_seldom_and_one_with_enough_never() {
    let (mut members, start) = (members(), Instant::now());
    let all = peers(6);
    members.joined(topic("t"), "t", all[..5].iter().copied(), start);
    let log = run(&mut members, start, 0, 3600, 1);
    assert_eq!(
        pauses(&log.searches),
        [11, 21, 41, 81, 161, 321, 641, 901, 901]
    );
    members.subscribed(all[5], &topic("t"), start + 3600 * S);
    let log = run(&mut members, start, 3600, 3600, 1);
    assert!(log.searches.is_empty());
    // Too few again, and then nobody: at once each time.
    members.unsubscribed(&all[5], &topic("t"), start + 7200 * S);
    assert_eq!(run(&mut members, start, 7200, 5, 1).searches, [7200]);
    for peer in &all[..5] {
        members.unsubscribed(peer, &topic("t"), start + 7205 * S);
    }
    assert_eq!(run(&mut members, start, 7205, 2, 1).searches, [7205]);
    assert!(members.contacts.is_empty(), "who left is not remembered");
}

#[test]
fn a_peer_that_comes_and_goes_does_not_make_the_node_search_without_end() {
    let (mut members, start) = (members(), Instant::now());
    let peer = PeerId::random();
    members.joined(topic("t"), "t", [peer], start);
    let mut searches = 0;
    for second in 0..600 {
        let now = start + S * second;
        for deed in members.due(now, true, |_| false, || 0.0) {
            if let Deed::Search(hash, _) = deed {
                searches += 1;
                members.searched(&hash, now, 0.0);
            }
        }
        members.subscribed(peer, &topic("t"), now);
        members.unsubscribed(&peer, &topic("t"), now);
    }
    // Without the bound there is one every three seconds, 200.
    assert_eq!(searches, 60);
}

#[test]
fn a_lost_member_is_dialed_at_least_every_twenty_seconds_while_nobody_is_there() {
    let (mut members, start) = (members(), Instant::now());
    let peer = PeerId::random();
    members.joined(topic("t"), "t", [peer], start);
    members.learn(&peer, &[address(1)]);
    let cut = 100;
    members.disconnected(&peer, true, start + cut as u32 * S, 0.0);
    // Each dial ends in a time-out after ten seconds.
    let log = run(&mut members, start, cut, 3600, 10);
    let at: Vec<u64> = log.dials.iter().map(|(at, _)| *at).collect();
    assert_eq!(at[0], cut + 2, "soon, and not in the same moment");
    assert_eq!(pauses(&at)[..3], [10, 10, 16]);
    assert!(pauses(&at)[3..].iter().all(|p| *p == 20));
    assert_eq!(log.most_dialing, 1);
    // It comes back, by itself or because it was dialed.
    let back = start + 3700 * S;
    members.failed(&peer);
    members.connected(&peer, back);
    members.subscribed(peer, &topic("t"), back);
    assert!(run(&mut members, start, 3700, 600, 10).dials.is_empty());
}

#[test]
fn a_member_whose_connection_ended_in_peace_is_dialed_while_there_are_too_few() {
    let (mut members, start) = (members(), Instant::now());
    let all = peers(7);
    members.joined(topic("t"), "t", all.iter().copied(), start);
    members.disconnected(&all[0], false, start, 0.0);
    assert!(run(&mut members, start, 0, 3600, 1).dials.is_empty());
    let now = 3600;
    members.disconnected(&all[1], false, start + now as u32 * S, 0.0);
    let log = run(&mut members, start, now, 10, 10);
    assert_eq!(log.dials.len(), 1, "one is lacking");
}

#[test]
fn half_a_network_that_was_cut_off_is_tried_for_ever_and_not_too_often() {
    let (mut members, start) = (members(), Instant::now());
    let all = peers(20);
    members.joined(topic("t"), "t", all.iter().copied(), start);
    for peer in &all[..10] {
        members.disconnected(peer, true, start, 0.0);
    }
    let hours = 10 * 3600;
    let log = run(&mut members, start, 0, hours, 10);
    assert_eq!(log.most_dialing, 1, "the topic has enough");
    let last = log.dials.last().unwrap().0;
    assert!(last > hours - 60, "it goes on");
    // Ten that are away, each every two minutes.
    let steady = log.dials.iter().filter(|(at, _)| *at >= hours - 3600);
    assert!(
        (290..=310).contains(&steady.count()),
        "a dial in twelve seconds"
    );
    assert!(log.searches.is_empty());
}

#[test]
fn who_is_found_is_dialed_and_who_is_not_on_the_topic_is_left_alone() {
    let (mut members, start) = (members(), Instant::now());
    members.joined(topic("t"), "t", [], start);
    let all = peers(3);
    for (n, peer) in all.iter().enumerate() {
        members.found(&topic("t"), *peer, &[address(n)], false, start);
    }
    let deeds = members.due(start, false, |_| false, || 0.0);
    let mut dialed: Vec<_> = deeds
        .into_iter()
        .map(|deed| match deed {
            Deed::Dial(peer, addrs) => (peer, addrs),
            other => panic!("{other:?}"),
        })
        .collect();
    dialed.sort_by_key(|(_, addrs)| addrs.clone());
    let expected: Vec<_> = (0..3).map(|n| (all[n], vec![address(n)])).collect();
    assert_eq!(dialed, expected);
    // One joins, one is silent, one cannot be reached.
    members.connected(&all[0], start + S);
    members.subscribed(all[0], &topic("t"), start + S);
    members.connected(&all[1], start + S);
    members.failed(&all[2]);
    assert!(run(&mut members, start, 2, 1, 1).dials.len() == 1);
    members.due(start + 7 * S, false, |_| false, || 0.0);
    members.disconnected(&all[1], false, start + 31 * S, 0.0);
    members.found(&topic("t"), all[1], &[address(1)], false, start + 32 * S);
    let log = run(&mut members, start, 32, 560, 1);
    assert!(log.dials.iter().all(|(_, peer)| *peer == all[2]));
    let log = run(&mut members, start, 700, 60, 1);
    assert!(log.dials.iter().any(|(_, peer)| *peer == all[1]));
}

#[test]
fn members_that_refuse_to_be_kept_are_dialed_only_when_nobody_is_there() {
    let (mut members, start) = (members(), Instant::now());
    let (on, refuses) = (PeerId::random(), PeerId::random());
    members.joined(topic("t"), "t", [on], start);
    members.found(&topic("t"), refuses, &[], false, start);
    let dials = |deeds: Vec<Deed>| deeds.iter().any(|d| matches!(d, Deed::Dial(..)));
    assert!(!dials(members.due(start, true, |p| *p == refuses, || 0.0)));
    members.disconnected(&on, false, start, 0.0);
    assert!(dials(members.due(start, true, |p| *p == refuses, || 0.0)));
}

#[test]
fn who_was_sent_away_is_not_dialed_for_ten_minutes() {
    let (mut members, start) = (members(), Instant::now());
    let peer = PeerId::random();
    members.joined(topic("t"), "t", [peer], start);
    members.dismissed(&peer, start);
    members.disconnected(&peer, false, start, 0.0);
    let log = run(&mut members, start, 0, 700, 1);
    assert_eq!(log.dials[0].0, 600);
}

#[test]
fn publishing_to_nobody_searches_at_once_and_then_every_ten_seconds_at_most() {
    let (mut members, start) = (members(), Instant::now());
    let nobody = || Vec::<PeerId>::new();
    let mut searches = Vec::new();
    for tick in 0..60_u32 {
        let now = start + tick * S;
        if members.published(&topic("t"), "t", nobody, now) {
            for deed in members.due(now, true, |_| false, || 0.0) {
                assert!(matches!(deed, Deed::Search(..)), "no member is announced");
                searches.push(u64::from(tick));
                members.searched(&topic("t"), now, 0.0);
            }
        }
        for deed in members.due(now, true, |_| false, || 0.0) {
            assert!(matches!(deed, Deed::Search(..)));
            searches.push(u64::from(tick));
            members.searched(&topic("t"), now, 0.0);
        }
    }
    assert_eq!(searches[..3], [0, 2, 6]);
    assert!(pauses(&searches)[2..].iter().all(|p| *p <= 10));
    assert!(searches.len() <= 9, "{searches:?}");
    // When nothing is said any more, nothing is done.
    let log = run(&mut members, start, 60 + 300, 3600, 1);
    assert!(log.searches.is_empty());
    assert!(
        members.topics.is_empty(),
        "and after an hour it is forgotten"
    );
}

#[test]
fn as_many_as_a_mesh_has_are_kept_for_a_publisher_until_it_has_been_silent_for_long() {
    let (mut members, start) = (members(), Instant::now());
    let all = peers(20);
    let links = |members: &mut Members, now| members.links(now, |_, _| false, |_| false, || 0.5);
    members.published(&topic("t"), "t", || all.clone(), start);
    let mut kept = links(&mut members, start);
    assert_eq!(kept.len(), 8);
    assert!(kept.iter().all(|(_, why)| *why == Link::Publishing));
    // The same ones for as long as they are there.
    members.published(&topic("t"), "t", || all.clone(), start + 299 * S);
    let mut later = links(&mut members, start + 299 * S + 299 * S);
    kept.sort_unstable_by_key(|(peer, _)| *peer);
    later.sort_unstable_by_key(|(peer, _)| *peer);
    assert_eq!(later, kept);
    assert!(links(&mut members, start + 299 * S + PUBLISHED).is_empty());
    // One goes: another takes its place.
    members.published(&topic("t"), "t", || all.clone(), start + 700 * S);
    let kept = links(&mut members, start + 700 * S);
    members.disconnected(&kept[0].0, false, start + 700 * S, 0.0);
    let later = links(&mut members, start + 700 * S);
    assert_eq!(later.len(), 8);
    assert!(!later.contains(&kept[0]));
}

#[test]
fn two_are_kept_outside_of_the_mesh_and_more_when_it_lacks_members() {
    let (mut members, start) = (members(), Instant::now());
    let all = peers(20);
    members.joined(topic("t"), "t", all.iter().copied(), start);
    let mut kept = |mesh: usize, refuses: &[PeerId]| {
        let in_mesh = |_: &TopicHash, peer: &PeerId| all[..mesh].contains(peer);
        let kept = members.links(start, in_mesh, |p| refuses.contains(p), || 0.0);
        assert!(kept.iter().all(|(_, why)| *why == Link::Topic));
        let kept: Vec<PeerId> = kept.into_iter().map(|(p, _)| p).collect();
        assert!(kept.iter().all(|p| !all[..mesh].contains(p)));
        kept
    };
    let mut links = |mesh: usize, refuses: &[PeerId]| kept(mesh, refuses).len();
    assert_eq!(links(8, &[]), 2);
    assert_eq!(links(5, &[]), 2);
    assert_eq!(links(1, &[]), 5);
    assert_eq!(links(0, &[]), 6);
    assert_eq!(
        links(12, &all[13..]),
        2,
        "who refuses is asked when nobody else is there"
    );
    assert_eq!(links(20, &[]), 0);
    assert!(!kept(12, &all[12..19]).is_empty());
    assert!(kept(12, &all[12..19]).contains(&all[19]));
}

#[test]
fn what_is_remembered_and_done_is_bounded() {
    let (mut members, start) = (members(), Instant::now());
    for n in 0..256 {
        let name = format!("t{n}");
        members.joined(topic(&name), &name, [], start);
        for peer in peers(100) {
            members.found(&topic(&name), peer, &[address(n)], false, start);
        }
    }
    assert_eq!(members.contacts.len(), 256 * topic::MAX_AWAY);
    let log = run(&mut members, start, 0, 600, 10);
    assert_eq!(log.most_dialing, DIALS);
    let busiest = |of: &[u64]| {
        (0..600)
            .map(|t| of.iter().filter(|x| **x == t).count())
            .max()
    };
    assert_eq!(busiest(&log.searches), Some(A_TICK));
    assert_eq!(busiest(&log.announcements), Some(A_TICK));
    // Topics that are only published to.
    for n in 0..1000 {
        let name = format!("p{n}");
        let now = start + (1000 + n) * S / 100;
        members.published(&topic(&name), &name, || [PeerId::random()], now);
    }
    assert_eq!(members.topics.len(), 256 + MAX_PUBLISHED);
    let members_of_published = members.contacts.len() - 256 * topic::MAX_AWAY;
    assert_eq!(members_of_published, MAX_PUBLISHED);
    // As many connections as there are for all topics together.
    let (mut members, all) = (self::members(), peers(100));
    for n in 0..100 {
        let name = format!("t{n}");
        members.joined(topic(&name), &name, [all[n], all[(n + 1) % 100]], start);
    }
    let kept = members.links(start, |_, _| false, |_| false, || 0.0);
    assert_eq!(kept.len(), MAX_LINKS);
}

#[test]
fn members_that_were_met_outlast_those_that_were_only_heard_of() {
    let (mut members, start) = (members(), Instant::now());
    let met = peers(4);
    members.joined(topic("t"), "t", met.iter().copied(), start);
    for peer in &met {
        members.disconnected(peer, true, start, 0.0);
    }
    for peer in peers(100) {
        members.found(&topic("t"), peer, &[address(1)], false, start + S);
    }
    let away = &members.topics[&topic("t")].away;
    assert_eq!(away.len(), topic::MAX_AWAY);
    assert!(met.iter().all(|peer| away.contains_key(peer)));
}

#[test]
fn members_are_looked_for_while_a_search_or_a_dial_is_under_way_or_one_is_silent_yet() {
    let (mut members, start) = (members(), Instant::now());
    let (hash, peer) = (topic("t"), PeerId::random());
    assert!(!members.is_looking(&hash, start));
    members.published(&hash, "t", Vec::new, start);
    assert!(!members.is_looking(&hash, start), "nothing is done yet");
    members.due(start, true, |_| false, || 0.0);
    assert!(members.is_looking(&hash, start), "a search is under way");
    members.found(&hash, peer, &[address(1)], false, start);
    members.searched(&hash, start, 0.0);
    assert!(!members.is_looking(&hash, start));
    members.due(start, true, |_| false, || 0.0);
    assert!(members.is_looking(&hash, start), "it is dialed");
    members.connected(&peer, start);
    assert!(members.is_looking(&hash, start + S), "it may say so yet");
    assert!(!members.is_looking(&hash, start + 5 * S), "it is not on it");
}
