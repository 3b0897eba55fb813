//! How to keep imported content.

use std::time::Duration;

/// How to keep imported content.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The time to live; `None` means the default in `ContentOptions`.
    pub ttl: Option<Duration>,
    /// Whether it must never be evicted to make space, which is the default for what this
    /// host puts.
    pub pin: bool,
    /// A name for people.
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
    /// Announce it soon, in the background (by `Content::run`), and keep trying until
    /// that succeeds.
    #[default]
    Background,
    /// Return when peers have been told of it, when that has failed once, or after three
    /// seconds. In the last two cases the announcement goes on in the background.
    Wait,
    /// Do not announce it now; the next round of `Content::run` will find it.
    No,
}
