//! Runs a program of the system for a limited time and returns its output.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long a program may take. systemd's tools answer in milliseconds, unless the bus
/// hangs; then they hang too.
const PATIENCE: Duration = Duration::from_secs(5);

/// The maximum number of bytes of the output that are kept.
const MOST: u64 = 1 << 20;

/// Returns what `program` prints when it succeeds within [`PATIENCE`], and `None` when
/// there is no such program, it fails, or it takes longer.
pub(super) fn ask(program: &str, args: &[&str]) -> Option<String> {
    let mut child = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let stdout = child.stdout.take()?;
    let (done, answer) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = stdout.take(MOST).read_to_end(&mut text);
        let _ = done.send(read.map(|_| text));
    });
    let text = answer.recv_timeout(PATIENCE);
    if !matches!(text, Ok(Ok(_))) {
        let _ = child.kill();
    }
    let status = child.wait().ok()?;
    let text = text.ok()?.ok()?;
    status
        .success()
        .then(|| String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_when_the_program_succeeds() {
        assert_eq!(ask("echo", &["hi"]).as_deref(), Some("hi\n"));
        assert_eq!(ask("false", &[]), None);
        assert_eq!(ask("no-such-program-anywhere", &[]), None);
    }
}
