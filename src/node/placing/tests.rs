use std::collections::HashSet;

use super::*;
use crate::peers::bucket::{Bucket, Rates};

fn key(n: u32) -> RecordKey {
    RecordKey::from(n.to_be_bytes().to_vec())
}

fn peers(count: usize) -> Vec<PeerId> {
    (0..count).map(|_| PeerId::random()).collect()
}

/// Everything that is due at `now`.
fn due(placing: &mut Placing<u32>, now: Instant) -> Vec<Event<u32>> {
    std::iter::from_fn(|| placing.next(now, |_| true)).collect()
}

fn tell(peer: PeerId, id: u32) -> Event<u32> {
    let key = key(id);
    Event::Tell { peer, id, key }
}

fn ask(peer: PeerId, id: u32) -> Event<u32> {
    let key = key(id);
    Event::Ask { peer, id, key }
}

fn done(id: u32, told: usize, held: usize, enough: bool) -> Event<u32> {
    let silent = 0;
    Event::Done(
        id,
        Held {
            told,
            held,
            silent,
            enough,
        },
    )
}

/// The receivers have named this node before.
fn known(all: &[PeerId], now: Instant) -> Placing<u32> {
    let mut placing = Placing::default();
    for peer in all {
        placing.receiver(peer, now).names = true;
    }
    placing
}

fn silent(id: u32, told: usize) -> Event<u32> {
    Event::Done(
        id,
        Held {
            told,
            held: 0,
            silent: told,
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
    let mut placing = Placing::default();
    let all = peers(2);
    placing.begin(1, key(1), &all, true, start);
    assert_eq!(
        due(&mut placing, start),
        [tell(all[0], 1), tell(all[1], 1), Event::Told(1, 2)]
    );
    assert_eq!(placing.wake_at(), Some(start + SETTLE));
    let now = start + SETTLE;
    assert_eq!(due(&mut placing, now), [ask(all[0], 1), ask(all[1], 1)]);
    placing.answered(1, &all[0], true, now);
    assert_eq!(due(&mut placing, now), []);
    placing.answered(1, &all[1], true, now);
    assert_eq!(due(&mut placing, now), [done(1, 2, 2, true)]);
    assert!(placing.placements.is_empty());
    // The watch over the answers ends without a word.
    assert_eq!(due(&mut placing, now + ANSWER), []);
    assert_eq!(placing.wake_at(), None);
}

#[test]
fn who_is_not_to_be_asked_is_told_and_that_is_all() {
    let start = Instant::now();
    let mut placing = Placing::default();
    let all = peers(1);
    placing.begin(1, key(1), &all, false, start);
    assert_eq!(
        due(&mut placing, start),
        [tell(all[0], 1), Event::Told(1, 1), silent(1, 1)]
    );
    assert_eq!(placing.wake_at(), None);
}

#[test]
fn a_record_that_was_dropped_is_sent_again_and_more_slowly() {
    let start = Instant::now();
    let all = peers(1);
    let mut placing = known(&all, start);
    placing.begin(1, key(1), &all, true, start);
    due(&mut placing, start);
    let mut now = start + SETTLE;
    assert_eq!(due(&mut placing, now), [ask(all[0], 1)]);
    placing.answered(1, &all[0], false, now);
    assert_eq!(placing.receivers[&all[0]].every, 2 * EVERY);
    assert_eq!(placing.wake_at(), Some(now + AGAIN[0]));
    now += AGAIN[0];
    assert_eq!(due(&mut placing, now), [tell(all[0], 1)]);
    now += SETTLE;
    assert_eq!(due(&mut placing, now), [ask(all[0], 1)]);
    // A reset is a miss as well: it is over its budget for this node.
    placing.failed(1, &all[0], now);
    now += AGAIN[1];
    assert_eq!(due(&mut placing, now), [tell(all[0], 1)]);
    now += SETTLE;
    assert_eq!(due(&mut placing, now), [ask(all[0], 1)]);
    placing.answered(1, &all[0], false, now);
    assert_eq!(due(&mut placing, now), [done(1, 1, 0, false)]);
    assert_eq!(placing.receivers[&all[0]].every, 8 * EVERY);
    assert!(placing.placements.is_empty());
}

/// rust-libp2p by itself never names the asker: what it is told cannot be verified,
/// and is no failure.
#[test]
fn a_receiver_that_cannot_say_is_told_and_hardly_asked() {
    let mut now = Instant::now();
    let mut placing = Placing::default();
    let all = peers(1);
    let mut asked = Vec::new();
    for id in 0..40 {
        placing.begin(id, key(id), &all, true, now);
        let mut told = 0;
        loop {
            let events = due(&mut placing, now);
            for event in events {
                match event {
                    Event::Tell { .. } => told += 1,
                    Event::Ask { peer, id, .. } => {
                        asked.push(id);
                        placing.answered(id, &peer, false, now);
                    }
                    Event::Done(id, held) => assert_eq!(Event::Done(id, held), silent(id, 1)),
                    _ => {}
                }
            }
            if !placing.placements.contains_key(&id) {
                break;
            }
            now = placing.wake_at().unwrap().max(now);
        }
        assert_eq!(told, 1);
    }
    assert_eq!(asked, [0, 1, 2, 3, 15, 30]);
    assert_eq!(placing.receivers[&all[0]].every, EVERY);
}

#[test]
fn an_answer_that_never_comes_is_waited_for_only_so_long() {
    let start = Instant::now();
    let mut placing = Placing::default();
    let all = peers(1);
    placing.begin(1, key(1), &all, true, start);
    due(&mut placing, start);
    let mut now = start + SETTLE;
    for wait in AGAIN {
        assert_eq!(due(&mut placing, now), [ask(all[0], 1)]);
        assert_eq!(due(&mut placing, now + ANSWER), []);
        now += ANSWER + wait;
        assert_eq!(due(&mut placing, now), [tell(all[0], 1)]);
        now += SETTLE;
    }
    due(&mut placing, now);
    assert_eq!(due(&mut placing, now + ANSWER), [done(1, 1, 0, false)]);
}

/// Nobody waits for the last of twenty; they are told again all the same.
#[test]
fn it_is_done_when_enough_hold_it_and_goes_on_with_the_rest() {
    let start = Instant::now();
    let all = peers(20);
    let mut placing = known(&all, start);
    placing.begin(1, key(1), &all, true, start);
    assert_eq!(due(&mut placing, start).len(), 21);
    let now = start + SETTLE;
    assert_eq!(due(&mut placing, now).len(), 20);
    placing.answered(1, &all[19], false, now);
    for peer in &all[..9] {
        placing.answered(1, peer, true, now);
    }
    assert_eq!(due(&mut placing, now), []);
    placing.answered(1, &all[9], true, now);
    assert_eq!(due(&mut placing, now), [done(1, 20, 10, true)]);
    for peer in &all[10..19] {
        placing.answered(1, peer, true, now);
    }
    assert_eq!(due(&mut placing, now + AGAIN[0]), [tell(all[19], 1)]);
}

#[test]
fn a_receiver_that_takes_nothing_is_left_alone_for_a_while() {
    let start = Instant::now();
    let all = peers(1);
    let mut placing = known(&all, start);
    let mut now = start;
    let mut told = 0;
    // Three misses each.
    for id in 0..4 {
        placing.begin(id, key(id), &all, true, now);
        while placing.placements.contains_key(&id) {
            now = placing.wake_at().unwrap().max(now);
            for event in due(&mut placing, now) {
                match event {
                    Event::Tell { .. } => told += 1,
                    Event::Ask { peer, id, .. } => placing.answered(id, &peer, false, now),
                    _ => {}
                }
            }
        }
        due(&mut placing, now);
    }
    assert_eq!(told, REFUSES_AFTER);
    let later = now + PAUSE;
    placing.begin(9, key(9), &all, true, later);
    assert_eq!(
        due(&mut placing, later),
        [tell(all[0], 9), Event::Told(9, 1)]
    );
    let asked = later + SETTLE;
    assert_eq!(due(&mut placing, asked), [ask(all[0], 9)]);
    placing.answered(9, &all[0], false, asked);
    assert_eq!(placing.receivers[&all[0]].pause, 4 * PAUSE);
    assert!(placing.receivers[&all[0]].is_paused(asked + 2 * PAUSE - EVERY));
    assert!(!placing.receivers[&all[0]].is_paused(asked + 2 * PAUSE));
}

#[test]
fn who_has_hung_up_is_dialed_once() {
    let start = Instant::now();
    let mut placing = Placing::default();
    let all = peers(2);
    placing.begin(1, key(1), &all, true, start);
    let gone = |placing: &mut Placing<u32>, now| -> Vec<Event<u32>> {
        std::iter::from_fn(|| placing.next(now, |peer| *peer == all[1])).collect()
    };
    assert_eq!(
        gone(&mut placing, start),
        [Event::Dial(all[0]), tell(all[1], 1)]
    );
    placing.answered(1, &all[1], true, start);
    let now = start + SETTLE;
    assert_eq!(gone(&mut placing, now), [ask(all[1], 1)]);
    placing.answered(1, &all[1], true, now);
    // One of the one that could be told is enough.
    assert_eq!(
        gone(&mut placing, start + DIAL),
        [Event::Told(1, 1), done(1, 1, 1, true)]
    );
}

#[test]
fn requests_to_one_receiver_keep_their_distance() {
    let start = Instant::now();
    let mut placing = Placing::default();
    let all = peers(1);
    for id in 0..20 {
        placing.begin(id, key(id), &all, false, start);
    }
    // The questions of twenty walks have used up what may go at once, and four
    // more; each record then comes when its token is there.
    let mut at = Vec::new();
    let mut now = start;
    while let Some(wake) = placing.wake_at() {
        now = now.max(wake);
        let told = |event: &Event<u32>| matches!(event, Event::Tell { .. });
        let told = due(&mut placing, now).iter().filter(|e| told(e)).count();
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
    let mut placing = Placing::default();
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
            placing.begin(next, key(next), &closest, true, now);
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
        for event in due(&mut placing, now) {
            match event {
                Event::Tell { peer, id, .. } => {
                    if network.pays(&peer, now) {
                        network.held.get_mut(&peer).unwrap().insert(id);
                    }
                }
                Event::Ask { peer, id, .. } => match network.pays(&peer, now) {
                    true => placing.answered(id, &peer, network.held[&peer].contains(&id), now),
                    false => placing.failed(id, &peer, now),
                },
                Event::Done(_, held) => {
                    under_way -= 1;
                    ok += usize::from(held.enough);
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
    let mut placing = Placing::<u32>::default();
    for id in 0..2 * MAX_RECEIVERS as u32 / 20 {
        let all = peers(20);
        let now = now + Duration::from_secs(u64::from(id));
        placing.begin(id, key(id), &all, false, now);
        due(&mut placing, now);
        assert!(placing.receivers.len() <= MAX_RECEIVERS);
    }
    assert!(placing.placements.is_empty() && placing.jobs.is_empty());
}
