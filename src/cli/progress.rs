//! Shows the progress of long work. The bar is on standard error, and is shown only when
//! that is a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::context::Context;
use crate::text::foreign;

/// A progress bar, or nothing when nobody would see it.
#[derive(Debug)]
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Creates a bar called `name`, which may be a file name or a CID.
    pub(crate) fn new(context: &Context, name: &str) -> Self {
        if context.global.quiet || !std::io::stderr().is_terminal() {
            return Progress(None);
        }
        let bar = ProgressBar::no_length();
        bar.set_style(spinner());
        // A long name would leave no room for the bar.
        let name = foreign::printable(name);
        let short: String = match name.chars().count() {
            0..=24 => name,
            n => format!("…{}", name.chars().skip(n - 23).collect::<String>()),
        };
        bar.set_prefix(short);
        bar.enable_steady_tick(Duration::from_millis(125));
        Progress(Some(bar))
    }

    /// Sets the total number of bytes.
    pub(crate) fn total(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.set_length(bytes);
            bar.set_style(with_length());
        }
    }

    /// Sets the number of bytes that are done.
    pub(crate) fn done(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(bytes);
        }
    }

    /// Shows in a few words what is going on.
    pub(crate) fn note(&self, text: impl FnOnce() -> String) {
        if let Some(bar) = &self.0 {
            bar.set_message(text());
        }
    }

    /// Returns whether the bar is shown.
    pub(crate) fn is_visible(&self) -> bool {
        self.0.is_some()
    }

    /// Removes the bar from the screen.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} {spinner} {binary_bytes} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn with_length() -> ProgressStyle {
    ProgressStyle::with_template(
        "{prefix} [{wide_bar}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} {msg}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar())
    .progress_chars("=> ")
}
