//! The disk to which a daemon would write.

use std::path::Path;

use crate::diag::finding::{Finding, Severity};
use crate::diag::thresholds;
use crate::text::size;

/// Checks whether there is room on the disk to which a daemon would write.
pub fn disk(path: &Path, free: u64, total: u64) -> Finding {
    const CHECK: &str = "disk";
    let said = format!(
        "{} of {} free for {}",
        size::show(free),
        size::show(total),
        path.display()
    );
    if free < thresholds::DISK_LEAST {
        return Finding::new(
            CHECK,
            Severity::Problem,
            said,
            "make room: the daemon cannot open its database on a full disk",
        );
    }
    Finding::ok(CHECK, said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_a_problem() {
        let least = thresholds::DISK_LEAST;
        assert_eq!(disk(Path::new("/"), least, 1 << 40).severity, Severity::Ok);
        assert_eq!(
            disk(Path::new("/"), least - 1, 1 << 40).severity,
            Severity::Problem
        );
    }
}
