//! Why no stream to a provider could be opened.

use crate::content::fetch::Unreachable;

/// Why no stream to a provider could be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It cannot be dialed, or it closed the connection.
    #[error("{0}")]
    Unreachable(Unreachable),
    /// This node was too busy to try everything, so that it is worth trying again.
    #[error("{0}")]
    Busy(Unreachable),
    /// It does not speak the exchange of this network.
    #[error("it does not speak the block exchange of this network")]
    Unsupported {
        /// Other protocols for the exchange of blocks that it speaks, as far as it has
        /// said so; only a few of them.
        speaks: Vec<String>,
    },
}
