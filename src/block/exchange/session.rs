//! The asking side of one stream.
//!
//! A session turns commands into request frames, with several in one frame when they come
//! together, and response frames into answers. It also checks what only it can check:
//! that every answer belongs to a want that is open.

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
use super::session_error::SessionError;
use super::{FRAME_OVERHEAD, MAX_WANTS};

/// An instruction to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Ask for a block, under an id that was not used before in this session.
    Want(u64, Cid),
    /// Ask whether the provider has a block, under such an id. The answer may be the
    /// block, because an older provider does not know the question.
    Have(u64, Cid),
    /// Tell the provider that the answer to this id is no longer needed.
    Cancel(u64),
}

/// The provider's reply to a want.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    /// The provider says that this is the block; it has not been verified.
    Block(Box<Block>),
    /// The provider has it. This is only a reply to [`Command::Have`].
    Have,
    /// The provider does not have it.
    DontHave,
    /// The provider cannot serve it now.
    Unavailable,
    /// The want was cancelled in time.
    Cancelled,
}

/// The maximum number of wants in one frame. Further ones go into the next frame.
const WANTS_PER_FRAME: usize = MAX_WANTS;

/// What a session reports to its owner.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The session is open, which is the first report. The counter shows the bytes that
    /// arrive.
    Open(Arc<AtomicU64>),
    /// The answer to a want.
    Reply(u64, Cid, Reply),
}

/// Runs a session over `stream` until the sender of `commands` is dropped, which is `Ok`.
/// While `answers` has no room, nothing more is read, which slows the provider down.
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
    // The flag says whether only a yes or no is asked for.
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
                        // The want has been answered already.
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
            // When there is no owner, the commands end as well.
            let _ = answers
                .send(wrap(Answer::Reply(response.id, cid, reply)))
                .await;
        }
        Err(SessionError::Closed)
    };
    futures::pin_mut!(asking, listening);
    // Dropping the halves ends the stream. A fetch that is over does not need what is
    // still on its way.
    match future::select(asking, listening).await {
        Either::Left((ended, _)) | Either::Right((ended, _)) => ended,
    }
}
