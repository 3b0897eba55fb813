//! The environment of this process, to which an environment file can add variables.

use std::ffi::OsStr;

/// Adds variables to the environment of this process, as a service manager would have
/// done before its start. The standard library looks for `RUST_BACKTRACE` there, and
/// others look for `TZ` or `NO_COLOR`. Variables that are set already do not change.
///
/// This works only while the process has a single thread, which is so at the start of
/// `main`. Later, nothing is added, and the function returns `false`.
pub fn adopt<'a>(variables: impl Iterator<Item = (&'a OsStr, &'a OsStr)>) -> bool {
    let alone = std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1);
    if !alone {
        return false;
    }
    for (name, value) in variables {
        if std::env::var_os(name).is_none() {
            // SAFETY: no other thread can read or change the environment at the same
            // time, since there is none.
            #[allow(unsafe_code, reason = "the standard library offers it in no other way")]
            unsafe {
                std::env::set_var(name, value);
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_added_beside_other_threads() {
        // The test's own thread is one of several.
        let name = OsStr::new("ADOPTED_BESIDE_OTHER_THREADS");
        assert!(!adopt([(name, OsStr::new("1"))].into_iter()));
        assert_eq!(std::env::var_os(name), None);
    }
}
