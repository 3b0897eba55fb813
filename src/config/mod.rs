//! Environment and flags become one validated [`Config`].
//!
//! | file | holds |
//! |---|---|
//! | `settings` | [`Config`]: the whole configuration, and where its values came from |
//! | `inputs` | what a configuration is made from |
//! | `build` | how it is made and checked |
//! | `paths` | where files are when no variable says |
//! | `source` | where the value of a variable came from |
//! | [`variable`] | the table of variables: name, default, what is accepted, help |
//! | `value` | the forms that values take, and their parsers |
//! | [`env_file`] | the environment file: written from the table, read at start and at reload |
//! | `suggest` | the nearest known name for a misspelt one |
//! | [`network_key`] | the pre-shared key of a private network |
//! | [`error`] | why a configuration is refused |
//!
//! Everything here but the reading of the environment file is pure: the
//! environment is an argument, so that tests need no process of their own. The table in
//! [`variable::VARIABLES`] is the only place that knows a variable; flags, help,
//! `config show` and the environment file are made from it.

mod build;
pub mod env_file;
pub mod error;
mod inputs;
pub mod network_key;
mod paths;
mod settings;
mod source;
mod suggest;
mod value;
pub mod variable;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

pub use env_file::{EnvFile, Position};
pub use error::Error;
pub use inputs::{Inputs, Loaded};
pub use paths::{SYSTEM_SOCKET, control_sockets, default_data_dir};
pub use settings::{Config, Setting};
pub use source::Source;
pub use value::{DhtMode, EnvFilePath, LogFormat, MemoryLimit, PeerAddress, SubnetPrefixes};
pub use variable::{VARIABLES, Variable};

/// Variables by name, as a process's environment gives them.
pub type Environment = BTreeMap<OsString, OsString>;

/// Values from the command line, by the name of the variable that they mirror.
pub type Flags = BTreeMap<&'static str, OsString>;

/// The variable that says where the environment file is.
pub(crate) const ENV_FILE: &str = "P2P_ENV_FILE";

/// A duration within `min..=max` in the form that variables use: a whole number
/// and `ms`, `s`, `m`, `h` or `d`.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_duration(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    value::duration(text.trim(), min, max)
}

#[cfg(test)]
mod tests;
