//! Turns the environment and flags into one validated [`Config`].
//!
//! | file | holds |
//! |---|---|
//! | `settings` | [`Config`]: the whole configuration, and where its values came from |
//! | `setting` | one line of `config show` |
//! | `inputs` | the sources from which a configuration is made |
//! | `loaded` | a configuration and the environment file that it came from |
//! | `build` | how a configuration is made and checked |
//! | `paths` | where files are if no variable says so |
//! | `source` | where the value of a variable came from |
//! | [`variable`] | one variable: name, default, what is accepted, help |
//! | [`variables`] | the table of all variables |
//! | `value` | the forms of values, and their parsers |
//! | [`env_file`] | the environment file: written from the table, read at the start and at a reload |
//! | `suggest` | the nearest known name for a misspelt one |
//! | [`network_key`] | the pre-shared key of a private network |
//! | [`error`] | the reasons why a configuration is refused |
//!
//! Except for the code that reads the environment file, everything here is pure: the
//! environment is an argument, so that tests need no process of their own. The table in
//! [`VARIABLES`] is the only place that defines a variable. Flags, help, the
//! environment file and `config show` are made from it.

mod build;
pub mod env_file;
pub mod error;
mod inputs;
mod loaded;
pub mod network_key;
mod paths;
mod setting;
mod settings;
mod source;
mod suggest;
mod value;
pub mod variable;
pub mod variables;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

pub use env_file::{EnvFile, Position};
pub use error::Error;
pub use inputs::Inputs;
pub use loaded::Loaded;
pub use paths::{SYSTEM_SOCKET, control_sockets, default_data_dir};
pub use setting::Setting;
pub use settings::Config;
pub use source::Source;
pub use value::{DhtMode, EnvFilePath, LogFormat, MemoryLimit, PeerAddress, SubnetPrefixes};
pub use variable::Variable;
pub use variables::VARIABLES;

/// Variables by name, as in the environment of a process.
pub type Environment = BTreeMap<OsString, OsString>;

/// Values from the command line, by the name of the corresponding variable.
pub type Flags = BTreeMap<&'static str, OsString>;

/// The variable that contains the path of the environment file.
pub(crate) const ENV_FILE: &str = "P2P_ENV_FILE";

/// Parses a duration within `min..=max` in the form that variables use: a whole number
/// and `ms`, `s`, `m`, `h` or `d`.
///
/// # Errors
/// Returns what is wrong with the text.
pub fn parse_duration(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    value::duration(text.trim(), min, max)
}

#[cfg(test)]
mod tests;
