//! The reasons why a configuration is refused, each in one line.

use std::ffi::OsString;

/// The error for a configuration with which the node does not start (exit code 78).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value that cannot be parsed or is out of range.
    #[error("{origin}={value:?}: {why}; accepted: {accepts}")]
    Bad {
        /// The variable, with file and line if it is in a file, or the flag if the value
        /// came from the command line.
        origin: String,
        /// The value as given.
        value: String,
        /// What is wrong with it.
        why: String,
        /// A description of the values that are accepted.
        accepts: &'static str,
    },
    /// A value that is not UTF-8.
    #[error("{origin}={value:?}: the value is not UTF-8; accepted: {accepts}")]
    NotUtf8 {
        /// The variable, with file and line if it is in a file, or the flag if the value
        /// came from the command line.
        origin: String,
        /// The value as given.
        value: OsString,
        /// A description of the values that are accepted.
        accepts: &'static str,
    },
    /// A variable that begins with `P2P_` and is not in the table.
    #[error(
        "{name}={value:?}: there is no such variable; {hint}; `p2p-node config show` lists all of them"
    )]
    Unknown {
        /// The name as given, with file and line if it is in a file.
        name: String,
        /// The value as given.
        value: String,
        /// A hint at the nearest known name.
        hint: String,
    },
    /// Two values that are correct by themselves and wrong together.
    #[error("{origin}={value:?}: {why}; accepted: {accepts}")]
    Conflict {
        /// The variable to change, with file and line if it is in a file.
        origin: String,
        /// Its value.
        value: String,
        /// The value that it contradicts.
        why: String,
        /// A description of the values that are accepted.
        accepts: String,
    },
    /// No folder for the data could be derived from the environment.
    #[error(
        "P2P_DATA_DIR is not set and neither STATE_DIRECTORY, XDG_DATA_HOME nor HOME says where to \
         keep data; accepted: an absolute path"
    )]
    NoDataDir,
    /// The environment file cannot be read, or it has a line that is not an assignment or
    /// is not allowed there.
    #[error("{path}: {why}")]
    EnvFile {
        /// The path of the file, with the line number if there is one.
        path: String,
        /// What is wrong.
        why: String,
    },
}
