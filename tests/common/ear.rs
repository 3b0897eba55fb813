//! A program that hears a topic at a daemon, as `subscribe` prints it to a file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::common::Daemon;

/// See the module's documentation; ended when dropped.
pub(crate) struct Ear {
    child: Child,
    heard: PathBuf,
}

impl Ear {
    pub(crate) fn at(daemon: &Daemon, topic: &str, heard: &Path) -> Ear {
        let child = daemon
            .command(&["subscribe", topic])
            .stdout(File::create(heard).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Ear {
            child,
            heard: heard.to_owned(),
        }
    }

    /// How many lines with this text have come.
    pub(crate) fn count(&self, text: &str) -> usize {
        let heard = std::fs::read_to_string(&self.heard).unwrap_or_default();
        heard.lines().filter(|line| line.contains(text)).count()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
