//! Standard output: text, tables and JSON.
//!
//! Every write is checked. When the reader has gone, the command ends quietly; a full
//! disk behind a redirection is an error like any other.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;

use serde_json::Value;

use super::error::Error;
use super::human;

/// The standard output of one command.
#[derive(Debug)]
pub(crate) struct Output {
    /// A copy of the descriptor is used because std's own stdout flushes after every
    /// line.
    out: Result<BufWriter<File>, io::ErrorKind>,
    json: bool,
    terminal: bool,
    colour: bool,
}

/// What kind of text it is, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Heading,
    Good,
    Bad,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        // https://no-color.org: colours are off when it is set to anything but an empty
        // text.
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        Output {
            out: stdout().map(BufWriter::new).map_err(|e| e.kind()),
            json,
            terminal,
            colour: terminal && !forbidden,
        }
    }

    /// Returns whether JSON was asked for.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Returns whether the output goes to a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Returns `text` in the colour of its tone, if colours are used.
    pub(crate) fn tone(&self, tone: Tone, text: impl Display) -> String {
        if !self.colour {
            return text.to_string();
        }
        let code = match tone {
            Tone::Heading => "1",
            Tone::Good => "32",
            Tone::Bad => "31",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// Writes bytes unchanged.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match &mut self.out {
            Ok(out) => out.write_all(bytes).map_err(written),
            Err(kind) => Err(written((*kind).into())),
        }
    }

    /// Writes one line.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), Error> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Writes one JSON value on one line.
    pub(crate) fn value(&mut self, value: &Value) -> Result<(), Error> {
        self.line(value)
    }

    /// Writes rows under headings, with aligned columns. The last column is not padded.
    pub(crate) fn table<const N: usize>(
        &mut self,
        headings: [&str; N],
        rows: &[[String; N]],
    ) -> Result<(), Error> {
        let mut widths = headings.map(str::len);
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(human::width(cell));
            }
        }
        let align = |cells: [&str; N]| {
            let mut line = String::new();
            for (i, (cell, width)) in cells.iter().zip(widths).enumerate() {
                line.push_str(cell);
                if i + 1 < N {
                    line.push_str(&" ".repeat(width.saturating_sub(human::width(cell)) + 2));
                }
            }
            line.trim_end().to_owned()
        };
        let heading = self.tone(Tone::Heading, align(headings));
        self.line(heading)?;
        for row in rows {
            self.line(align(std::array::from_fn(|i| row[i].as_str())))?;
        }
        Ok(())
    }

    /// Writes out everything that is buffered.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        match &mut self.out {
            Ok(out) => out.flush().map_err(written),
            Err(kind) => Err(written((*kind).into())),
        }
    }

    /// Ends the output. The command has only succeeded when this has.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.flush()
    }
}

/// Returns the descriptor of standard output as a file without a buffer.
pub(crate) fn stdout() -> io::Result<File> {
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

/// Returns the error for a failed write to standard output.
pub(crate) fn written(e: io::Error) -> Error {
    if e.kind() == io::ErrorKind::BrokenPipe {
        Error::reader_gone()
    } else {
        Error::failed(format!("cannot write to standard output: {e}"))
    }
}
