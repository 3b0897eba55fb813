//! The loop that reads the requests of one stream.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use cid::Cid;
use futures::channel::mpsc;
use futures::io::AsyncRead;

use super::super::MAX_WANTS;
use super::super::frame::FrameReader;
use super::wants::{Want, Wants};
use super::{ServeError, lock};
use crate::content::address;

/// Reads requests into `wants` until the peer closes its half of the stream. It tells
/// `notify` about news, and waits between two requests for as long as `pace` says.
pub(super) async fn read<R: AsyncRead + Unpin>(
    mut reader: FrameReader<R>,
    wants: &Mutex<Wants>,
    mut notify: mpsc::Sender<()>,
    pace: impl Fn(u32) -> Option<Duration>,
) -> Result<(), ServeError> {
    while let Some(request) = reader.request().await? {
        let arrived = Instant::now();
        // Each cancelled id is looked for in the queue. A frame full of one-byte ids
        // would cost a thousand times what it costs to send.
        if request.cancel.len() > MAX_WANTS {
            return Err(ServeError::TooManyCancels);
        }
        // A request without wants does not keep the stream alive.
        let mut news = !request.wants.is_empty();
        let uncharged = {
            let mut wants = lock(wants);
            wants.uncharged += request.cancel.len() as u32 + u32::from(!news);
            for want in request.wants {
                let cid = Cid::try_from(&want.cid[..]).map_err(|_| ServeError::BadWant)?;
                // This node does not have any block under a CID that it cannot verify.
                let cid = address::canonical(&cid).unwrap_or(cid);
                wants.push(Want {
                    id: want.id,
                    cid,
                    have_only: want.have_only,
                    arrived,
                })?;
            }
            for id in request.cancel {
                news |= wants.cancel(id);
            }
            std::mem::take(&mut wants.uncharged)
        };
        if news {
            // If the channel is full, the news has been reported already.
            let _ = notify.try_send(());
        }
        if uncharged > 0
            && let Some(wait) = pace(uncharged)
        {
            async_io::Timer::after(wait).await;
        }
    }
    Ok(())
}
