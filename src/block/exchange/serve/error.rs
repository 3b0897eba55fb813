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
    /// Another stream was served instead of it.
    #[error("displaced by the stream of another peer")]
    Displaced,
}

const BUSY: &str = "exchange_busy";
const DISPLACED: &str = "exchange_displaced";

impl ServeError {
    /// The values of [`ServeError::refusal`].
    pub(crate) const REFUSALS: [&str; 2] = [BUSY, DISPLACED];

    /// The value of the label `reason` of `p2p_streams_refused_total`, when there was no
    /// place for the stream: `exchange_busy` when as many are served as may be, of the
    /// peer or of all; `exchange_displaced` when a stream of another peer was served
    /// instead.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        match self {
            ServeError::Busy(..) => Some(BUSY),
            ServeError::Displaced => Some(DISPLACED),
            _ => None,
        }
    }

    /// Whether the peer broke the protocol.
    pub fn is_violation(&self) -> bool {
        match self {
            ServeError::Frame(error) => error.is_violation(),
            ServeError::TooManyWants | ServeError::TooManyCancels | ServeError::BadWant => true,
            ServeError::Stalled(_) | ServeError::Busy(..) | ServeError::Displaced => false,
        }
    }
}
