//! The sources from which a configuration is made.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::build::{bad, utf8};
use super::{Config, ENV_FILE, EnvFile, Environment, Error, Flags, Loaded, Source, Variable};
use super::{env_file, value};

/// The sources from which a configuration is made, in addition to the environment file.
/// The daemon keeps them, and makes its configuration from them again at every reload.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The environment of the process.
    pub env: Environment,
    /// Its command line.
    pub flags: Flags,
}

impl Inputs {
    /// Returns the inputs of this process.
    pub fn of_process(flags: Flags) -> Inputs {
        Inputs {
            env: std::env::vars_os().collect(),
            flags,
        }
    }

    /// Reads the environment file, if `P2P_ENV_FILE` or its flag names one, and makes the
    /// configuration. Flags take precedence over the environment, and both over the file.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or a value anywhere is refused.
    pub fn load(&self) -> Result<Loaded, Error> {
        let (file, missing) = self.read_file()?;
        Ok(Loaded {
            config: Config::build(
                &self.env,
                &file,
                &self.flags,
                nix::unistd::geteuid().is_root(),
            )?,
            file,
            missing,
        })
    }

    fn read_file(&self) -> Result<(EnvFile, Option<PathBuf>), Error> {
        let nothing = (EnvFile::default(), None);
        let Some(variable) = Variable::find(ENV_FILE) else {
            return Ok(nothing);
        };
        let (source, given) = match (self.flags.get(ENV_FILE), self.env.get(OsStr::new(ENV_FILE))) {
            (Some(given), _) => (Source::Flag, given),
            (None, Some(given)) => (Source::Environment, given),
            (None, None) => return Ok(nothing),
        };
        let text = utf8(variable, &source, given)?.trim();
        if text.is_empty() {
            return Ok(nothing);
        }
        let wanted = value::env_file(text).map_err(|why| bad(variable, &source, text, why))?;
        match env_file::read(&wanted.path) {
            Ok(file) => Ok((file, None)),
            Err(env_file::ReadError::Line(e)) => Err(e),
            Err(env_file::ReadError::Io(e))
                if wanted.may_be_missing && e.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok((EnvFile::default(), Some(wanted.path)))
            }
            Err(env_file::ReadError::Io(e)) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                Err(Error::EnvFile {
                    path: wanted.path.display().to_string(),
                    why: format!(
                        "cannot read this environment file: {e}; the daemon reads it as its own \
                         user, so let that one: `chgrp p2p-node FILE` and `chmod 640 FILE` for the \
                         service"
                    ),
                })
            }
            Err(env_file::ReadError::Io(e)) => Err(Error::EnvFile {
                path: wanted.path.display().to_string(),
                why: format!(
                    "cannot read this environment file: {e}; correct {}, or write it as -{} when \
                     the file may be missing",
                    source.origin(variable),
                    wanted.path.display()
                ),
            }),
        }
    }
}
