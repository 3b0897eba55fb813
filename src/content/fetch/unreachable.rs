//! Why a peer cannot be reached.

use std::fmt;

use super::obstacle::Obstacle;

/// See the module's documentation. It is displayed as its text, which is one line without
/// the name of the peer. The name is printed beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// What prevents it. When there were several addresses or attempts, this is the most
    /// informative obstacle.
    pub obstacle: Obstacle,
    /// The same as text.
    pub words: String,
}

impl Unreachable {
    /// Creates the reason from an obstacle and its description.
    pub fn new(obstacle: Obstacle, words: impl Into<String>) -> Self {
        Unreachable {
            obstacle,
            words: words.into(),
        }
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}
