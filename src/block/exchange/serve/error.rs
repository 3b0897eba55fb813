//! Why serving a stream ended early.

use std::time::Duration;

use super::super::MAX_WANTS;
use super::super::frame::FrameError;

/// Why serving a stream ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Reading or writing failed, or a frame was not valid.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// There are more wants than the protocol allows.
    #[error("more than {MAX_WANTS} unanswered wants")]
    TooManyWants,
    /// One request has more cancels than there can be wants.
    #[error("more than {MAX_WANTS} cancels in one request")]
    TooManyCancels,
    /// The address in a want is not a CID.
    #[error("a want without a valid CID")]
    BadWant,
    /// The peer did not take an answer in time.
    #[error("the peer took no answer for {0:?}")]
    Stalled(Duration),
    /// This node already serves the maximum number of streams.
    #[error("already serving {0} streams {1}")]
    Busy(usize, &'static str),
    /// Another stream was served instead of it.
    #[error("displaced by the stream of another peer")]
    Displaced,
}

const BUSY: &str = "exchange_busy";
const DISPLACED: &str = "exchange_displaced";

impl ServeError {
    /// All values of [`ServeError::refusal`].
    pub(crate) const REFUSALS: [&str; 2] = [BUSY, DISPLACED];

    /// Returns the value of the label `reason` of `p2p_streams_refused_total`, when there
    /// was no place for the stream. It is `exchange_busy` when the maximum number is
    /// served already, for the peer or for all peers, and `exchange_displaced` when a
    /// stream of another peer is served instead.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        match self {
            ServeError::Busy(..) => Some(BUSY),
            ServeError::Displaced => Some(DISPLACED),
            _ => None,
        }
    }

    /// Returns whether the peer violated the protocol.
    pub fn is_violation(&self) -> bool {
        match self {
            ServeError::Frame(error) => error.is_violation(),
            ServeError::TooManyWants | ServeError::TooManyCancels | ServeError::BadWant => true,
            ServeError::Stalled(_) | ServeError::Busy(..) | ServeError::Displaced => false,
        }
    }
}
