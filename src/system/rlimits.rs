//! How many files and sockets the process may have open.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The limits of open descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// The number that was allowed before.
    pub before: u64,
    /// The number that is allowed now.
    pub now: u64,
}

/// Raises the soft limit of open descriptors to the hard limit. The soft limit is small
/// (1,024) only for programs that use select(2). A limit that cannot be raised stays as
/// it is.
///
/// # Errors
/// Fails if the limits cannot be read.
pub fn raise_descriptors() -> io::Result<Descriptors> {
    let (before, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if before >= hard || setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_err() {
        return Ok(Descriptors {
            before,
            now: before,
        });
    }
    Ok(Descriptors { before, now: hard })
}

/// Returns how many descriptors this process may have open now.
///
/// # Errors
/// Fails if the limit cannot be read.
pub fn descriptors() -> io::Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

/// Returns how many descriptors this process has open.
///
/// # Errors
/// Fails if `/proc/self/fd` cannot be read.
pub fn open_descriptors() -> io::Result<u64> {
    // Since version 6.2, Linux gives the number as the size of this folder, and before
    // that it gives 0. To list the folder takes a look-up for each descriptor. Done once
    // a second with 400 connections, this took some 8% of the CPU time of an idle node.
    match std::fs::metadata(OPEN)?.len() {
        0 => listed_descriptors(),
        count => Ok(count),
    }
}

/// A folder with an entry for each descriptor.
const OPEN: &str = "/proc/self/fd";

fn listed_descriptors() -> io::Result<u64> {
    // The descriptor that reads the folder is in the list too, and is closed afterwards.
    let count = std::fs::read_dir(OPEN)?.count() as u64;
    Ok(count.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let raised = raise_descriptors().unwrap();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!((raised.now, soft), (hard, hard));
        assert!(raised.before <= raised.now);
        assert_eq!(
            raise_descriptors().unwrap(),
            Descriptors {
                before: hard,
                now: hard
            }
        );
    }

    #[test]
    fn the_number_of_open_descriptors_is_that_of_their_list() {
        let files: Vec<_> = (0..500)
            .map(|_| std::fs::File::open("/dev/null").unwrap())
            .collect();
        let (told, listed) = (open_descriptors().unwrap(), listed_descriptors().unwrap());
        // In the meantime, other tests in this process open and close some.
        assert!(told.abs_diff(listed) < 250, "{told}, {listed}");
        assert!(told >= 500 && listed >= 500, "{told}, {listed}");
        drop(files);
    }
}
