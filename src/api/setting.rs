//! One variable of the configuration, as the daemon reports it.

/// One variable of the configuration that is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// The variable.
    pub name: String,
    /// Its value, in the form from which it is read.
    pub value: String,
    /// Where the value came from, in words.
    pub source: String,
}
