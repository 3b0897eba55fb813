//! The format of the log.

use super::Parsed;

/// The format of the log on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `journal` if journald reads stderr, `text` on a terminal, and `json` otherwise.
    Auto,
    /// Text with `<N>` priority prefixes.
    Journal,
    /// Text for people to read.
    Text,
    /// One JSON object per line.
    Json,
}

pub(in crate::config) fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "auto" => Ok(LogFormat::Auto),
        "journal" => Ok(LogFormat::Journal),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("no such format".into()),
    }
}

impl std::fmt::Display for LogFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LogFormat::Auto => "auto",
            LogFormat::Journal => "journal",
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        })
    }
}
