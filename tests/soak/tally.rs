//! What was done and what failed.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

/// Counts of what was done, and the failures in words.
pub(crate) struct Tally {
    begun: Instant,
    done: Mutex<BTreeMap<&'static str, u64>>,
    failed: Mutex<Vec<String>>,
}

impl Tally {
    pub(crate) fn new() -> Tally {
        Tally {
            begun: Instant::now(),
            done: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// One more of these.
    pub(crate) fn did(&self, what: &'static str) {
        *self.done.lock().unwrap().entry(what).or_default() += 1;
    }

    /// This failed; printed at once.
    pub(crate) fn fail(&self, why: String) {
        let why = format!("{:.0} s: {why}", self.begun.elapsed().as_secs_f64());
        println!("FAILED after {why}");
        self.failed.lock().unwrap().push(why);
    }

    /// One more of these, or a failure that says which it was.
    pub(crate) fn note<T, E: std::fmt::Display>(
        &self,
        what: &'static str,
        result: Result<T, E>,
    ) -> Option<T> {
        match result {
            Ok(value) => {
                self.did(what);
                Some(value)
            }
            Err(e) => {
                self.fail(format!("{what}: {e}"));
                None
            }
        }
    }

    pub(crate) fn print(&self) {
        println!("{:?}", self.done.lock().unwrap());
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        self.failed.lock().unwrap().clone()
    }
}
