//! Why a command failed: its one line on standard error, and its exit code.

use std::fmt::{self, Display};
use std::io::Write;
use std::process::ExitCode;

use crate::control::client;
use crate::text::foreign;

/// Exit code: it was tried and failed.
pub const FAILED: u8 = 1;
/// Exit code: the command line is wrong.
pub const WRONG_USAGE: u8 = 2;
/// Exit code: nobody answers at the control socket (`EX_UNAVAILABLE`).
pub const NO_DAEMON: u8 = 69;
/// Exit code: the configuration is wrong (`EX_CONFIG`).
pub const CANNOT_CONFIGURE: u8 = 78;

/// How a command ends when it does not end well.
#[derive(Debug)]
pub(crate) struct Error {
    code: u8,
    /// The line; `None` when there is nothing to say.
    line: Option<String>,
}

impl Error {
    /// It was tried and failed.
    pub(crate) fn failed(line: impl Into<String>) -> Self {
        Error {
            code: FAILED,
            line: Some(line.into()),
        }
    }

    /// The command line is wrong in a way that clap does not see.
    pub(crate) fn usage(line: impl Into<String>) -> Self {
        Error {
            code: WRONG_USAGE,
            line: Some(line.into()),
        }
    }

    /// Nobody answers at the socket.
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

    /// Ended by a signal: the exit code that a shell gives for it.
    pub(crate) fn interrupted(signal: i32, line: impl Into<String>) -> Self {
        Error {
            code: 128u8.saturating_add(signal as u8),
            line: Some(line.into()),
        }
    }

    /// Whoever read standard output has gone, and with it the reason to go on.
    /// `subscribe | head -n 1` got what it wanted, so this is no failure.
    pub(crate) fn reader_gone() -> Self {
        Error {
            code: 0,
            line: None,
        }
    }

    /// A failure that has been told already.
    pub(crate) fn told() -> Self {
        Error {
            code: FAILED,
            line: None,
        }
    }

    /// The same end with more in its line, when it has one.
    pub(crate) fn with(self, more: fmt::Arguments<'_>) -> Self {
        Error {
            line: self.line.map(|line| format!("{line}{more}")),
            ..self
        }
    }

    /// The same end without a line, for what stands in the log already.
    pub(crate) fn already_told(self) -> Self {
        Error { line: None, ..self }
    }

    /// What the client of the control socket says, after `doing`.
    pub(crate) fn client(doing: impl Display, error: client::Error) -> Self {
        match error {
            client::Error::NoDaemon { .. } => Error::no_daemon(error.to_string()),
            client::Error::Denied { .. } => Error::failed(error.to_string()),
            _ => Error::failed(format!("{doing}: {error}")),
        }
    }

    /// Whether the failure would hit the next piece of work too: the daemon is
    /// gone, or the reader of the results.
    pub(crate) fn is_fatal(&self) -> bool {
        self.code == NO_DAEMON || self.code == 0
    }

    /// The line for a person.
    pub(crate) fn line(&self) -> Option<&str> {
        self.line.as_deref()
    }
}

impl From<crate::config::Error> for Error {
    fn from(e: crate::config::Error) -> Self {
        Error::configuration(e.to_string())
    }
}

/// Adds what was being done to the client's errors.
pub(crate) trait Doing<T> {
    /// `doing` names the command and its object, such as `get bafy…`.
    fn doing(self, doing: impl Display) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, client::Error> {
    fn doing(self, doing: impl Display) -> Result<T, Error> {
        self.map_err(|e| Error::client(doing, e))
    }
}

/// Writes one line to standard error. A closed standard error is nobody's loss.
pub(crate) fn say(line: &str) {
    // Messages may quote files and remotes: they stay one line, whatever those
    // hold.
    let line = foreign::printable(line);
    let _ = writeln!(std::io::stderr(), "p2p-node: {line}");
}

/// Tells the error and answers its exit code.
pub(crate) fn report(error: &Error) -> ExitCode {
    if let Some(line) = error.line() {
        say(line);
    }
    ExitCode::from(error.code)
}
