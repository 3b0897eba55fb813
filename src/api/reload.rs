//! What a reload of the configuration did.

/// What a reload of the configuration did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// Changes that are in force now.
    pub changed: Vec<Change>,
    /// Changes that take effect with the next start.
    pub restart: Vec<Change>,
}

/// A variable whose value has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub variable: String,
    /// The value that was in force before.
    pub before: String,
    /// The value in the new configuration.
    pub after: String,
}

/// Why a reload changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// The configuration is not valid.
    #[error("{0}")]
    Refused(String),
    /// The node could not apply it.
    #[error("{0}")]
    Failed(String),
}
