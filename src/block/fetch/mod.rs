//! Fetches the content of a CID, from the store and, for the rest, from peers that have
//! it, and returns it as a stream of bytes in order.
//!
//! | file | noun |
//! |---|---|
//! | `run` | the task that drives one fetch; `run/ask.rs` decides whom to ask for what |
//! | `disk` | the part that waits for the disk: verify, store, look up, read |
//! | `share` | fetches of the same content at the same time |
//! | `leader_failure` | why the one that leads them gave up |
//! | `reader_queue` | counts the bytes that wait for the reader |
//! | `options` | how to fetch, and for how long to try |
//! | `event`, `progress`, `summary`, `error` | what the reader of a fetch is told |
//! | `setting` | what a fetch needs from its surroundings |
//!
//! [`crate::content::fetch`] knows what is missing, which peer is next, and how much to
//! ask of it at once. `run` decides how many sessions there are, which of them are given
//! work, and when to give up.
//!
//! Every block is verified and stored before any byte of it is delivered. Blocks that
//! arrive out of order wait in the store, so that the memory in use does not depend on
//! the size of the file. A fetch that is interrupted leaves its blocks in the store, and
//! the next one begins with them.

mod disk;
mod error;
mod event;
mod leader_failure;
mod options;
mod progress;
mod reader_queue;
mod run;
mod setting;
mod share;
mod summary;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use cid::Cid;
use futures::channel::{mpsc, oneshot};
use futures::{Stream, StreamExt};

use super::network::Network;
use crate::content::fetch::memory::MemoryUse;
pub use error::FetchError;
pub use event::Event;
use event::Out;
pub use options::FetchOptions;
pub use progress::Progress;
use reader_queue::ReaderQueue;
pub(crate) use setting::Setting;
pub(crate) use share::Sharing;
pub use summary::{ProviderStats, Summary};

/// A fetch that is under way. It is a stream of [`Event`]s, which ends with
/// [`Event::Done`] or with one error. Dropping it stops the fetch, and keeps the blocks
/// that have arrived.
#[derive(Debug)]
pub struct Fetch {
    events: mpsc::Receiver<Result<Out, FetchError>>,
    queue: Arc<ReaderQueue>,
    #[cfg(test)]
    memory: Arc<MemoryUse>,
    ended: bool,
    _alive: oneshot::Sender<()>,
}

/// The maximum number of events between the task and its reader. With the one that the
/// channel adds, they hold 4 MiB of data at 1 MiB per block.
const EVENTS: usize = 3;

impl Fetch {
    /// Starts to fetch `cid` in a separate task. `done` is called when everything is here
    /// and kept, before [`Event::Done`].
    pub(crate) fn start<N: Network>(
        setting: Setting<N>,
        cid: Cid,
        options: FetchOptions,
        done: impl FnOnce(&Cid) + Send + 'static,
    ) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        let (alive, dropped) = oneshot::channel();
        let memory = Arc::new(MemoryUse::new(setting.budget.clone()));
        let queue = Arc::new(ReaderQueue::default());
        let reader = run::Reader {
            output: sender,
            queue: queue.clone(),
            cancelled: dropped,
        };
        let now = Instant::now();
        let task = run::Run::new(setting, cid, options, reader, Arc::clone(&memory), now);
        async_std::task::spawn(task.run(done));
        Fetch {
            events,
            queue,
            #[cfg(test)]
            memory,
            ended: false,
            _alive: alive,
        }
    }
}

impl Stream for Fetch {
    type Item = Result<Event, FetchError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = match futures::ready!(self.events.poll_next_unpin(cx)) {
            Some(Ok(Out::Data(held))) => {
                let bytes = held.bytes().clone();
                drop(held);
                self.queue.take(bytes.len());
                Ok(Event::Data(bytes))
            }
            Some(Ok(Out::Event(event))) => Ok(event),
            Some(Err(error)) => Err(error),
            None => Err(FetchError::Stopped),
        };
        self.ended = matches!(next, Err(_) | Ok(Event::Done(_)));
        Poll::Ready(Some(next))
    }
}

#[cfg(test)]
mod tests;
