//! One line of `config show`.

use super::{Source, Variable};

/// One line of `config show`.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The variable.
    pub variable: &'static Variable,
    /// Its effective value, in the form in which it is parsed.
    pub value: String,
    /// The source of the value.
    pub source: Source,
}
