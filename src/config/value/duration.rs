//! Durations.

use std::time::Duration;

use super::{Parsed, digits_and_unit, in_range};

/// Parses a duration within `min..=max`: a whole number and `ms`, `s`, `m`, `h` or `d`.
pub(in crate::config) fn duration(text: &str, min: Duration, max: Duration) -> Parsed<Duration> {
    let (n, unit) = digits_and_unit(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" if n == 0 => 0,
        "" => return Err("the unit is missing".into()),
        _ => return Err(format!("unknown unit {unit:?}")),
    };
    let millis = n.checked_mul(millis).ok_or("the number is too large")?;
    in_range(Duration::from_millis(millis), min, max, show_duration)
}

/// Returns the shortest form that [`duration`] parses to the same value.
pub(in crate::config) fn show_duration(d: Duration) -> String {
    let millis = d.as_millis();
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis >= size && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    if millis == 0 {
        "0s".into()
    } else {
        format!("{millis}ms")
    }
}
