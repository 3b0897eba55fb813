//! Sizes, and rates in bytes a second.

use super::{Parsed, digits_and_unit, in_range};

/// Parses a size within `min..=max`: bytes, or a whole number and a unit of 1024 (`KiB`,
/// `MiB`, `GiB`, `TiB`) or 1000 (`kB`, `MB`, `GB`, `TB`).
pub(in crate::config) fn size(text: &str, min: u64, max: u64) -> Parsed<u64> {
    let (n, unit) = digits_and_unit(text)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(format!("unknown unit {unit:?}")),
    };
    let bytes = n.checked_mul(factor).ok_or("the number is too large")?;
    in_range(bytes, min, max, show_size)
}

/// Returns the shortest form that [`size`] parses to the same value.
pub(in crate::config) fn show_size(bytes: u64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Parses bytes a second. `unlimited` and an empty text mean no ceiling.
pub(in crate::config) fn rate(text: &str) -> Parsed<Option<u64>> {
    if text.is_empty() || text == "unlimited" {
        return Ok(None);
    }
    // Less than 16 KiB a second is not even enough for the handshakes of a few peers.
    size(text.strip_suffix("/s").unwrap_or(text), 16 << 10, u64::MAX).map(Some)
}

pub(in crate::config) fn show_rate(rate: Option<u64>) -> String {
    rate.map_or_else(|| "unlimited".into(), show_size)
}
