//! Where the value of a variable came from.

use super::{Position, Variable};

/// The source of a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The default in the table, or one that is derived from the environment (`HOME`, …).
    Default,
    /// Another variable, which is named here, and from which the value follows.
    Implied(&'static str),
    /// A line of the environment file.
    File(Position),
    /// The environment of the process.
    Environment,
    /// The command line of `run`.
    Flag,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::Implied(name) => write!(f, "implied by {name}"),
            Source::File(position) => position.fmt(f),
            Source::Environment => f.write_str("environment"),
            Source::Flag => f.write_str("flag"),
        }
    }
}

impl Source {
    /// Returns the place where the value is to be corrected, in words.
    pub(super) fn origin(&self, variable: &Variable) -> String {
        match self {
            Source::Flag => format!("--{}", variable.flag()),
            Source::File(position) => format!("{position}: {}", variable.name),
            _ => variable.name.into(),
        }
    }
}
