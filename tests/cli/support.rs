//! Runs the binary in an environment of its own and gathers what it says.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{PROGRAM, Process};

/// A valid CID, of `hello\n` as one raw leaf, and a valid peer id.
pub(crate) const CID: &str = "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am";
pub(crate) const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    /// The exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Said {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Asserts the exit code and exactly one line on standard error that holds
    /// every one of `parts`; nothing on standard output.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
        self.tells(parts);
    }

    #[track_caller]
    pub(crate) fn tells(&self, parts: &[&str]) {
        assert!(self.stderr.starts_with("p2p-node: "), "{self:?}");
        assert_eq!(self.stderr.matches('\n').count(), 1, "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in {self:?}");
        }
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.stderr, "", "{self:?}");
        self
    }
}

/// The binary with a clean environment whose home is `home`.
pub(crate) fn node(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .env_clear()
        .env("HOME", home)
        .env("P2P_DATA_DIR", home.join("data"))
        .current_dir(home)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a command to its end.
#[track_caller]
pub(crate) fn run(mut command: Command) -> Said {
    finish(Process::spawn(&mut command))
}

/// Runs `p2p-node` with `args` to its end.
#[track_caller]
pub(crate) fn p2p(home: &Path, args: &[&str]) -> Said {
    run(node(home, args))
}

/// Waits for the end of a process and gathers what it said.
#[track_caller]
pub(crate) fn finish(process: Process) -> Said {
    let output = process.output();
    Said {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Names in a folder, sorted.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
