//! The task of one session, which opens a stream to a peer, and asks and listens on it.

use std::time::Duration;

use futures::SinkExt;
use futures::channel::{mpsc, oneshot};
use futures::future::{BoxFuture, Either, select};
use futures::io::{AsyncRead, AsyncWrite};

use crate::block::exchange::frame::FrameError;
use crate::block::exchange::session::{self, Answer, Command};
use crate::block::exchange::session_error::SessionError;
use crate::block::network::{Fault, OpenError};
use crate::content::fetch::{Obstacle, Unreachable, Useless};

/// How long a provider may take to accept a stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

/// What a session reports to the task of the fetch.
pub(super) enum SessionEvent {
    Answer(Answer),
    /// No stream could be opened.
    Failed(OpenError),
    /// The session failed.
    Closed(Useless, Option<Fault>),
}

/// A session that is about to begin.
pub(super) struct Session {
    /// Its number in the fetch.
    pub(super) id: u64,
    /// The largest block to accept, in bytes.
    pub(super) max_block: usize,
    /// The channel for its events.
    pub(super) tell: mpsc::Sender<(u64, SessionEvent)>,
}

impl Session {
    /// Runs until the end of the stream, or until the sender of `ended` or of `orders` is
    /// dropped.
    pub(super) async fn run<S>(
        self,
        opening: BoxFuture<'static, Result<S, OpenError>>,
        orders: mpsc::UnboundedReceiver<Command>,
        ended: oneshot::Receiver<()>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Session {
            id,
            max_block,
            mut tell,
        } = self;
        let opening = async_std::future::timeout(OPEN_TIMEOUT, opening);
        // The dial ends with the session. Peers that cannot be reached are let go, and
        // named again, faster than their dials end by themselves.
        let opened = match select(Box::pin(opening), ended).await {
            Either::Left((opened, _)) => opened,
            Either::Right(_) => return,
        };
        let told = match opened {
            Err(_) => SessionEvent::Failed(OpenError::Unreachable(Unreachable::new(
                Obstacle::NoAnswer,
                format!("no stream within {OPEN_TIMEOUT:?}"),
            ))),
            Ok(Err(error)) => SessionEvent::Failed(error),
            Ok(Ok(stream)) => {
                let wrap = |answer| (id, SessionEvent::Answer(answer));
                match session::run(stream, max_block, orders, &mut tell, wrap).await {
                    Ok(()) => return,
                    Err(error) => SessionEvent::Closed(why(&error), fault(&error)),
                }
            }
        };
        let _ = tell.send((id, told)).await;
    }
}

/// Returns why the peer was of no use.
fn why(error: &SessionError) -> Useless {
    let obstacle = match error {
        SessionError::Frame(FrameError::Io(error)) => Obstacle::of_io(error),
        _ => Obstacle::Other,
    };
    Useless::Session {
        obstacle,
        words: error.to_string(),
    }
}

/// Returns what the peer did wrong, according to the end of the session.
fn fault(error: &SessionError) -> Option<Fault> {
    match error {
        SessionError::Frame(FrameError::TooLarge { len, max }) => Some(Fault::Oversized {
            len: *len,
            max: *max,
        }),
        error => error
            .is_violation()
            .then(|| Fault::Protocol(error.to_string())),
    }
}
