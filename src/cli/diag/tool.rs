//! A program of the system, run for its answer within bounded time.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// systemd's tools answer in milliseconds, or hang with a bus that does.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of an answer that are kept.
const MOST: u64 = 1 << 20;

/// What `program` prints when it succeeds within bounded time; `None` when there
/// is no such program, or it fails, or it takes longer.
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
