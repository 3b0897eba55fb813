//! The asking side of one stream.
//!
//! A session turns commands into request frames, several in one when they come
//! together, and response frames into answers, and checks what only it can
//! check: that every answer is to a want that is open.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use cid::Cid;
use futures::channel::mpsc;
use futures::future::{self, Either};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use futures::{FutureExt, SinkExt, StreamExt};

use super::frame::{self, FrameError, FrameReader};
use super::pb::exchange::{Request, Status, Want};
use super::pb::message::Block;
use super::{FRAME_OVERHEAD, MAX_WANTS};

/// What the session is to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Ask for a block, under an id not used before on this session.
    Want(u64, Cid),
    /// Ask whether the provider has a block, under such an id. The answer may be
    /// the block: an older provider does not know the question.
    Have(u64, Cid),
    /// Say that the answer to this id is of no more use.
    Cancel(u64),
}

/// What the provider says to a want.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    /// What it says is the block; not verified.
    Block(Box<Block>),
    /// It has it. Only to [`Command::Have`].
    Have,
    /// It does not have it.
    DontHave,
    /// It cannot serve it now.
    Unavailable,
    /// The want was cancelled in time.
    Cancelled,
}

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

/// Wants sent in one frame; what more there is goes into the next.
const WANTS_PER_FRAME: usize = MAX_WANTS;

/// What a session tells its owner.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It stands; bytes that arrive are counted here. Comes first.
    Open(Arc<AtomicU64>),
    /// The answer to a want.
    Reply(u64, Cid, Reply),
}

/// Runs a session over `stream` until the sender of `commands` is dropped, which
/// is `Ok`. As long as `answers` takes no answer, nothing more is read, and the
/// provider is held back.
pub(crate) async fn run<S, T>(
    stream: S,
    max_block: usize,
    mut commands: mpsc::UnboundedReceiver<Command>,
    answers: &mut mpsc::Sender<T>,
    wrap: impl Fn(Answer) -> T,
) -> Result<(), SessionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (reader, mut writer) = stream.split();
    let mut reader = FrameReader::new(reader, max_block + FRAME_OVERHEAD);
    let _ = answers.send(wrap(Answer::Open(reader.received()))).await;
    // Whether only a yes or no is asked for, too.
    let open = Mutex::new(HashMap::<u64, (Cid, bool)>::new());

    let asking = async {
        while let Some(first) = commands.next().await {
            let mut request = Request::default();
            let mut next = Some(first);
            {
                let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                while let Some(command) = next {
                    match command {
                        Command::Want(id, cid) | Command::Have(id, cid) => {
                            let have_only = matches!(command, Command::Have(..));
                            open.insert(id, (cid, have_only));
                            request.wants.push(Want {
                                id,
                                cid: cid.to_bytes().into(),
                                have_only,
                            });
                        }
                        Command::Cancel(id) if open.contains_key(&id) => request.cancel.push(id),
                        // Answered already.
                        Command::Cancel(_) => {}
                    }
                    if request.wants.len() + request.cancel.len() >= WANTS_PER_FRAME {
                        break;
                    }
                    next = commands.next().now_or_never().flatten();
                }
            }
            if request.wants.is_empty() && request.cancel.is_empty() {
                continue;
            }
            frame::write_message(&mut writer, &request)
                .await
                .map_err(FrameError::Io)?;
            writer.flush().await.map_err(FrameError::Io)?;
        }
        Ok(())
    };
    let listening = async {
        while let Some(response) = reader.response().await? {
            let (cid, have_only) = open
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&response.id)
                .ok_or(SessionError::NotAsked(response.id))?;
            let reply = match Status::try_from(response.status) {
                Ok(Status::Block) => Reply::Block(Box::new(response.block.unwrap_or_default())),
                Ok(Status::DontHave) => Reply::DontHave,
                Ok(Status::Unavailable) => Reply::Unavailable,
                Ok(Status::Cancelled) => Reply::Cancelled,
                Ok(Status::Have) if have_only => Reply::Have,
                Ok(Status::Have) | Err(_) => return Err(SessionError::Unknown(response.status)),
            };
            // Without an owner the commands end as well.
            let _ = answers
                .send(wrap(Answer::Reply(response.id, cid, reply)))
                .await;
        }
        Err(SessionError::Closed)
    };
    futures::pin_mut!(asking, listening);
    // Dropping the halves ends the stream; what is on its way is of no use to a
    // fetch that is over.
    match future::select(asking, listening).await {
        Either::Left((ended, _)) | Either::Right((ended, _)) => ended,
    }
}
