//! Points in time as whole milliseconds since 1970, which are used on wires and in tables
//! on disk.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::duration::millis;

/// Returns milliseconds since 1970. An earlier point in time becomes 0.
pub fn unix_millis(t: SystemTime) -> u64 {
    t.duration_since(UNIX_EPOCH).map_or(0, millis)
}

/// Returns the inverse of [`unix_millis`]. A point in time that the system's clock cannot
/// express becomes 1970.
pub fn from_unix_millis(ms: u64) -> SystemTime {
    UNIX_EPOCH
        .checked_add(Duration::from_millis(ms))
        .unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_come_back_and_strange_ones_are_bounded() {
        let point = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        assert_eq!(from_unix_millis(unix_millis(point)), point);
        assert_eq!(unix_millis(UNIX_EPOCH - Duration::from_secs(1)), 0);
    }
}
