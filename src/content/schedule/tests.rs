use super::super::address::{Codec, address};
use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const INTERVAL: Duration = Duration::from_secs(36_000);
/// An arbitrary time of day.
const WALL: u64 = 1_800_000_000_000;

fn cids(count: u32) -> Vec<Cid> {
    (0..count)
        .map(|i| address(&i.to_le_bytes(), Codec::Raw))
        .collect()
}

/// Begins a schedule now, and returns the moment with `count` roots to be announced.
fn begin(count: u32) -> (Schedule, Instant, Vec<Cid>) {
    let now = Instant::now();
    (Schedule::new(INTERVAL, now, WALL), now, cids(count))
}

fn sync(schedule: &mut Schedule, roots: &[Cid], now: Instant) -> Synced {
    schedule.begin_sync();
    schedule.sync(roots, &HashMap::new(), now, WALL)
}

fn due(schedule: &mut Schedule, now: Instant) -> Vec<Cid> {
    std::iter::from_fn(|| schedule.next(now)).collect()
}

fn sorted(mut cids: Vec<Cid>) -> Vec<Cid> {
    cids.sort();
    cids
}

#[test]
fn a_root_takes_little_memory() {
    // With this size, the table and the queue of 100,000 roots take some 17 MB.
    assert!(
        size_of::<(RootKey, Due)>() <= 80,
        "{}",
        size_of::<(RootKey, Due)>()
    );
}

#[test]
fn the_turn_of_a_place_is_the_same_in_every_round_and_after_a_restart() {
    let (one, start, _) = begin(0);
    let round = one.round;
    assert_eq!(round, 32_400_000);
    for place in [0, 1, u32::MAX / 3, u32::MAX] {
        let first = one.turn_after(place, 0);
        assert!(first > 0 && first <= round);
        assert_eq!(one.turn_after(place, first - 1), first);
        assert_eq!(one.turn_after(place, first), first + round);
        // This is another run, which begins an hour later.
        let other = Schedule::new(INTERVAL, start, WALL + 3_600_000);
        let again = other.turn_after(place, 0) + 3_600_000;
        assert_eq!((again - first).rem_euclid(round), 0);
        // This turn is for a root that was announced before this run began.
        let before = one.turn_after(place, -5 * round / 2);
        assert!(before > -5 * round / 2 && before <= -3 * round / 2);
    }
}

#[test]
fn what_was_never_announced_goes_first_and_the_rest_is_not_forgotten() {
    let (mut schedule, now, all) = begin(12);
    // Four roots were announced a day ago and are overdue.
    let day = 24 * 3_600_000;
    let announced = all[..4].iter().map(|cid| (*cid, WALL - day)).collect();
    schedule.begin_sync();
    let synced = schedule.sync(&all, &announced, now, WALL);
    assert_eq!(synced.new, all);
    let order = due(&mut schedule, now);
    assert_eq!(order.len(), 12);
    let old: Vec<usize> = (0..12).filter(|i| all[..4].contains(&order[*i])).collect();
    // Every fourth announcement is one of these, until no others are left.
    assert_eq!(old, [3, 7, 10, 11]);
    assert_eq!(schedule.untold(), 8);
    assert_eq!(schedule.backlog(now).waiting, 12);
    assert!(schedule.backlog(now).lateness > 14 * HOUR);
}

#[test]
fn what_is_put_goes_at_once_and_what_is_gone_is_forgotten() {
    let (mut schedule, now, all) = begin(3);
    schedule.announce(&all[0], now);
    assert_eq!(schedule.wake_at(), Some(now));
    assert_eq!(schedule.next(now), Some(all[0]));
    // It is asked for again while it is under way, so it follows at once.
    schedule.announce(&all[0], now);
    assert_eq!(schedule.next(now), None);
    schedule.done(&all[0], Outcome::Ok, now, WALL);
    assert_eq!(schedule.next(now), Some(all[0]));
    let synced = sync(&mut schedule, &all[1..], now);
    assert_eq!(synced.gone, [all[0]]);
    assert_eq!(synced.new, all[1..]);
    schedule.done(&all[0], Outcome::Ok, now, WALL);
    assert_eq!(sorted(due(&mut schedule, now)), sorted(all[1..].to_vec()));
    let unsaved = schedule.take_unsaved();
    assert_eq!((unsaved.announced, unsaved.gone), (vec![], vec![all[0]]));
    assert_eq!(schedule.untold(), 2);
}

/// The store is read while files are being put.
#[test]
fn what_is_put_while_the_store_is_read_is_not_taken_for_gone() {
    let (mut schedule, now, all) = begin(2);
    schedule.announce(&all[0], now);
    schedule.begin_sync();
    schedule.announce(&all[1], now);
    let synced = schedule.sync(&[all[0]], &HashMap::new(), now, WALL);
    assert_eq!(synced, Synced::default());
    let synced = sync(&mut schedule, &[all[0]], now);
    assert_eq!(synced.gone, [all[1]]);
}

#[test]
fn what_was_announced_is_saved_once_and_comes_back() {
    let (mut schedule, now, all) = begin(3);
    sync(&mut schedule, &all, now);
    for cid in due(&mut schedule, now) {
        let outcome = match cid == all[2] {
            true => Outcome::Failed,
            false => Outcome::Ok,
        };
        schedule.done(&cid, outcome, now, WALL + 7);
    }
    let unsaved = schedule.take_unsaved();
    assert_eq!(schedule.take_unsaved(), Unsaved::default());
    assert_eq!(unsaved.announced.len(), 2);
    schedule.put_back(unsaved.clone());
    // Changes that are newer than those that could not be stored are kept.
    schedule.forget(&all[0]);
    let unsaved = schedule.take_unsaved();
    assert_eq!(unsaved.announced, [(all[1], WALL + 7)]);
    assert_eq!(unsaved.gone, [all[0]]);

    // The next run starts an hour later. It knows of two roots, of which one is here.
    let saved: HashMap<Cid, u64> = [(all[0], WALL), (all[1], WALL + 7)].into();
    let wall = WALL + 3_600_000;
    let mut schedule = Schedule::new(INTERVAL, now, wall);
    schedule.begin_sync();
    schedule.sync(&all[1..], &saved, now, wall);
    assert_eq!(due(&mut schedule, now), [all[2]]);
    assert_eq!(schedule.take_unsaved().gone, [all[0]]);
}

#[test]
fn failures_wait_longer_each_time_and_the_due_time_stays() {
    let (mut schedule, start, all) = begin(1);
    schedule.announce(&all[0], start);
    let mut now = start;
    let mut waits = Vec::new();
    for outcome in [Outcome::Failed, Outcome::Few(0), Outcome::Few(1)] {
        assert_eq!(schedule.next(now), Some(all[0]));
        assert!(schedule.is_verified(&all[0]));
        schedule.done(&all[0], outcome, now, WALL);
        let next = schedule.wake_at().unwrap();
        waits.push(next - now);
        now = next;
    }
    for (wait, seconds) in waits.iter().zip([5, 10, 20]) {
        let wanted = Duration::from_secs(seconds);
        assert!(
            *wait >= wanted * 3 / 4 && *wait <= wanted * 5 / 4,
            "{waits:?}"
        );
    }
    let backlog = schedule.backlog(now);
    assert_eq!((backlog.waiting, backlog.lateness), (1, now - start));
    // Some peers accepted it, and no more of them will, so it waits for its turn.
    for _ in 0..3 {
        assert_eq!(schedule.next(now), Some(all[0]));
        schedule.done(&all[0], Outcome::Few(1), now, WALL);
        now = schedule.wake_at().unwrap();
    }
    assert_eq!(schedule.backlog(start + HOUR / 60).waiting, 0);
    assert_eq!(schedule.take_unsaved().announced, [(all[0], WALL)]);
}

#[test]
fn alone_one_asks_for_all_and_nothing_is_lost() {
    let (mut schedule, start, all) = begin(2_000);
    for cid in &all {
        schedule.announce(cid, start);
    }
    let first = due(&mut schedule, start);
    assert_eq!(first.len(), CONCURRENT);
    assert!(!schedule.is_alone());
    for cid in &first {
        schedule.done(cid, Outcome::Alone, start, WALL);
    }
    let mut now = schedule.wake_at().unwrap();
    assert_eq!(now - start, ALONE, "they have failed together, once");
    for wait in [4, 8, 16, 32, 60, 60] {
        let one = due(&mut schedule, now);
        assert_eq!(one.len(), 1);
        schedule.done(&one[0], Outcome::Alone, now, WALL);
        let wait = Duration::from_secs(wait);
        assert_eq!(schedule.wake_at(), Some(now + wait));
        now += wait;
    }
    assert!(schedule.is_alone());
    let one = due(&mut schedule, now);
    schedule.done(&one[0], Outcome::Ok, now, WALL);
    assert!(!schedule.is_alone());
    assert_eq!(due(&mut schedule, now).len(), CONCURRENT);
    assert_eq!(schedule.untold(), 1_999);
}

#[test]
fn the_first_dht_peer_ends_the_wait_and_one_attempt_does_not() {
    let (mut schedule, start, all) = begin(3);
    for cid in &all {
        schedule.announce(cid, start);
    }
    let first = due(&mut schedule, start);
    for cid in &first {
        schedule.done(cid, Outcome::Alone, start, WALL);
    }
    assert_eq!(due(&mut schedule, start), []);
    schedule.try_again();
    let one = due(&mut schedule, start);
    assert_eq!(one.len(), 1);
    assert!(schedule.is_alone());
    schedule.done(&one[0], Outcome::Alone, start, WALL);
    assert_eq!(schedule.wake_at(), Some(start + 2 * ALONE));
    schedule.not_alone();
    assert!(!schedule.is_alone());
    assert_eq!(due(&mut schedule, start).len(), 3);
}

#[test]
fn a_single_node_without_peers_looks_soon_and_then_less_often() {
    let (mut schedule, start, all) = begin(1);
    schedule.announce(&all[0], start);
    let mut now = start;
    let mut waits = Vec::new();
    for _ in 0..7 {
        assert_eq!(schedule.next(now), Some(all[0]));
        schedule.done(&all[0], Outcome::Alone, now, WALL);
        let next = schedule.wake_at().unwrap();
        waits.push((next - now).as_secs());
        now = next;
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60]);
}

/// What a run of the schedule has done.
#[derive(Default)]
struct Run {
    /// When each root was announced, in milliseconds since the start of the test.
    log: HashMap<Cid, Vec<u64>>,
    worst: Duration,
}

/// Runs the schedule from `from` for `span`, where each announcement takes `each`.
/// `start` is when this run began, relative to the start of the test.
fn simulate(
    schedule: &mut Schedule,
    run: &mut Run,
    (start, begin): (u64, Instant),
    span: Duration,
    each: Duration,
) {
    let mut running: std::collections::VecDeque<(Instant, Cid)> = Default::default();
    let mut now = begin;
    let mut looked = now;
    let end = begin + span;
    loop {
        while running.front().is_some_and(|(end, _)| *end <= now) {
            let (_, cid) = running.pop_front().unwrap();
            let wall = WALL + start + millis(now - begin) as u64;
            schedule.done(&cid, Outcome::Ok, now, wall);
        }
        while let Some(cid) = schedule.next(now) {
            let at = start + millis(now - begin) as u64;
            run.log.entry(cid).or_default().push(at);
            running.push_back((now + each, cid));
        }
        if now >= looked {
            run.worst = run.worst.max(schedule.backlog(now).lateness);
            looked = now + Duration::from_secs(600);
        }
        let ends = running.front().map(|(end, _)| *end);
        let due = schedule.wake_at().filter(|due| *due > now);
        let next = ends.into_iter().chain(due).min().unwrap_or(end);
        if next >= end {
            return;
        }
        now = next;
    }
}

/// 100,000 roots were all announced before. The test covers two intervals, with a restart
/// and an hour of absence in the middle.
#[test]
fn a_hundred_thousand_roots_are_never_late_and_evenly_spread() {
    const ROOTS: u32 = 100_000;
    let (mut schedule, begin, all) = begin(ROOTS);
    let each = Duration::from_secs(8);
    let interval = millis(INTERVAL) as u64;

    // The first run begins after an earlier one has announced everything in its turn. It
    // is stopped after an interval.
    let known: HashMap<Cid, u64> = all
        .iter()
        .map(|cid| {
            let place = RootKey::of(cid).unwrap().position();
            let turn = schedule.turn_after(place, -schedule.round);
            (*cid, WALL.checked_add_signed(turn).unwrap())
        })
        .collect();
    schedule.begin_sync();
    schedule.sync(&all, &known, begin, WALL);
    assert!(schedule.backlog(begin).waiting <= 1);
    let mut run = Run::default();
    simulate(&mut schedule, &mut run, (0, begin), INTERVAL, each);
    // Roots that are under way count as waiting until their announcements have ended.
    assert!(
        run.worst <= each + Duration::from_secs(2),
        "{:?}",
        run.worst
    );

    // Every minute of the first round has as many announcements, which is 185 with some
    // variation by chance.
    let round = schedule.round as u64;
    let mut minutes = vec![0u32; (round / 60_000) as usize];
    for at in run.log.values().flatten().filter(|at| **at < round) {
        minutes[(*at / 60_000) as usize] += 1;
    }
    let (least, most) = (minutes.iter().min().unwrap(), minutes.iter().max().unwrap());
    assert!(*least >= 130 && *most <= 245, "{least} to {most} a minute");

    // Announcements that were under way at the stop are not saved.
    let mut saved = known;
    for (cid, at) in schedule.take_unsaved().announced {
        saved.insert(cid, at);
    }
    let away = millis(HOUR) as u64;
    let wall = WALL + interval + away;
    let mut schedule = Schedule::new(INTERVAL, begin, wall);
    schedule.begin_sync();
    let synced = schedule.sync(&all, &saved, begin, wall);
    assert_eq!(synced.new.len(), 100_000);
    // Only the roots that became due during that hour are waiting, which is a ninth of
    // them.
    let backlog = schedule.backlog(begin);
    assert!(
        (10_700..11_600).contains(&backlog.waiting),
        "{}",
        backlog.waiting
    );
    assert!(backlog.lateness <= HOUR + 2 * each, "{backlog:?}");
    assert_eq!(schedule.untold(), 0);
    run.worst = Duration::ZERO;
    simulate(
        &mut schedule,
        &mut run,
        (interval + away, begin),
        INTERVAL,
        each,
    );
    assert!(run.worst <= HOUR + 2 * each, "{:?}", run.worst);
    assert_eq!(run.log.len(), 100_000);
    for times in run.log.values() {
        // A root may be late only by the hour of absence and the time to make up for it.
        // The record lasts a day.
        assert!(times[0] <= round + 1_000, "{times:?}");
        let late = round + away + 3 * 3_600_000;
        assert!(
            times.windows(2).all(|pair| pair[1] - pair[0] <= late),
            "{times:?}"
        );
    }
}

/// All roots are new at once, as after an import or at the first start of a version that
/// remembers announcements. There are sixteen announcements per second, as fast as two
/// receivers accept them.
#[test]
fn a_hundred_thousand_new_roots_find_their_turn_after_the_first_announcement() {
    let (mut schedule, begin, all) = begin(100_000);
    sync(&mut schedule, &all, begin);
    assert_eq!(schedule.room(), 33);
    let mut run = Run::default();
    let each = Duration::from_secs(2);
    simulate(&mut schedule, &mut run, (0, begin), 2 * INTERVAL, each);
    let round = schedule.round as u64;
    for times in run.log.values() {
        assert!(times[0] <= 2 * 3_600_000, "{times:?}");
        // Each root waits once until its turn, and then from turn to turn.
        assert!(
            times
                .windows(2)
                .all(|pair| pair[1] - pair[0] <= round + 5_000),
            "{times:?}"
        );
    }
    assert_eq!(run.log.len(), 100_000);
}

#[test]
fn one_in_eight_later_announcements_is_verified_and_another_each_round() {
    let (mut schedule, begin, all) = begin(4_000);
    sync(&mut schedule, &all, begin);
    assert!(all.iter().all(|cid| schedule.is_verified(cid)));
    let known = all.iter().map(|cid| (*cid, WALL - 1)).collect();
    let mut later = Schedule::new(INTERVAL, begin, WALL);
    later.begin_sync();
    later.sync(&all, &known, begin, WALL);
    let sample: Vec<&Cid> = all.iter().filter(|cid| later.is_verified(cid)).collect();
    assert!((400..600).contains(&sample.len()), "{}", sample.len());
}
