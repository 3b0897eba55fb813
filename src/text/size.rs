//! Bytes, and bytes per second, written for people.

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Returns a number of bytes in the largest unit that fits, with one digit after the
/// point: `1.5 GiB`.
pub fn show(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // A value that would be shown as 1024 is shown as one of the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Returns a number of bytes per second, such as `1.5 MiB/s`.
pub fn show_rate(bytes_a_second: u64) -> String {
    format!("{}/s", show(bytes_a_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(show(0), "0 B");
        assert_eq!(show(1023), "1023 B");
        assert_eq!(show(1536), "1.5 KiB");
        assert_eq!(show((1 << 20) - 1), "1.0 MiB");
        assert_eq!(show(10 << 30), "10.0 GiB");
        assert_eq!(show(u64::MAX), "16.0 EiB");
        assert_eq!(show_rate(3 << 20), "3.0 MiB/s");
    }
}
