//! Logs on stderr, in the format that their reader needs.
//!
//! | format | for | a line |
//! |---|---|---|
//! | `journal` | journald, which adds time and unit | `<6>p2p_node::node: connected peer=12D3…` |
//! | `text` | a person | `2026-01-31T12:00:00.000Z INFO  p2p_node::node: connected peer=12D3…` |
//! | `json` | Loki, ELK | `{"ts":"…","level":"info","target":"…","msg":"connected","peer":"12D3…"}` |
//!
//! The journal's priorities are those of syslog: 3 for an error, 4 for a warning, 6 for
//! info, 7 for debug and trace, and 2 (critical) for a panic. So
//! `journalctl -p err -u p2p-node` shows what somebody has to act on.
//!
//! # Levels
//!
//! | level | who can cause it | meaning |
//! |---|---|---|
//! | error | this host | somebody has to act |
//! | warn | this host, a dependency, or a remote, throttled | somebody should look |
//! | info | this host, or a remote, throttled | events in the life of the node: a few lines an hour |
//! | debug | anybody | each connection, query and refusal |
//!
//! # Fields
//!
//! | field | content |
//! |---|---|
//! | `peer` | the peer id of the remote; in the line `ready`, that of this node |
//! | `address` | the multiaddr, or IP address, that the line is about |
//! | `protocol` | the transport of a connection (`tcp`, `quic`, `ws`, `relay`), or else the protocol of a stream or query |
//! | `direction` | `in` or `out` |
//! | `duration_ms` | how long something took, or lasted, in whole milliseconds |
//! | `error` | why something failed, with its causes, on one line |
//! | `limit` | the variable, or the number, that refused something |
//! | `suppressed` | the number of lines of this cause that were suppressed since the last one |
//! | `topic`, `cid`, `path`, `subnet` | what the line is about |
//! | `reason` | an operator's words, or those of a ban |
//!
//! A record is always one line: control characters are escaped, because messages contain
//! names that a remote chose, and a line break in one of them would forge a record.
//!
//! # Bounds
//!
//! What this program logs about remotes is written at most once a minute for each cause:
//! [`super::throttle::Throttle`]. Below that, the logger bounds the lines of every place
//! in the code of every crate (`limit`), and an error of a dependency is no error here
//! (`lowered`). A line `12 similar lines suppressed` stands for those that are missing.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use env_logger::{Builder, Logger, Target, WriteStyle};
use log::{
    Level, LevelFilter, Log, Record,
    kv::{self, Key, Value, VisitSource},
};
use nix::sys::stat::fstat;

use self::limit::Limit;
use self::lowered::Lowered;
use crate::config::LogFormat;
use crate::text::foreign::push_printable;

/// Modules of other crates that log at `info` what only their authors need. Their lines
/// appear if `RUST_LOG` asks for more than a plain level up to `info`.
const NOISY: [&str; 9] = [
    // It logs every span of every connection, through tracing's bridge to log.
    "tracing",
    "quinn",
    "quinn_proto",
    "quinn_udp",
    "netlink_proto",
    "hickory_resolver",
    "hickory_net",
    "libp2p_core",
    "libp2p_swarm",
];

/// The longest message or value in a line, in bytes. A remote's text is cut before a
/// journal would refuse the line (48 KiB) or a disk fills up.
const MAX_TEXT: usize = 4096;

/// The kind of stderr, so that a format can be chosen without the real one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stderr {
    terminal: bool,
    journal: bool,
    no_color: bool,
}

impl Stderr {
    fn look() -> Self {
        let journal = std::env::var("JOURNAL_STREAM").is_ok_and(|stream| {
            fstat(io::stderr()).is_ok_and(|stat| is_stream(&stream, stat.st_dev, stat.st_ino))
        });
        Stderr {
            terminal: io::stderr().is_terminal(),
            journal,
            no_color: std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()),
        }
    }
}

/// Returns whether `JOURNAL_STREAM` (`device:inode`) is this file (systemd.exec(5)).
fn is_stream(stream: &str, dev: u64, ino: u64) -> bool {
    stream
        .split_once(':')
        .is_some_and(|(d, i)| d.parse() == Ok(dev) && i.parse() == Ok(ino))
}

/// The form in which lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Journal,
    Text { colors: bool },
    Json,
}

impl Form {
    fn choose(format: LogFormat, stderr: Stderr) -> Self {
        match format {
            LogFormat::Journal => Form::Journal,
            LogFormat::Json => Form::Json,
            LogFormat::Auto if stderr.journal => Form::Journal,
            LogFormat::Auto if !stderr.terminal => Form::Json,
            LogFormat::Auto | LogFormat::Text => Form::Text {
                colors: stderr.terminal && !stderr.no_color,
            },
        }
    }
}

/// Returns whether journald reads this process's stderr.
pub fn to_journal() -> bool {
    Stderr::look().journal
}

/// Sends the logs of the whole process to stderr. `filter` is `RUST_LOG` in env_logger's
/// syntax; an empty one means `info`.
///
/// # Errors
/// Fails if another logger was installed before.
pub fn init(format: LogFormat, filter: &str) -> Result<(), log::SetLoggerError> {
    let form = Form::choose(format, Stderr::look());
    let logger = logger(form, filter);
    let level = logger.filter();
    let lowered = Lowered::unless_named(filter);
    let swap = INSTALLED.get_or_init(|| Swap {
        form,
        current: RwLock::new(Arc::new(Filtered { logger, lowered })),
        limit: Mutex::new(Limit::new(Instant::now())),
    });
    log::set_logger(swap)?;
    log::set_max_level(level);
    panic::tell_in(form);
    Ok(())
}

/// Changes the filter from now on, in the form that [`init`] chose. Before that, nothing
/// happens.
pub fn set_filter(filter: &str) {
    let Some(swap) = INSTALLED.get() else { return };
    let logger = logger(swap.form, filter);
    let level = logger.filter();
    let lowered = Lowered::unless_named(filter);
    let held = swap.current.write();
    *held.unwrap_or_else(PoisonError::into_inner) = Arc::new(Filtered { logger, lowered });
    log::set_max_level(level);
}

/// Writes how many lines were suppressed at places that could write again and had nothing
/// to write. It is for a task that calls it now and then.
pub fn tell_suppressed() {
    let Some(swap) = INSTALLED.get() else { return };
    let told = swap.limit().take_suppressed(Instant::now());
    for what in told {
        swap.current().tell(what.level, &what.target, what.lines);
    }
}

/// The logger of the process, whose filter can change.
struct Swap {
    form: Form,
    current: RwLock<Arc<Filtered>>,
    limit: Mutex<Limit>,
}

/// A logger with its filter, and the levels that count as others before it.
struct Filtered {
    logger: Logger,
    lowered: Lowered,
}

impl Filtered {
    /// Writes how many lines are missing before this one.
    fn tell(&self, level: Level, target: &str, lines: u64) {
        self.logger.log(
            &Record::builder()
                .level(level)
                .target(target)
                .args(format_args!("{lines} similar lines suppressed"))
                .build(),
        );
    }
}

static INSTALLED: OnceLock<Swap> = OnceLock::new();

impl Swap {
    /// Returns the current logger. No lock is held while a line is written, since
    /// standard error can be slow.
    fn current(&self) -> Arc<Filtered> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn limit(&self) -> MutexGuard<'_, Limit> {
        // The limits are valid between any two statements.
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, current: &Filtered, record: &Record<'_>) {
        if !current.logger.matches(record) {
            return;
        }
        let allowed = self.limit().allow(record, Instant::now());
        match allowed {
            Some(suppressed) => {
                if suppressed > 0 {
                    current.tell(record.level(), record.target(), suppressed);
                }
                current.logger.log(record);
            }
            None => limit::count(record),
        }
    }
}

impl Log for Swap {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        let current = self.current();
        let level = current.lowered.level(metadata);
        let lowered = log::Metadata::builder()
            .level(level)
            .target(metadata.target())
            .build();
        current.logger.enabled(&lowered)
    }

    fn log(&self, record: &Record<'_>) {
        let current = self.current();
        let level = current.lowered.level(record.metadata());
        if level == record.level() {
            self.write(&current, record);
        } else {
            let lowered = record.to_builder().level(level).build();
            self.write(&current, &lowered);
        }
    }

    fn flush(&self) {
        self.current().logger.flush();
    }
}

fn logger(form: Form, filter: &str) -> Logger {
    let mut builder = Builder::new();
    builder
        .target(Target::Stderr)
        .write_style(WriteStyle::Never);
    for (module, level) in filters(filter) {
        builder.filter(module, level);
    }
    if !filter.is_empty() {
        builder.parse_filters(filter);
    }
    builder
        .format(move |out, record| out.write_all(line(form, record, SystemTime::now()).as_bytes()));
    builder.build()
}

/// Returns the directives that come before those of `RUST_LOG`.
fn filters(filter: &str) -> Vec<(Option<&'static str>, LevelFilter)> {
    let level = if filter.is_empty() {
        Ok(LevelFilter::Info)
    } else {
        filter.trim().parse()
    };
    match level {
        Ok(level) if level <= LevelFilter::Info => {
            let quiet = level.min(LevelFilter::Warn);
            std::iter::once((None, level))
                .chain(NOISY.iter().map(|module| (Some(*module), quiet)))
                .collect()
        }
        // A user that names modules or asks for debug gets exactly that.
        _ => Vec::new(),
    }
}

/// Returns one record as one line, with its line break.
fn line(form: Form, record: &Record<'_>, now: SystemTime) -> String {
    let mut line = match form {
        Form::Json => json_line(record, now),
        Form::Journal => {
            // A panic is worse than any error, and the log crate has no level for it.
            let priority = match record.target() {
                panic::TARGET => panic::PRIORITY,
                _ => priority(record.level()),
            };
            let mut line = format!("<{priority}>{}: ", record.target());
            text_body(&mut line, record);
            line
        }
        Form::Text { colors } => {
            let (on, off) = if colors {
                (color(record.level()), "\x1b[0m")
            } else {
                ("", "")
            };
            let level = record.level().as_str();
            let mut line = format!(
                "{} {on}{level:<5}{off} {}: ",
                timestamp(now),
                record.target()
            );
            text_body(&mut line, record);
            line
        }
    };
    line.push('\n');
    line
}

/// Returns the syslog priority that sd-daemon(3) expects at the beginning of a line.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

fn color(level: Level) -> &'static str {
    match level {
        Level::Error => "\x1b[31m",
        Level::Warn => "\x1b[33m",
        Level::Info => "\x1b[32m",
        Level::Debug => "\x1b[34m",
        Level::Trace => "\x1b[2m",
    }
}

fn text_body(line: &mut String, record: &Record<'_>) {
    push_printable(line, cut(&record.args().to_string()));
    let mut values = TextValues(line);
    // Values are only formatted, which cannot fail.
    let _ = record.key_values().visit(&mut values);
}

/// Returns at most [`MAX_TEXT`] bytes of `text`, in whole characters.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Formats `key=value`, with quotes if it could be misread.
struct TextValues<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for TextValues<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let value = value.to_string();
        let value = cut(&value);
        self.0.push(' ');
        push_printable(self.0, key.as_str());
        self.0.push('=');
        let plain = !value.is_empty()
            && !value
                .contains(|c: char| c.is_whitespace() || c.is_control() || "\"\\=".contains(c));
        if plain {
            push_printable(self.0, value);
        } else {
            self.0.push('"');
            push_printable(self.0, &value.replace('\\', "\\\\").replace('"', "\\\""));
            self.0.push('"');
        }
        Ok(())
    }
}

fn json_line(record: &Record<'_>, now: SystemTime) -> String {
    let mut values = JsonValues(serde_json::Map::new());
    let _ = record.key_values().visit(&mut values);
    // The line is built by hand, because a map would sort the fields that people look at
    // first.
    let mut line = format!(
        "{{\"ts\":\"{}\",\"level\":\"{}\",\"target\":{},\"msg\":{}",
        timestamp(now),
        record.level().as_str().to_ascii_lowercase(),
        serde_json::Value::from(record.target()),
        serde_json::Value::from(cut(&record.args().to_string())),
    );
    for (key, value) in values.0 {
        let _ = write!(line, ",{}:{value}", serde_json::Value::from(key));
    }
    line.push('}');
    line
}

struct JsonValues(serde_json::Map<String, serde_json::Value>);

impl<'kvs> VisitSource<'kvs> for JsonValues {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let mut key = key.to_string();
        if matches!(key.as_str(), "ts" | "level" | "target" | "msg") {
            key.push('_');
        }
        let value = if let Some(n) = value.to_u64() {
            n.into()
        } else if let Some(n) = value.to_i64() {
            n.into()
        } else if let Some(n) = value.to_f64() {
            n.into()
        } else if let Some(b) = value.to_bool() {
            b.into()
        } else {
            cut(&value.to_string()).into()
        };
        self.0.insert(key, value);
        Ok(())
    }
}

/// Returns the time as RFC 3339 in UTC, with milliseconds.
fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let millis = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Returns the year, month and day of a day that is counted from 1970-01-01. It counts in
/// eras of 400 years that begin on a 1st of March, so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

pub(crate) mod limit;
mod lowered;
mod panic;
#[cfg(test)]
mod tests;
