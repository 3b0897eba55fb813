//! Why a peer that was reached was of no use.

use cid::Cid;

use super::obstacle::Obstacle;
use crate::content::refusal::Refusal;

/// See the module's documentation. Each reason is displayed as one line, without the name
/// of the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Useless {
    /// Several times in a row, others brought what it was asked for.
    #[error("others are faster")]
    Slower,
    /// The stream to it ended when it was about to be asked for more.
    #[error("the stream ended")]
    StreamEnded,
    /// It has only blocks whose time is over.
    #[error("the time of its blocks is over")]
    Outdated,
    /// It sent a block that was refused.
    #[error("block {cid}: {why}")]
    BadBlock {
        /// The block that it was asked for.
        cid: Cid,
        /// What is wrong with the block.
        why: Refusal,
    },
    /// The exchange with it failed.
    #[error("{words}")]
    Session {
        /// What prevented the exchange.
        obstacle: Obstacle,
        /// What happened.
        words: String,
    },
}

impl Useless {
    /// Returns what prevented this node from getting the content.
    pub fn obstacle(&self) -> Obstacle {
        match self {
            Useless::Slower => Obstacle::GivenUp,
            Useless::StreamEnded | Useless::Outdated | Useless::BadBlock { .. } => Obstacle::Other,
            Useless::Session { obstacle, .. } => *obstacle,
        }
    }
}
