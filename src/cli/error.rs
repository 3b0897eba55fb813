//! Why a command failed: the line on standard error, and the exit code.

use std::fmt::{self, Display};
use std::io::Write;
use std::process::ExitCode;

use crate::control::client;
use crate::text::foreign;

/// Exit code: the command was carried out and failed.
pub const FAILED: u8 = 1;
/// Exit code: the command line is wrong.
pub const WRONG_USAGE: u8 = 2;
/// Exit code: no daemon answers at the control socket (`EX_UNAVAILABLE`).
pub const NO_DAEMON: u8 = 69;
/// Exit code: the configuration is wrong (`EX_CONFIG`).
pub const CANNOT_CONFIGURE: u8 = 78;

/// The end of a command that did not succeed.
#[derive(Debug)]
pub(crate) struct Error {
    code: u8,
    /// The line to print; `None` when there is nothing to print.
    line: Option<String>,
}

impl Error {
    /// The command was carried out and failed.
    pub(crate) fn failed(line: impl Into<String>) -> Self {
        Error {
            code: FAILED,
            line: Some(line.into()),
        }
    }

    /// The command line is wrong in a way that clap does not detect.
    pub(crate) fn usage(line: impl Into<String>) -> Self {
        Error {
            code: WRONG_USAGE,
            line: Some(line.into()),
        }
    }

    /// No daemon answers at the socket.
    pub(crate) fn no_daemon(line: impl Into<String>) -> Self {
        Error {
            code: NO_DAEMON,
            line: Some(line.into()),
        }
    }

    /// The configuration is wrong.
    pub(crate) fn configuration(line: impl Into<String>) -> Self {
        Error {
            code: CANNOT_CONFIGURE,
            line: Some(line.into()),
        }
    }

    /// A signal ended the command: the exit code is the one that a shell reports for it.
    pub(crate) fn interrupted(signal: i32, line: impl Into<String>) -> Self {
        Error {
            code: 128u8.saturating_add(signal as u8),
            line: Some(line.into()),
        }
    }

    /// The reader of standard output has gone, so that there is no reason to go on. This
    /// is no failure: `subscribe | head -n 1` got what it wanted.
    pub(crate) fn reader_gone() -> Self {
        Error {
            code: 0,
            line: None,
        }
    }

    /// A failure that has already been reported.
    pub(crate) fn told() -> Self {
        Error {
            code: FAILED,
            line: None,
        }
    }

    /// Returns the same error with more text at the end of its line, if it has a line.
    pub(crate) fn with(self, more: fmt::Arguments<'_>) -> Self {
        Error {
            line: self.line.map(|line| format!("{line}{more}")),
            ..self
        }
    }

    /// Returns the same error without its line, for a failure that is already in the log.
    pub(crate) fn already_told(self) -> Self {
        Error { line: None, ..self }
    }

    /// An error of the control socket's client. `doing` says what the client was asked
    /// for.
    pub(crate) fn client(doing: impl Display, error: client::Error) -> Self {
        match error {
            client::Error::NoDaemon { .. } | client::Error::Busy { .. } => {
                Error::no_daemon(error.to_string())
            }
            client::Error::Denied { .. } => Error::failed(error.to_string()),
            _ => Error::failed(format!("{doing}: {error}")),
        }
    }

    /// Returns whether the next piece of work would fail in the same way, because the
    /// daemon or the reader of the results has gone.
    pub(crate) fn is_fatal(&self) -> bool {
        self.code == NO_DAEMON || self.code == 0
    }

    /// Returns the line for the user.
    pub(crate) fn line(&self) -> Option<&str> {
        self.line.as_deref()
    }
}

impl From<crate::config::Error> for Error {
    fn from(e: crate::config::Error) -> Self {
        Error::configuration(e.to_string())
    }
}

/// Adds to the client's errors what was being done.
pub(crate) trait Doing<T> {
    /// `doing` names the command and its object, such as `get bafy…`.
    fn doing(self, doing: impl Display) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, client::Error> {
    fn doing(self, doing: impl Display) -> Result<T, Error> {
        self.map_err(|e| Error::client(doing, e))
    }
}

/// Writes one line to standard error. It does not matter when standard error is closed.
pub(crate) fn say(line: &str) {
    // Messages may quote file names and text from remote peers. They are made printable,
    // so that they always stay on one line.
    let line = foreign::printable(line);
    let _ = writeln!(std::io::stderr(), "p2p-node: {line}");
}

/// Reports the error and returns its exit code.
pub(crate) fn report(error: &Error) -> ExitCode {
    if let Some(line) = error.line() {
        say(line);
    }
    ExitCode::from(error.code)
}
