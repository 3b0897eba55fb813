//! Sizes, durations and text of remotes, for people.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use libp2p::Multiaddr;

/// `1.5 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would be shown as 1024 is one of the next unit.
    while value >= 1023.95 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

/// The two largest units that matter: `3d 4h`, `2m 5s`, `850ms`.
pub(crate) fn duration(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0 => match d.as_micros() {
            us if us >= 10_000 => format!("{}ms", us / 1000),
            us if us >= 1_000 => format!("{}.{}ms", us / 1000, us % 1000 / 100),
            us => format!("{us}µs"),
        },
        1..60 => format!("{s}s"),
        60..3600 => format!("{}m {}s", s / 60, s % 60),
        3600..86_400 => format!("{}h {}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d {}h", s / 86_400, s % 86_400 / 3600),
    }
}

/// `1 file waits`, `12 files wait`.
pub(crate) fn files_wait(n: u64) -> String {
    match n {
        1 => "1 file waits".into(),
        n => format!("{n} files wait"),
    }
}

/// A reputation, in whole points; what rounds to nothing has no sign.
pub(crate) fn score(score: f64) -> String {
    format!("{}", score.round() as i64)
}

/// How far a point in time lies ahead of `now`.
pub(crate) fn until(point: SystemTime, now: SystemTime) -> String {
    match point.duration_since(now) {
        Ok(ahead) => format!("in {}", duration(ahead)),
        Err(_) => "passed".into(),
    }
}

/// Unix time in milliseconds, for JSON.
pub(crate) fn unix_ms(point: SystemTime) -> u64 {
    let since = point
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Text that a remote chose, with everything escaped that could steer a terminal
/// or break a line: control characters, and those that turn the direction of
/// writing.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// An address for a terminal. Names in it are free text, and remotes tell them.
pub(crate) fn address(address: &Multiaddr) -> String {
    printable(&address.to_string())
}

/// Columns that a text takes, near enough for what is printed here.
pub(crate) fn width(text: &str) -> usize {
    text.chars().count()
}

/// Bytes as JSON: under `name` when they are text, else as base64 under
/// `name_base64`.
pub(crate) fn bytes_to_json(
    object: &mut serde_json::Map<String, serde_json::Value>,
    name: &str,
    bytes: &[u8],
) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.into(), text.into()),
        Err(_) => {
            use cid::multibase::Base;
            object.insert(
                format!("{name}_base64"),
                Base::Base64Pad.encode(bytes).into(),
            )
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::multiaddr::Protocol;

    #[test]
    fn sizes_and_durations_are_short() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size((1 << 20) - 1), "1.0 MiB");
        assert_eq!(size(10 << 30), "10.0 GiB");
        assert_eq!(size(u64::MAX), "16.0 EiB");
        let ms = Duration::from_millis;
        assert_eq!(duration(Duration::from_micros(250)), "250µs");
        assert_eq!(duration(Duration::from_micros(1_260)), "1.2ms");
        assert_eq!(duration(ms(999)), "999ms");
        assert_eq!(duration(ms(59_999)), "59s");
        assert_eq!((score(-0.4), score(19.6)), ("0".into(), "20".into()));
        assert_eq!(duration(ms(125_000)), "2m 5s");
        assert_eq!(duration(ms(7_260_000)), "2h 1m");
        assert_eq!(duration(Duration::from_secs(273_600)), "3d 4h");
    }

    #[test]
    fn text_of_remotes_cannot_steer_a_terminal() {
        assert_eq!(printable("go/1.0 ü"), "go/1.0 ü");
        assert_eq!(
            printable("a\u{1b}[2J\nb\u{202e}"),
            "a\\u{1b}[2J\\nb\\u{202e}"
        );
    }

    #[test]
    fn addresses_of_remotes_cannot_steer_a_terminal() {
        let hostile = Multiaddr::empty().with(Protocol::Dns4("a\u{1b}[2J".into()));
        assert_eq!(address(&hostile), "/dns4/a\\u{1b}[2J");
    }

    #[test]
    fn bytes_are_text_or_base64() {
        let json = |bytes: &[u8]| {
            let mut object = serde_json::Map::new();
            bytes_to_json(&mut object, "data", bytes);
            serde_json::Value::from(object).to_string()
        };
        assert_eq!(json(b"hi"), r#"{"data":"hi"}"#);
        assert_eq!(
            json(&[0xff, 0xfe, 0xfd, 0xfc]),
            r#"{"data_base64":"//79/A=="}"#
        );
    }
}
