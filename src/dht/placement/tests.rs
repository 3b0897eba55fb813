use std::collections::HashSet;

use super::outcome::enough;
use super::receiver::{EVERY, PAUSE, REFUSES_AFTER};
use super::*;
use crate::peers::bucket::{Bucket, Rates};

fn key(n: u32) -> RecordKey {
    RecordKey::from(n.to_be_bytes().to_vec())
}

fn peers(count: usize) -> Vec<PeerId> {
    (0..count).map(|_| PeerId::random()).collect()
}

/// Returns everything that is due at `now`.
fn due(placements: &mut Placements<u32>, now: Instant) -> Vec<Event<u32>> {
    std::iter::from_fn(|| placements.next(now, |_| true)).collect()
}

fn tell(peer: PeerId, id: u32) -> Event<u32> {
    let key = key(id);
    Event::Tell { peer, id, key }
}

fn ask(peer: PeerId, id: u32) -> Event<u32> {
    let key = key(id);
    Event::Ask { peer, id, key }
}

fn done(id: u32, told: usize, confirmed: usize, enough: bool) -> Event<u32> {
    Event::Done(
        id,
        Outcome {
            told,
            confirmed,
            unverified: 0,
            enough,
        },
    )
}

/// The receivers have named this node before.
fn known(all: &[PeerId], now: Instant) -> Placements<u32> {
    let mut placements = Placements::default();
    for peer in all {
        placements.receiver(peer, now).names = true;
    }
    placements
}

fn silent(id: u32, told: usize) -> Event<u32> {
    Event::Done(
        id,
        Outcome {
            told,
            confirmed: 0,
            unverified: told,
            enough: true,
        },
    )
}

#[test]
fn half_is_enough_and_three_or_all_of_a_few() {
    let needed: Vec<usize> = (0..=8).chain([19, 20]).map(enough).collect();
    assert_eq!(needed, [0, 1, 2, 3, 3, 3, 3, 4, 4, 10, 10]);
}

#[test]
fn a_receiver_is_told_asked_and_believed() {
    let start = Instant::now();
    let mut placements = Placements::default();
    let all = peers(2);
    placements.begin(1, key(1), &all, true, start);
    assert_eq!(
        due(&mut placements, start),
        [tell(all[0], 1), tell(all[1], 1), Event::Told(1, 2)]
    );
    assert_eq!(placements.wake_at(), Some(start + SETTLE));
    let now = start + SETTLE;
    assert_eq!(due(&mut placements, now), [ask(all[0], 1), ask(all[1], 1)]);
    placements.answered(1, &all[0], true, now);
    assert_eq!(due(&mut placements, now), []);
    placements.answered(1, &all[1], true, now);
    assert_eq!(due(&mut placements, now), [done(1, 2, 2, true)]);
    assert!(placements.placements.is_empty());
    // The wait for the answers ends without any effect.
    assert_eq!(due(&mut placements, now + ANSWER), []);
    assert_eq!(placements.wake_at(), None);
}

#[test]
fn who_is_not_to_be_asked_is_told_and_that_is_all() {
    let start = Instant::now();
    let mut placements = Placements::default();
    let all = peers(1);
    placements.begin(1, key(1), &all, false, start);
    assert_eq!(
        due(&mut placements, start),
        [tell(all[0], 1), Event::Told(1, 1), silent(1, 1)]
    );
    assert_eq!(placements.wake_at(), None);
}

#[test]
fn a_record_that_was_dropped_is_sent_again_and_more_slowly() {
    let start = Instant::now();
    let all = peers(1);
    let mut placements = known(&all, start);
    placements.begin(1, key(1), &all, true, start);
    due(&mut placements, start);
    let mut now = start + SETTLE;
    assert_eq!(due(&mut placements, now), [ask(all[0], 1)]);
    placements.answered(1, &all[0], false, now);
    assert_eq!(placements.receivers[&all[0]].every, 2 * EVERY);
    assert_eq!(placements.wake_at(), Some(now + AGAIN[0]));
    now += AGAIN[0];
    assert_eq!(due(&mut placements, now), [tell(all[0], 1)]);
    now += SETTLE;
    assert_eq!(due(&mut placements, now), [ask(all[0], 1)]);
    // A reset is a miss as well: it is over its budget for this node.
    placements.failed(1, &all[0], now);
    now += AGAIN[1];
    assert_eq!(due(&mut placements, now), [tell(all[0], 1)]);
    now += SETTLE;
    assert_eq!(due(&mut placements, now), [ask(all[0], 1)]);
    placements.answered(1, &all[0], false, now);
    assert_eq!(due(&mut placements, now), [done(1, 1, 0, false)]);
    assert_eq!(placements.receivers[&all[0]].every, 8 * EVERY);
    assert!(placements.placements.is_empty());
}

/// rust-libp2p by itself never names the asker: what it is told cannot be verified,
/// and is no failure.
#[test]
fn a_receiver_that_cannot_say_is_told_and_hardly_asked() {
    let mut now = Instant::now();
    let mut placements = Placements::default();
    let all = peers(1);
    let mut asked = Vec::new();
    for id in 0..40 {
        placements.begin(id, key(id), &all, true, now);
        let mut told = 0;
        loop {
            let events = due(&mut placements, now);
            for event in events {
                match event {
                    Event::Tell { .. } => told += 1,
                    Event::Ask { peer, id, .. } => {
                        asked.push(id);
                        placements.answered(id, &peer, false, now);
                    }
                    Event::Done(id, outcome) => assert_eq!(Event::Done(id, outcome), silent(id, 1)),
                    _ => {}
                }
            }
            if !placements.placements.contains_key(&id) {
                break;
            }
            now = placements.wake_at().unwrap().max(now);
        }
        assert_eq!(told, 1);
    }
    assert_eq!(asked, [0, 1, 2, 3, 15, 30]);
    assert_eq!(placements.receivers[&all[0]].every, EVERY);
}

#[test]
fn an_answer_that_never_comes_is_waited_for_only_so_long() {
    let start = Instant::now();
    let mut placements = Placements::default();
    let all = peers(1);
    placements.begin(1, key(1), &all, true, start);
    due(&mut placements, start);
    let mut now = start + SETTLE;
    for wait in AGAIN {
        assert_eq!(due(&mut placements, now), [ask(all[0], 1)]);
        assert_eq!(due(&mut placements, now + ANSWER), []);
        now += ANSWER + wait;
        assert_eq!(due(&mut placements, now), [tell(all[0], 1)]);
        now += SETTLE;
    }
    due(&mut placements, now);
    assert_eq!(due(&mut placements, now + ANSWER), [done(1, 1, 0, false)]);
}

/// No caller waits for the last of twenty peers. They are told again nevertheless.
#[test]
fn it_is_done_when_enough_hold_it_and_goes_on_with_the_rest() {
    let start = Instant::now();
    let all = peers(20);
    let mut placements = known(&all, start);
    placements.begin(1, key(1), &all, true, start);
    assert_eq!(due(&mut placements, start).len(), 21);
    let now = start + SETTLE;
    assert_eq!(due(&mut placements, now).len(), 20);
    placements.answered(1, &all[19], false, now);
    for peer in &all[..9] {
        placements.answered(1, peer, true, now);
    }
    assert_eq!(due(&mut placements, now), []);
    placements.answered(1, &all[9], true, now);
    assert_eq!(due(&mut placements, now), [done(1, 20, 10, true)]);
    for peer in &all[10..19] {
        placements.answered(1, peer, true, now);
    }
    assert_eq!(due(&mut placements, now + AGAIN[0]), [tell(all[19], 1)]);
}

#[test]
fn a_receiver_that_takes_nothing_is_left_alone_for_a_while() {
    let start = Instant::now();
    let all = peers(1);
    let mut placements = known(&all, start);
    let mut now = start;
    let mut told = 0;
    // Three misses each.
    for id in 0..4 {
        placements.begin(id, key(id), &all, true, now);
        while placements.placements.contains_key(&id) {
            now = placements.wake_at().unwrap().max(now);
            for event in due(&mut placements, now) {
                match event {
                    Event::Tell { .. } => told += 1,
                    Event::Ask { peer, id, .. } => placements.answered(id, &peer, false, now),
                    _ => {}
                }
            }
        }
        due(&mut placements, now);
    }
    assert_eq!(told, REFUSES_AFTER);
    let later = now + PAUSE;
    placements.begin(9, key(9), &all, true, later);
    assert_eq!(
        due(&mut placements, later),
        [tell(all[0], 9), Event::Told(9, 1)]
    );
    let asked = later + SETTLE;
    assert_eq!(due(&mut placements, asked), [ask(all[0], 9)]);
    placements.answered(9, &all[0], false, asked);
    assert_eq!(placements.receivers[&all[0]].pause, 4 * PAUSE);
    assert!(placements.receivers[&all[0]].is_paused(asked + 2 * PAUSE - EVERY));
    assert!(!placements.receivers[&all[0]].is_paused(asked + 2 * PAUSE));
}

#[test]
fn who_has_hung_up_is_dialed_once() {
    let start = Instant::now();
    let mut placements = Placements::default();
    let all = peers(2);
    placements.begin(1, key(1), &all, true, start);
    let gone = |placements: &mut Placements<u32>, now| -> Vec<Event<u32>> {
        std::iter::from_fn(|| placements.next(now, |peer| *peer == all[1])).collect()
    };
    assert_eq!(
        gone(&mut placements, start),
        [Event::Dial(all[0]), tell(all[1], 1)]
    );
    placements.answered(1, &all[1], true, start);
    let now = start + SETTLE;
    assert_eq!(gone(&mut placements, now), [ask(all[1], 1)]);
    placements.answered(1, &all[1], true, now);
    // One of the one that could be told is enough.
    assert_eq!(
        gone(&mut placements, start + DIAL),
        [Event::Told(1, 1), done(1, 1, 1, true)]
    );
}

#[test]
fn requests_to_one_receiver_keep_their_distance() {
    let start = Instant::now();
    let mut placements = Placements::default();
    let all = peers(1);
    for id in 0..20 {
        placements.begin(id, key(id), &all, false, start);
    }
    // The questions of twenty walks have used up what may go at once, and four
    // more; each record then comes when its token is there.
    let mut at = Vec::new();
    let mut now = start;
    while let Some(wake) = placements.wake_at() {
        now = now.max(wake);
        let told = |event: &Event<u32>| matches!(event, Event::Tell { .. });
        let told = due(&mut placements, now).iter().filter(|e| told(e)).count();
        at.extend(std::iter::repeat_n((now - start).as_millis(), told));
    }
    let expected: Vec<u128> = (0..20).map(|n| 100 + 20 * n).collect();
    assert_eq!(at, expected);
}

/// Peers as this program has them: a budget for each sender, beyond which records
/// are dropped in silence and questions are reset.
struct Network {
    buckets: HashMap<PeerId, Bucket>,
    held: HashMap<PeerId, HashSet<u32>>,
    dropped: usize,
}

impl Network {
    fn new(peers: &[PeerId], now: Instant) -> Self {
        let budget = Rates::default().messages;
        Network {
            buckets: peers
                .iter()
                .map(|p| (*p, Bucket::full(budget, now)))
                .collect(),
            held: peers.iter().map(|p| (*p, HashSet::new())).collect(),
            dropped: 0,
        }
    }

    fn pays(&mut self, peer: &PeerId, now: Instant) -> bool {
        let bucket = self.buckets.get_mut(peer).unwrap();
        let paid = bucket.take(1, Rates::default().messages, now);
        self.dropped += usize::from(!paid);
        paid
    }
}

/// 2,000 announcements, sixteen at once as the schedule has them, in a network of
/// so many others: how long they take, and who holds what.
fn put_many(others: usize, other_use: u32) -> (Network, Duration, usize) {
    const COUNT: u32 = 2_000;
    let start = Instant::now();
    let all = peers(others);
    let mut network = Network::new(&all, start);
    let mut placements = Placements::default();
    let (mut next, mut under_way, mut ok) = (0, 0, 0);
    let mut now = start;
    while next < COUNT || under_way > 0 {
        while next < COUNT && under_way < 16 {
            // As if the key chose them: each record has other closest peers.
            let mut closest: Vec<PeerId> = all.clone();
            closest.rotate_left(next as usize * 7 % others);
            closest.truncate(20);
            for peer in &closest {
                network.pays(peer, now);
            }
            placements.begin(next, key(next), &closest, true, now);
            next += 1;
            under_way += 1;
        }
        now += Duration::from_millis(5);
        if (now - start).as_millis().is_multiple_of(1_000) {
            // What else this node wants of its peers.
            for peer in &all {
                for _ in 0..other_use {
                    network.pays(peer, now);
                }
            }
        }
        for event in due(&mut placements, now) {
            match event {
                Event::Tell { peer, id, .. } => {
                    if network.pays(&peer, now) {
                        network.held.get_mut(&peer).unwrap().insert(id);
                    }
                }
                Event::Ask { peer, id, .. } => match network.pays(&peer, now) {
                    true => placements.answered(id, &peer, network.held[&peer].contains(&id), now),
                    false => placements.failed(id, &peer, now),
                },
                Event::Done(_, outcome) => {
                    under_way -= 1;
                    ok += usize::from(outcome.enough);
                }
                Event::Dial(_) | Event::Told(..) => {}
            }
        }
    }
    (network, now - start, ok)
}

#[test]
fn two_thousand_records_are_within_the_budgets_of_two_peers() {
    let (network, took, ok) = put_many(2, 40);
    assert_eq!((network.dropped, ok), (0, 2_000));
    for held in network.held.values() {
        assert_eq!(held.len(), 2_000);
    }
    // Three requests each, fifty a second.
    assert!(took >= Duration::from_secs(119), "{took:?}");
    assert!(took <= Duration::from_secs(130), "{took:?}");
}

#[test]
fn two_thousand_records_are_within_the_budgets_of_thirty_nine_peers() {
    let (network, took, ok) = put_many(39, 40);
    assert_eq!((network.dropped, ok), (0, 2_000));
    let records: usize = network.held.values().map(HashSet::len).sum();
    assert!(records >= 2_000 * 10, "{records}");
    assert!(took <= Duration::from_secs(100), "{took:?}");
}

/// Something else of this node uses up the budgets: records are dropped, and come
/// again.
#[test]
fn records_that_find_the_budget_used_up_come_again() {
    let (network, _, ok) = put_many(2, 90);
    assert!(network.dropped > 0);
    assert_eq!(ok, 2_000);
    for held in network.held.values() {
        assert_eq!(held.len(), 2_000);
    }
}

#[test]
fn what_is_remembered_of_receivers_is_bounded() {
    let now = Instant::now();
    let mut placements = Placements::<u32>::default();
    for id in 0..2 * MAX_RECEIVERS as u32 / 20 {
        let all = peers(20);
        let now = now + Duration::from_secs(u64::from(id));
        placements.begin(id, key(id), &all, false, now);
        due(&mut placements, now);
        assert!(placements.receivers.len() <= MAX_RECEIVERS);
    }
    assert!(placements.placements.is_empty() && placements.jobs.is_empty());
}
