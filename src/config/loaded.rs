//! A configuration and the environment file that it came from.

use std::path::PathBuf;

use super::{Config, EnvFile};

/// A configuration and the environment file that it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The contents of the environment file; empty if there is none.
    pub file: EnvFile,
    /// The environment file that was to be read, if it does not exist.
    pub missing: Option<PathBuf>,
}
