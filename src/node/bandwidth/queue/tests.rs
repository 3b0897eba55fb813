//! The queue against what is said of it, with time and chance as arguments.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::*;

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A stream that always has more to move.
struct Hungry {
    class: Class,
    peer: PeerId,
    ticket: u64,
    bell: Arc<Bell>,
    waiting: bool,
    moved: u64,
}

impl Hungry {
    fn new(class: Class, peer: PeerId, ticket: u64) -> Self {
        Hungry {
            class,
            peer,
            ticket,
            bell: Arc::default(),
            waiting: false,
            moved: 0,
        }
    }

    fn who(&self) -> (Class, PeerId, u64) {
        (self.class, self.peer, self.ticket)
    }

    /// Polls as a stream does; what it got.
    fn poll(&mut self, queue: &mut Queue, want: usize, now: Instant, wake: &mut Vec<Waker>) -> u64 {
        let waker = Waker::from(self.bell.clone());
        let got = if self.waiting {
            queue.claim(self.who(), &waker)
        } else {
            queue.ask(self.who(), want, &waker, now, wake)
        };
        self.waiting = got.is_none();
        self.moved += got.unwrap_or(0) as u64;
        got.unwrap_or(0) as u64
    }
}

fn ring(wake: &mut Vec<Waker>) {
    wake.drain(..).for_each(Waker::wake);
}

/// Small, fast, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % n
    }
}

/// As long as some thousand grants take, and no longer than `most`.
fn while_of(rate: u64, most: u64) -> Duration {
    let millis = 4000 * grant(rate) * 1000 / rate;
    Duration::from_millis(millis.min(most * 1000))
}

/// Runs the queue as the shaper does: pump when due, then only those poll who
/// were woken or have nothing to wait for. Returns the time of the end.
fn run(
    queue: &mut Queue,
    streams: &mut [Hungry],
    start: Instant,
    time: Duration,
    mut after: impl FnMut(&[Hungry], Instant),
) -> Instant {
    let (mut now, end) = (start, start + time);
    let mut wake = Vec::new();
    let mut heard: HashMap<u64, usize> = HashMap::new();
    while now < end {
        queue.pump(now, &mut wake);
        ring(&mut wake);
        for stream in streams.iter_mut() {
            loop {
                let rung = stream.bell.0.load(Ordering::Relaxed);
                let seen = heard.entry(stream.ticket).or_default();
                if stream.waiting && rung == *seen {
                    break;
                }
                *seen = rung;
                if stream.poll(queue, 1 << 20, now, &mut wake) == 0 {
                    assert!(stream.waiting, "neither granted nor queued");
                    break;
                }
            }
        }
        ring(&mut wake);
        after(streams, now);
        // Whoever waits must be served some time: no lost wake-up.
        let next = queue.next().expect("hungry streams and nobody waits");
        now += next.max(Duration::from_nanos(1));
    }
    now
}

const RATES: [u64; 5] = [16 << 10, 100_000, 1 << 20, 12_345_678, 1 << 30];

#[test]
fn bulk_never_exceeds_the_rate_and_its_burst_and_uses_all_of_it() {
    for rate in RATES {
        let start = Instant::now();
        let mut queue = Queue::new(rate, start);
        let mut streams: Vec<_> = (0..7)
            .map(|n| Hungry::new(Class::Bulk, PeerId::random(), n))
            .collect();
        let end = run(
            &mut queue,
            &mut streams,
            start,
            while_of(rate, 5),
            |streams, now| {
                let moved: u64 = streams.iter().map(|s| s.moved).sum();
                let due = rate as f64 * now.duration_since(start).as_secs_f64();
                let most = due + (burst(rate) + grant(rate)) as f64 + 1.0;
                assert!(moved as f64 <= most, "{moved} of {most} at {rate}");
            },
        );
        let moved: u64 = streams.iter().map(|s| s.moved).sum();
        let due = rate as f64 * end.duration_since(start).as_secs_f64();
        assert!(
            moved as f64 >= due - grant(rate) as f64,
            "{moved} of {due} at {rate}"
        );
    }
}

#[test]
fn peers_share_evenly_whatever_the_number_of_their_streams() {
    for rate in RATES {
        let start = Instant::now();
        let mut queue = Queue::new(rate, start);
        let (many, one) = (PeerId::random(), PeerId::random());
        let mut streams: Vec<_> = (0..100)
            .map(|n| Hungry::new(Class::Bulk, many, n))
            .collect();
        streams.push(Hungry::new(Class::Bulk, one, 100));
        let late = start + Duration::from_millis(1);
        run(
            &mut queue,
            &mut streams,
            start,
            while_of(rate, 20),
            |streams, now| {
                if now < late {
                    return;
                }
                let of = |peer| -> u64 {
                    streams
                        .iter()
                        .filter(|s| s.peer == peer)
                        .map(|s| s.moved)
                        .sum()
                };
                // The burst went to whoever came first; after it they alternate.
                let apart = of(many).abs_diff(of(one));
                let most = burst(rate) + 2 * grant(rate);
                assert!(apart <= most, "{apart} apart of {most} at {rate}");
            },
        );
        // And nobody among the hundred starves.
        if grant(rate) * 101 * 2 < rate * while_of(rate, 20).as_millis() as u64 / 1000 {
            assert!(streams.iter().all(|s| s.moved > 0), "at {rate}");
        }
    }
}

#[test]
fn silence_is_no_claim_and_small_asks_are_counted_by_bytes() {
    let (rate, start) = (1 << 20, Instant::now());
    let mut queue = Queue::new(rate, start);
    let (busy, quiet) = (PeerId::random(), PeerId::random());
    let mut first = [Hungry::new(Class::Bulk, busy, 0)];
    let now = run(
        &mut queue,
        &mut first,
        start,
        Duration::from_secs(60),
        |_, _| {},
    );
    // After a minute of silence the other gets its half, not a minute's worth.
    let before = first[0].moved;
    let [first] = first;
    let mut both = [first, Hungry::new(Class::Bulk, quiet, 1)];
    run(
        &mut queue,
        &mut both,
        now,
        Duration::from_secs(10),
        |_, _| {},
    );
    let share = both[1].moved as f64 / (both[1].moved + both[0].moved - before) as f64;
    assert!((0.45..0.55).contains(&share), "{share}");
}

#[test]
fn the_nodes_own_protocols_pass_at_once_while_bulk_saturates() {
    let (rate, start) = (1 << 20, Instant::now());
    let mut queue = Queue::new(rate, start);
    let mut bulk: Vec<_> = (0..20)
        .map(|n| Hungry::new(Class::Bulk, PeerId::random(), n))
        .collect();
    let mut now = start;
    let mut wake = Vec::new();
    for n in 0..100 {
        now = run(
            &mut queue,
            &mut bulk,
            now,
            Duration::from_millis(50),
            |_, _| {},
        );
        let mut ping = Hungry::new(Class::Own, PeerId::random(), 1000 + n);
        assert_eq!(ping.poll(&mut queue, 32, now, &mut wake), 32, "ping {n}");
    }
}

#[test]
fn own_protocols_owe_a_second_at_most_and_leave_bulk_a_fifth() {
    let (rate, start) = (1 << 20, Instant::now());
    let mut queue = Queue::new(rate, start);
    let mut streams = [
        Hungry::new(Class::Own, PeerId::random(), 0),
        Hungry::new(Class::Own, PeerId::random(), 1),
        Hungry::new(Class::Bulk, PeerId::random(), 2),
    ];
    let end = run(
        &mut queue,
        &mut streams,
        start,
        Duration::from_secs(30),
        |streams, now| {
            let moved: u64 = streams.iter().map(|s| s.moved).sum();
            let due = rate as f64 * now.duration_since(start).as_secs_f64();
            let most = due + (burst(rate) + rate + grant(rate)) as f64 + 1.0;
            assert!(moved as f64 <= most, "{moved} of {most}");
        },
    );
    let due = rate as f64 * end.duration_since(start).as_secs_f64();
    let share = streams[2].moved as f64 / due;
    assert!((0.17..0.25).contains(&share), "{share}");
    let apart = streams[0].moved.abs_diff(streams[1].moved);
    assert!(apart <= burst(rate) + rate + 2 * grant(rate), "{apart}");
}

#[test]
fn chance_finds_no_way_around_the_bound_and_none_to_lose_a_turn() {
    for seed in 1..=40 {
        let mut chance = Chance(seed);
        let rate = 1 + chance.below(1 << 22);
        let start = Instant::now();
        let mut queue = Queue::new(rate, start);
        let peers: Vec<_> = (0..5).map(|_| PeerId::random()).collect();
        let mut streams: Vec<Hungry> = Vec::new();
        let (mut now, mut wake, mut tickets) = (start, Vec::new(), 0);
        // What has been moved and not given back.
        let (mut moved, mut own) = (0u64, 0u64);
        for _ in 0..2000 {
            match chance.below(10) {
                0 if streams.len() < 30 => {
                    let peer = peers[chance.below(5) as usize];
                    let class = [Class::Own, Class::Bulk][chance.below(2) as usize];
                    streams.push(Hungry::new(class, peer, tickets));
                    tickets += 1;
                }
                1 if !streams.is_empty() => {
                    let gone = streams.swap_remove(chance.below(streams.len() as u64) as usize);
                    if gone.waiting {
                        queue.leave(gone.who());
                        queue.pump(now, &mut wake);
                    }
                }
                2 => now += Duration::from_micros(chance.below(300_000)),
                3 => queue.pump(now, &mut wake),
                _ if !streams.is_empty() => {
                    let at = chance.below(streams.len() as u64) as usize;
                    let stream = &mut streams[at];
                    let want = 1 + chance.below(200_000) as usize;
                    let got = stream.poll(&mut queue, want, now, &mut wake);
                    let used = if got == 0 { 0 } else { chance.below(got + 1) };
                    queue.give_back(stream.class, stream.peer, (got - used) as usize);
                    queue.pump(now, &mut wake);
                    moved += used;
                    if stream.class == Class::Own {
                        own += used;
                    }
                }
                _ => {}
            }
            ring(&mut wake);
            let due = rate as f64 * now.duration_since(start).as_secs_f64();
            let debt = if own > 0 { rate } else { 0 };
            let most = due + (burst(rate) + debt + grant(rate)) as f64 + 1.0;
            assert!(moved as f64 <= most, "seed {seed}: {moved} of {most}");
        }
        // Everybody who waits is served when only time passes.
        let mut rounds = 0;
        while streams.iter().any(|s| s.waiting) {
            now += queue.next().unwrap_or(Duration::from_nanos(1));
            queue.pump(now, &mut wake);
            ring(&mut wake);
            for stream in streams.iter_mut().filter(|s| s.waiting) {
                stream.poll(&mut queue, 1, now, &mut wake);
            }
            rounds += 1;
            assert!(rounds < 100, "seed {seed}: a turn was lost");
        }
        assert!(
            queue.next().is_none(),
            "seed {seed}: somebody is left in the queue"
        );
        assert!(queue.granted.is_empty(), "seed {seed}: a grant is left");
    }
}

#[test]
fn peers_that_are_gone_are_forgotten() {
    let start = Instant::now();
    let mut queue = Queue::new(1 << 20, start);
    let mut wake = Vec::new();
    for n in 0..10_000 {
        let mut stream = Hungry::new(Class::Bulk, PeerId::random(), n);
        stream.poll(&mut queue, 1, start + Duration::from_millis(n), &mut wake);
    }
    let known = queue.bulk.lanes.len();
    assert!(known <= 2 * TALLIES, "{known}");
}

#[test]
fn another_rate_counts_from_its_moment_on_and_no_debt_lasts_longer_than_a_second() {
    let now = Instant::now();
    let mut queue = Queue::new(1 << 30, now);
    queue.charge(Class::Own, 2 << 30);
    queue.set_rate(16 << 10, now);
    let mut wake = Vec::new();
    let mut stream = Hungry::new(Class::Bulk, PeerId::random(), 1);
    assert_eq!(stream.poll(&mut queue, 1 << 20, now, &mut wake), 0);
    let wait = queue.next().unwrap();
    assert!(wait <= Duration::from_millis(1_001), "{wait:?}");
    queue.pump(now + wait, &mut wake);
    assert!(stream.poll(&mut queue, 1 << 20, now + wait, &mut wake) > 0);
    // Without a ceiling whoever waits is served at once.
    let then = now + wait;
    assert_eq!(stream.poll(&mut queue, 1 << 20, then, &mut wake), 0);
    queue.set_rate(u64::MAX, then);
    queue.pump(then + Duration::from_millis(1), &mut wake);
    assert!(stream.poll(&mut queue, 1 << 20, then, &mut wake) > 0);
}
