//! How many lines each place in the code may write, whatever makes it write them.
//!
//! A remote can make a program log, in ways that nobody thought of: a library logs a
//! violation of a protocol as an error and goes on, and the peer repeats it a hundred
//! thousand times a second. So the bound is in the logger itself. It holds for every
//! crate, whether anybody knows that its lines can be provoked or not.
//!
//! | what | at once | over a long time | reason |
//! |---|---|---|---|
//! | a place in a dependency | 10 | one each 5 s | enough to see what it is about |
//! | all dependencies together | 100 | 2 each second | 30 MB a day at 200 bytes a line |
//! | a place in this program | 600 | 10 each second | the lines for fail2ban, the most frequent ones, are bounded to 600 a minute themselves |
//! | this program in all | 1,200 | 20 each second | two such places |
//! | a place at the levels debug and trace | 2,000 | 200 each second | somebody asked for them and wants to read them |
//! | all at these levels | 20,000 | 2,000 each second | a minute of it is 24 MB |
//!
//! Dependencies and this program have totals of their own, so that no remote can silence
//! this program by way of a library.
//!
//! Lines that only this host can cause are not counted at all: those of the rooms in
//! [`HOME`], which tell of the start, the stop and the configuration, and panics. This
//! program's own errors, which say that somebody on this host must act, are bounded for
//! each place, but not in total.
//!
//! What is suppressed is counted. The count is written when the place may write again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;
use std::time::Instant;

use log::{Level, Record};
use prometheus::{Error, IntCounterVec, Opts};

use super::panic;
use crate::rate::{Bucket, Capacity};
use crate::telemetry::registry::touch;

/// The rooms of this program that log only what this host does.
const HOME: [&str; 4] = [
    "p2p_node::cli",
    "p2p_node::config",
    "p2p_node::daemon",
    "p2p_node::system",
];

/// The units of a bucket that one line costs, so that whole units flow in each nanosecond
/// at any number of lines per ten seconds.
const LINE: i128 = 10_000_000_000;

const fn lines(at_once: i128, per_ten_seconds: i128) -> Capacity {
    Capacity {
        full: at_once * LINE,
        per_nanosecond: per_ten_seconds,
    }
}

/// The number of places in the code that are told apart. This program and its
/// dependencies have some 1,500 in all, and a process comes across a few hundred. More
/// share one bucket. With 100 bytes each, they take 200 KiB.
const MAX_PLACES: usize = 2_048;

/// Which of the limits hold for a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Dependency,
    Own,
    Detail,
}

impl Kind {
    fn of(record: &Record<'_>) -> Kind {
        match record.level() {
            Level::Debug | Level::Trace => Kind::Detail,
            _ if is_of("p2p_node", record.target()) => Kind::Own,
            _ => Kind::Dependency,
        }
    }

    const fn of_place(self) -> Capacity {
        match self {
            Kind::Dependency => lines(10, 2),
            Kind::Own => lines(600, 100),
            Kind::Detail => lines(2_000, 2_000),
        }
    }

    const fn of_all(self) -> Capacity {
        match self {
            Kind::Dependency => lines(100, 20),
            Kind::Own => lines(1_200, 200),
            Kind::Detail => lines(20_000, 20_000),
        }
    }
}

/// Returns whether a target is a crate or module, or one inside it.
pub(super) fn is_of(module: &str, target: &str) -> bool {
    let rest = target.strip_prefix(module);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What was suppressed at one place, to be told when it is silent afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suppressed {
    /// The target of the lines.
    pub(super) target: Box<str>,
    /// Their level.
    pub(super) level: Level,
    /// How many they were.
    pub(super) lines: u64,
}

/// A place in the code that logs.
#[derive(Debug)]
struct Place {
    bucket: Bucket,
    kind: Kind,
    /// Set while lines of it are suppressed that nobody has been told of.
    suppressed: Option<Suppressed>,
}

impl Place {
    fn new(kind: Kind, now: Instant) -> Place {
        Place {
            bucket: Bucket::full(kind.of_place(), now),
            kind,
            suppressed: None,
        }
    }

    fn is_open(&mut self, now: Instant) -> bool {
        self.bucket.refill(self.kind.of_place(), now);
        self.bucket.level() >= LINE
    }
}

/// All limits of the process. The time is an argument.
#[derive(Debug)]
pub(super) struct Limit {
    places: HashMap<u64, Place>,
    all: [Bucket; 3],
    /// Where lines wait to be told of, so that not every place is looked at for it.
    waiting: usize,
}

impl Limit {
    pub(super) fn new(now: Instant) -> Limit {
        let all = |kind: Kind| Bucket::full(kind.of_all(), now);
        Limit {
            // Nothing is allocated for a line but when it is the first of its place.
            places: HashMap::with_capacity(MAX_PLACES),
            all: [all(Kind::Dependency), all(Kind::Own), all(Kind::Detail)],
            waiting: 0,
        }
    }

    /// Returns whether to write a line, and how many of its place were suppressed since
    /// the last one. `None` means that this one is suppressed.
    pub(super) fn allow(&mut self, record: &Record<'_>, now: Instant) -> Option<u64> {
        let target = record.target();
        if target == panic::TARGET || HOME.iter().any(|room| is_of(room, target)) {
            return Some(0);
        }
        let kind = Kind::of(record);
        let total = match kind {
            Kind::Own if record.level() == Level::Error => None,
            kind => Some(&mut self.all[kind as usize]),
        };
        let mut key = place_of(record);
        if self.places.len() >= MAX_PLACES && !self.places.contains_key(&key) {
            // The place of all that there are too many of, by kind.
            key = kind as u64;
        }
        let new = || Place::new(kind, now);
        let place = self.places.entry(key).or_insert_with(new);
        let mut open = place.is_open(now);
        if let Some(total) = total {
            total.refill(kind.of_all(), now);
            open &= total.level() >= LINE;
            if open {
                total.take(LINE);
            }
        }
        if open {
            place.bucket.take(LINE);
            let told = place.suppressed.take();
            self.waiting -= usize::from(told.is_some());
            return Some(told.map_or(0, |told| told.lines));
        }
        if let Some(suppressed) = &mut place.suppressed {
            suppressed.lines += 1;
        } else {
            self.waiting += 1;
            place.suppressed = Some(Suppressed {
                target: target.into(),
                level: record.level(),
                lines: 1,
            });
        }
        None
    }

    /// Returns what was suppressed at places that may write again but did not.
    pub(super) fn take_suppressed(&mut self, now: Instant) -> Vec<Suppressed> {
        if self.waiting == 0 {
            return Vec::new();
        }
        let mut told = Vec::new();
        for place in self.places.values_mut() {
            if place.suppressed.is_some() && place.is_open(now) {
                place.bucket.take(LINE);
                told.extend(place.suppressed.take());
            }
        }
        self.waiting -= told.len();
        told
    }
}

/// Returns a number for the place that a record comes from: target, level and the line of
/// source, or the text if that is fixed and the line is unknown.
fn place_of(record: &Record<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    record.target().hash(&mut hasher);
    record.level().hash(&mut hasher);
    match (record.file(), record.line()) {
        (Some(file), Some(line)) => (file, line).hash(&mut hasher),
        _ => record.args().as_str().hash(&mut hasher),
    }
    hasher.finish()
}

static COUNTERS: OnceLock<IntCounterVec> = OnceLock::new();

const KINDS: [&str; 2] = ["dependency", "own"];

/// Returns the number of suppressed lines by kind. There is one logger in a process, so
/// every registry shows the same.
pub(crate) fn counters() -> Result<IntCounterVec, Error> {
    if let Some(counters) = COUNTERS.get() {
        return Ok(counters.clone());
    }
    let help = "Lines of the log that were suppressed since start because there were too many of their sort, by kind: dependency or own.";
    let counters = IntCounterVec::new(Opts::new("p2p_log_suppressed_total", help), &["kind"])?;
    touch(&counters, KINDS);
    Ok(COUNTERS.get_or_init(|| counters).clone())
}

/// Counts a line that was suppressed.
pub(super) fn count(record: &Record<'_>) {
    let own = is_of("p2p_node", record.target());
    if let Some(counters) = COUNTERS.get() {
        let kind = KINDS[usize::from(own)];
        counters.with_label_values(&[kind]).inc();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ask(limit: &mut Limit, level: Level, target: &str, line: u32, now: Instant) -> Option<u64> {
        let mut record = Record::builder();
        record.level(level).target(target);
        record.file(Some("x.rs")).line(Some(line));
        limit.allow(&record.args(format_args!("text")).build(), now)
    }

    #[test]
    fn a_flood_from_one_place_of_a_dependency_is_ten_lines_and_one_each_five_seconds() {
        let t = Instant::now();
        let mut limit = Limit::new(t);
        let mut yamux = |now| ask(&mut limit, Level::Error, "yamux::connection", 7, now);
        let written = (0..100_000).filter(|_| yamux(t) == Some(0)).count();
        assert_eq!(written, 10);
        assert_eq!(yamux(t + 5 * SECOND - Duration::from_nanos(1)), None);
        assert_eq!(yamux(t + 5 * SECOND), Some(99_991));
        assert_eq!(yamux(t + 5 * SECOND), None);
        assert_eq!(yamux(t + 10 * SECOND), Some(1));
        // Another place, level or target has a bucket of its own.
        for (level, target, line) in [
            (Level::Error, "yamux::connection", 8),
            (Level::Warn, "yamux::connection", 7),
            (Level::Error, "yamux::frame", 7),
        ] {
            assert_eq!(
                ask(&mut limit, level, target, line, t + 10 * SECOND),
                Some(0)
            );
        }
    }

    #[test]
    fn places_without_a_line_of_source_are_told_apart_by_their_text() {
        let t = Instant::now();
        let mut limit = Limit::new(t);
        let mut ask = |args| {
            let mut record = Record::builder();
            record.level(Level::Warn).target("x");
            (0..20)
                .filter(|_| limit.allow(&record.args(args).build(), t).is_some())
                .count()
        };
        assert_eq!(ask(format_args!("one")), 10);
        assert_eq!(ask(format_args!("two")), 10);
        assert_eq!(ask(format_args!("one")), 0);
    }

    #[test]
    fn all_dependencies_together_cannot_silence_this_program() {
        let t = Instant::now();
        let mut limit = Limit::new(t);
        let mut flood = |now| {
            let ask = |n| ask(&mut limit, Level::Warn, "libp2p_x", n, now);
            (0..5_000).map(ask).filter(Option::is_some).count()
        };
        assert_eq!(flood(t), 100);
        assert_eq!(flood(t), 0);
        assert_eq!(flood(t + 10 * SECOND), 20);
        assert_eq!(limit.places.len(), MAX_PLACES + 1, "and one for the others");
        let now = t + 10 * SECOND;
        assert_eq!(
            ask(&mut limit, Level::Info, "p2p_node::node", 1, now),
            Some(0)
        );
        assert_eq!(ask(&mut limit, Level::Debug, "libp2p_x", 1, now), Some(0));
    }

    #[test]
    fn what_only_this_host_causes_is_never_lost() {
        let t = Instant::now();
        let mut limit = Limit::new(t);
        let mut count = |level, target: &str, places: u32| {
            let ask = |n| ask(&mut limit, level, target, n % places, t);
            (0..10_000).map(ask).filter(Option::is_some).count()
        };
        assert_eq!(count(Level::Info, "p2p_node::node::x", 1), 600);
        assert_eq!(count(Level::Info, "p2p_node::node::x", 9), 600);
        assert_eq!(count(Level::Warn, "p2p_node::node::x", 1), 0);
        for room in ["p2p_node::daemon", "p2p_node::config::x", panic::TARGET] {
            assert_eq!(count(Level::Info, room, 1), 10_000);
        }
        // No module of another name, and no crate that calls itself so.
        assert_eq!(count(Level::Info, "p2p_node::daemonic", 1), 0);
        assert_eq!(count(Level::Info, "p2p_nodes", 1), 10);
        assert_eq!(count(Level::Error, "p2p_node::store", 1), 600);
        assert_eq!(count(Level::Error, "p2p_node::node", 1), 600);
    }

    #[test]
    fn what_was_suppressed_is_told_although_nothing_follows() {
        let t = Instant::now();
        let mut limit = Limit::new(t);
        for _ in 0..25 {
            let _ = ask(&mut limit, Level::Warn, "rustls::x", 1, t);
        }
        assert_eq!(limit.take_suppressed(t), []);
        let told = Suppressed {
            target: "rustls::x".into(),
            level: Level::Warn,
            lines: 15,
        };
        assert_eq!(limit.take_suppressed(t + 5 * SECOND), [told]);
        assert_eq!(limit.take_suppressed(t + 50 * SECOND), []);
        assert_eq!(limit.waiting, 0);
        assert_eq!(
            ask(&mut limit, Level::Warn, "rustls::x", 1, t + 50 * SECOND),
            Some(0)
        );
    }
}
