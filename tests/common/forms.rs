//! What the program's own logger writes in each of its forms. A process has one
//! logger, so the lines are written by a process of their own: the test program
//! again, which runs one ignored test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's panic is its report"
)]

use std::process::{Command, Stdio};

use p2p_node::config::LogFormat;
use p2p_node::telemetry::logs;

/// Starts the logger in the form that [`written`] has asked for.
pub(crate) fn init(filter: &str) {
    let format = match std::env::var("FORM").unwrap().as_str() {
        "journal" => LogFormat::Journal,
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        other => panic!("{other}"),
    };
    logs::init(format, filter).unwrap();
}

/// What the ignored test of this name writes in this form, line by line, with more
/// variables in its environment.
pub(crate) fn written(test: &str, form: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .arg("--test-threads=1")
        .env("FORM", form)
        .envs(variables.iter().copied())
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    // Split as a reader of log files does. The test harness says nothing here.
    text.lines().map(str::to_owned).collect()
}
