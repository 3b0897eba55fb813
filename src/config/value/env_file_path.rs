//! The path of an environment file.

use std::path::PathBuf;

use super::{Parsed, path};

/// The path of an environment file, in the form of `EnvironmentFile=` in a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvFilePath {
    /// The path.
    pub path: PathBuf,
    /// Whether it was written with a `-` in front: then a file that does not exist counts
    /// as empty.
    pub may_be_missing: bool,
}

impl std::fmt::Display for EnvFilePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dash = if self.may_be_missing { "-" } else { "" };
        write!(f, "{dash}{}", self.path.display())
    }
}

pub(in crate::config) fn env_file(text: &str) -> Parsed<EnvFilePath> {
    let (may_be_missing, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    Ok(EnvFilePath {
        path: path(rest)?,
        may_be_missing,
    })
}
