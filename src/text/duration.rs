//! Lengths of time, written for people.

use std::time::{Duration, SystemTime};

/// Returns the two largest units that matter: `3d 4h`, `2m 5s`, `850ms`. The second unit
/// is left out when it is zero: `5m`.
pub fn show(d: Duration) -> String {
    let s = d.as_secs();
    let two = |large: u64, unit: &str, small: u64, lesser: &str| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit} {small}{lesser}"),
    };
    match s {
        0 => match d.as_micros() {
            0 => "0s".into(),
            us if us >= 10_000 => format!("{}ms", us / 1000),
            us if us >= 1_000 => format!("{}.{}ms", us / 1000, us % 1000 / 100),
            us => format!("{us}µs"),
        },
        1..60 => format!("{s}s"),
        60..3600 => two(s / 60, "m", s % 60, "s"),
        3600..86_400 => two(s / 3600, "h", s % 3600 / 60, "m"),
        _ => two(s / 86_400, "d", s % 86_400 / 3600, "h"),
    }
}

/// Returns whole milliseconds, which are used on wires, in logs and in tables on disk. A
/// time that is too long for them becomes the maximum.
pub fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// Returns how far `point` is ahead of `now`: `in 5m`, or `passed`.
pub fn until(point: SystemTime, now: SystemTime) -> String {
    match point.duration_since(now) {
        Ok(ahead) => format!("in {}", show(ahead)),
        Err(_) => "passed".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let ms = Duration::from_millis;
        assert_eq!(show(Duration::ZERO), "0s");
        assert_eq!(show(Duration::from_micros(250)), "250µs");
        assert_eq!(show(Duration::from_micros(1_260)), "1.2ms");
        assert_eq!(show(ms(999)), "999ms");
        assert_eq!(show(ms(59_999)), "59s");
        assert_eq!(show(ms(125_000)), "2m 5s");
        assert_eq!(show(ms(7_260_000)), "2h 1m");
        assert_eq!(show(Duration::from_secs(273_600)), "3d 4h");
        assert_eq!(show(Duration::from_secs(300)), "5m");
        assert_eq!(show(Duration::from_secs(172_830)), "2d");
        assert_eq!(millis(Duration::MAX), u64::MAX);
    }

    #[test]
    fn a_point_in_the_past_has_passed() {
        let now = SystemTime::now();
        assert_eq!(until(now + Duration::from_secs(300), now), "in 5m");
        assert_eq!(until(now - Duration::from_secs(1), now), "passed");
    }
}
