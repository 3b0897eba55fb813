//! Why serving a stream ended early.

use std::time::Duration;

use super::super::MAX_WANTS;
use super::super::frame::FrameError;

/// Why serving a stream ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Reading or writing failed, or a frame was wrong.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// More wants than the protocol allows.
    #[error("more than {MAX_WANTS} unanswered wants")]
    TooManyWants,
    /// More cancels in one request than there can be wants.
    #[error("more than {MAX_WANTS} cancels in one request")]
    TooManyCancels,
    /// A want whose address is no CID.
    #[error("a want without a valid CID")]
    BadWant,
    /// The peer did not take an answer in time.
    #[error("the peer took no answer for {0:?}")]
    Stalled(Duration),
    /// This node already serves as many streams as it may.
    #[error("already serving {0} streams {1}")]
    Busy(usize, &'static str),
    /// It had gone long without a block when another needed its place.
    #[error("without a block for longest when another stream needed the place")]
    Displaced,
}

impl ServeError {
    /// Whether the peer broke the protocol.
    pub fn is_violation(&self) -> bool {
        match self {
            ServeError::Frame(error) => error.is_violation(),
            ServeError::TooManyWants | ServeError::TooManyCancels | ServeError::BadWant => true,
            ServeError::Stalled(_) | ServeError::Busy(..) | ServeError::Displaced => false,
        }
    }
}
