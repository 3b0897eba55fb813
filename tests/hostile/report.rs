//! A row of the table: printed past libtest's capture, so that a run of all
//! tests shows the figures too.

use std::io::Write;

/// Writes one line, whatever libtest captures.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "{line}");
}

/// Says that a test cannot run here.
pub(crate) fn passed_over(why: &str) {
    say(&format!("\nPASSED OVER: {why}"));
}
