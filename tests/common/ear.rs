//! A program that subscribes to a topic at a daemon: `subscribe`, which prints to a file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::common::{Daemon, Process};

/// See the module's documentation; ended when dropped.
pub(crate) struct Ear {
    _process: Process,
    heard: PathBuf,
}

impl Ear {
    pub(crate) fn at(daemon: &Daemon, topic: &str, heard: &Path) -> Ear {
        let mut command = daemon.command(&["subscribe", topic]);
        command
            .stdout(File::create(heard).unwrap())
            .stderr(Stdio::null());
        Ear {
            _process: Process::spawn(&mut command),
            heard: heard.to_owned(),
        }
    }

    /// How many lines with this text have come.
    pub(crate) fn count(&self, text: &str) -> usize {
        let heard = std::fs::read_to_string(&self.heard).unwrap_or_default();
        heard.lines().filter(|line| line.contains(text)).count()
    }
}
