//! Why a peer cannot be reached.

use std::fmt;

use super::obstacle::Obstacle;

/// See the module's documentation. It is shown as its words: one line, without the name
/// of the peer, which is said beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// What is in the way. Of several addresses or attempts, what tells most.
    pub obstacle: Obstacle,
    /// The same in words.
    pub words: String,
}

impl Unreachable {
    /// That obstacle, in these words.
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
