//! Why a session ended before its owner ended it.

use super::frame::FrameError;

/// Why a session ended before its owner ended it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("it answered a want that is not open (id {0})")]
    NotAsked(u64),
    #[error("it sent an answer of an unknown kind ({0})")]
    Unknown(i32),
    #[error("it closed the stream")]
    Closed,
}

impl SessionError {
    pub(crate) fn is_violation(&self) -> bool {
        match self {
            SessionError::Frame(error) => error.is_violation(),
            SessionError::NotAsked(_) | SessionError::Unknown(_) => true,
            SessionError::Closed => false,
        }
    }
}
