//! The filter of the log.

use super::Parsed;

/// Parses a filter in env_logger's syntax: directives `level`, `target` or
/// `target=level`, and an optional `/regex` at the end. env_logger itself ignores what it
/// cannot read, but a misspelt level should be reported.
pub(in crate::config) fn log_filter(text: &str) -> Parsed<String> {
    let directives = text.split('/').next().unwrap_or_default();
    for directive in directives
        .split(',')
        .map(str::trim)
        .filter(|d| !d.is_empty())
    {
        if let Some((target, level)) = directive.split_once('=') {
            if target.is_empty() || level.parse::<log::LevelFilter>().is_err() {
                return Err(format!("{directive:?} is not TARGET=LEVEL"));
            }
        } else if directive.contains(char::is_whitespace) {
            return Err(format!("{directive:?} has a space in it"));
        }
    }
    Ok(text.into())
}
