//! Why a configuration is refused, in one line.

use std::ffi::OsString;

/// A configuration that the node does not start with (exit code 78).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value that does not parse or lies out of range.
    #[error("{origin}={value:?}: {why}; accepted: {accepts}")]
    Bad {
        /// The variable, with file and line where it stands in one, or the flag
        /// when the value came from the command line.
        origin: String,
        /// The value as given.
        value: String,
        /// What is wrong with it.
        why: String,
        /// What would have been right.
        accepts: &'static str,
    },
    /// A value that is not UTF-8.
    #[error("{origin}={value:?}: the value is not UTF-8; accepted: {accepts}")]
    NotUtf8 {
        /// The variable, with file and line where it stands in one, or the flag
        /// when the value came from the command line.
        origin: String,
        /// The value as given.
        value: OsString,
        /// What would have been right.
        accepts: &'static str,
    },
    /// A variable beginning with `P2P_` that the table does not hold.
    #[error(
        "{name}={value:?}: there is no such variable; {hint}; `p2p-node config show` lists all of them"
    )]
    Unknown {
        /// The name as given, with file and line where it stands in one.
        name: String,
        /// The value as given.
        value: String,
        /// The nearest known name, in words.
        hint: String,
    },
    /// Two values that are fine alone and wrong together.
    #[error("{origin}={value:?}: {why}; accepted: {accepts}")]
    Conflict {
        /// The variable to change, with file and line where it stands in one.
        origin: String,
        /// Its value.
        value: String,
        /// What it disagrees with.
        why: String,
        /// What would have been right.
        accepts: String,
    },
    /// No place for the data could be derived from the environment.
    #[error(
        "P2P_DATA_DIR is not set and neither STATE_DIRECTORY, XDG_DATA_HOME nor HOME says where to \
         keep data; accepted: an absolute path"
    )]
    NoDataDir,
    /// The environment file cannot be read, or has a line that is no assignment
    /// or may not stand there.
    #[error("{path}: {why}")]
    EnvFile {
        /// The file, with the line number where there is one.
        path: String,
        /// What is wrong.
        why: String,
    },
}
