//! The processor time that the process has used, and the free space on its disk.

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::statvfs::statvfs;
use nix::sys::time::TimeVal;

/// The space on a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// The space that is free for this user.
    pub free: u64,
    /// The size of the file system.
    pub total: u64,
}

/// Returns the space on the file system of `path`.
///
/// # Errors
/// Fails if the file system of `path` cannot be examined.
pub fn disk(path: &Path) -> io::Result<Space> {
    let vfs = statvfs(path)?;
    let unit: u64 = vfs.fragment_size();
    Ok(Space {
        free: vfs.blocks_available().saturating_mul(unit),
        total: vfs.blocks().saturating_mul(unit),
    })
}

/// Returns the processor time that this process has used, in user and kernel mode
/// together.
///
/// # Errors
/// Fails if the system does not report it.
pub fn cpu_time() -> io::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let duration = |t: TimeVal| {
        let part = |n: i64| u64::try_from(n).unwrap_or(0);
        Duration::from_secs(part(t.tv_sec())) + Duration::from_micros(part(t.tv_usec()))
    };
    Ok(duration(usage.user_time()) + duration(usage.system_time()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_room_and_a_missing_folder_has_none() {
        let space = disk(Path::new("/")).unwrap();
        assert!(space.total > 1 << 20 && space.free <= space.total);
        assert!(disk(Path::new("/no/such/folder")).is_err());
    }

    #[test]
    fn time_used_grows_with_work() {
        let before = cpu_time().unwrap();
        let mut sum = 0u64;
        while cpu_time().unwrap() < before + Duration::from_millis(5) {
            sum = sum.wrapping_mul(31).wrapping_add(1);
        }
        assert!(cpu_time().unwrap() > before, "{sum}");
    }
}
