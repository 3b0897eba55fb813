//! How to keep what is imported.

use std::time::Duration;

/// How to keep what is imported.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Time to live; `None` is the default of [`ContentOptions`].
    pub ttl: Option<Duration>,
    /// Never evict it for space. The default for what this host puts.
    pub pin: bool,
    /// Name for people.
    pub name: Option<String>,
    /// Whether to wait for the DHT.
    pub announce: Announce,
}

impl Default for ImportOptions {
    fn default() -> Self {
        ImportOptions {
            ttl: None,
            pin: true,
            name: None,
            announce: Announce::Background,
        }
    }
}

/// Whether an import waits for the DHT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Announce {
    /// Announce soon, in the background (by [`Content::run`]), until it succeeds.
    #[default]
    Background,
    /// Return when peers are told of it, when that failed once, or after three
    /// seconds; it goes on in the background then.
    Wait,
    /// Not now; the next round of [`Content::run`] finds it.
    No,
}
