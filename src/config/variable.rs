//! One variable of the configuration.

use super::variables::SWITCH;
use super::{Config, VARIABLES};

/// One variable of the configuration.
#[derive(Clone, Copy)]
pub struct Variable {
    /// Its name in the environment.
    pub name: &'static str,
    /// Its default, in the form in which it is written; empty when there is none or
    /// when it is derived (see [`Variable::derived`]).
    pub default: &'static str,
    /// How the default is derived, in words; empty when it is not derived.
    pub derived: &'static str,
    /// The placeholder for a value in help, such as `SIZE`.
    pub placeholder: &'static str,
    /// Which values are accepted, for the error line.
    pub accepts: &'static str,
    /// What it does, without a full stop at the end.
    pub help: &'static str,
    /// Whether it can change without a restart.
    pub reloadable: bool,
    /// Whether this version acts on it. Help, `config show` and the log say so of a
    /// variable that is only parsed.
    pub effective: bool,
    /// Parses a text into the configuration. The error says what is wrong.
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
    /// Formats the effective value in the form in which it is parsed.
    pub(super) get: fn(&Config) -> String,
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Variable {
    /// Returns the name of the corresponding flag of `run`, without the dashes.
    pub fn flag(&self) -> String {
        self.name
            .strip_prefix("P2P_")
            .unwrap_or(self.name)
            .to_lowercase()
            .replace('_', "-")
    }

    /// Returns whether it is a boolean, whose flag may be given without a value.
    pub fn is_switch(&self) -> bool {
        self.placeholder == SWITCH
    }

    /// Returns the default in words: its value, how it is derived, or `none`.
    pub fn default_in_words(&self) -> &'static str {
        match (self.default, self.derived) {
            ("", "") => "none",
            ("", derived) => derived,
            (default, _) => default,
        }
    }

    /// Returns the warning for a variable that is set although it has no effect yet.
    pub fn without_effect(&self) -> String {
        format!(
            "{} is set but this version does not enforce it yet",
            self.name
        )
    }

    /// Returns the variable with this name.
    pub fn find(name: &str) -> Option<&'static Variable> {
        VARIABLES.iter().find(|v| v.name == name)
    }
}
