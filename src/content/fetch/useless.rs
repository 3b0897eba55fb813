//! Why a peer that was reached was of no use.

use cid::Cid;

use super::obstacle::Obstacle;
use crate::content::refusal::Refusal;

/// See the module's documentation. Each is shown as one line, without the name of the
/// peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Useless {
    /// Others brought, several times in a row, what it was asked for.
    #[error("others are faster")]
    Slower,
    /// The stream to it ended while it was to be asked for more.
    #[error("the stream ended")]
    StreamEnded,
    /// It has only blocks whose time is over.
    #[error("the time of its blocks is over")]
    Outdated,
    /// It sent a block that is refused.
    #[error("block {cid}: {why}")]
    BadBlock {
        /// What it was asked for.
        cid: Cid,
        /// What is wrong.
        why: Refusal,
    },
    /// The exchange with it failed.
    #[error("{words}")]
    Session {
        /// What was in the way.
        obstacle: Obstacle,
        /// What happened.
        words: String,
    },
}

impl Useless {
    /// What was in the way.
    pub fn obstacle(&self) -> Obstacle {
        match self {
            Useless::Slower => Obstacle::GivenUp,
            Useless::StreamEnded | Useless::Outdated | Useless::BadBlock { .. } => Obstacle::Other,
            Useless::Session { obstacle, .. } => *obstacle,
        }
    }
}
