//! The times in records of IPNS: RFC 3339, with up to nine digits of a second.

use std::time::{Duration, SystemTime};

/// Reads such a time; `None` when it is none, or lies before 1970.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    let digits = |from: usize, to: usize| -> Option<u64> {
        let part = bytes.get(from..to)?;
        let all = part.iter().all(u8::is_ascii_digit);
        all.then(|| part.iter().fold(0, |n, d| n * 10 + u64::from(d - b'0')))
    };
    let is = |at: usize, mark: u8| bytes.get(at).map(u8::to_ascii_uppercase) == Some(mark);
    if !(is(4, b'-') && is(7, b'-') && is(10, b'T') && is(13, b':') && is(16, b':')) {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    let sound = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !sound || year < 1970 || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = 19;
    let mut nanos = 0;
    if is(at, b'.') {
        let count = bytes[at + 1..].iter().take_while(|b| b.is_ascii_digit());
        let count = count.count();
        if !(1..=9).contains(&count) {
            return None;
        }
        nanos = digits(at + 1, at + 1 + count)? * 10_u64.pow(9 - count as u32);
        at += 1 + count;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let seconds = if is(at, b'Z') && bytes.len() == at + 1 {
        seconds
    } else if (is(at, b'+') || is(at, b'-')) && is(at + 3, b':') && bytes.len() == at + 6 {
        let offset = digits(at + 1, at + 3)? * 3600 + digits(at + 4, at + 6)? * 60;
        match is(at, b'+') {
            true => seconds.checked_sub(offset)?,
            false => seconds + offset,
        }
    } else {
        return None;
    };
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))?
        .checked_add(Duration::from_nanos(nanos))
}

/// The days from 1970 to a day of the Gregorian calendar: those of whole years that begin
/// in March, so that the leap day is the last, and those of the months since then.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let months = (month + 9) % 12;
    let leaps = year / 4 - year / 100 + year / 400;
    // 1970-01-01 is day 719,468 after 0000-03-01.
    (year * 365 + leaps + (153 * months + 2) / 5 + day - 1).saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        let at = |text: &str| {
            let since = parse(text)?.duration_since(SystemTime::UNIX_EPOCH);
            Some(since.unwrap().as_nanos())
        };
        let seconds = |n: u128| Some(n * 1_000_000_000);
        assert_eq!(at("1970-01-01T00:00:00Z"), seconds(0));
        assert_eq!(at("2000-02-29T23:59:59Z"), seconds(951_868_799));
        assert_eq!(at("2026-12-01T01:29:04Z"), seconds(1_796_088_544));
        assert_eq!(at("2026-12-01T03:29:04+02:00"), seconds(1_796_088_544));
        assert_eq!(
            at("2026-12-01T01:29:04.25Z"),
            Some(1_796_088_544_250_000_000)
        );
        assert_eq!(
            at("9999-12-31T23:59:59.999999999Z"),
            Some(253_402_300_799_999_999_999)
        );
        for bad in [
            "",
            "2026-12-01",
            "2026-12-01T01:29:04",
            "2026-13-01T01:29:04Z",
            "2026-12-01T01:29:04.Z",
            "2026-12-01T01:29:04.1234567890Z",
            "1969-12-31T23:59:59Z",
            "2026-12-01T01:29:04Zz",
            "١٢٣٤-12-01T01:29:04Z",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }
}
