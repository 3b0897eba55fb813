//! Accepted messages on their way to the programs of this host: each waits until it is
//! written down that it was seen ([`crate::node::gossip::signed::opener`]).
//!
//! The verdict on a message does not wait for that. Gossipsub keeps a message for
//! [`HISTORY`](crate::gossip::HISTORY) heartbeats and passes it on when the verdict is there; one
//! whose verdict comes later goes to nobody, and nobody is told. So with a slow disk, or
//! a processor that is so busy that a write takes its time, a node would be a hole in
//! every mesh that it is in: seen in a network of forty nodes on two busy cores, where
//! each verdict took ten seconds and more, since those of one publisher waited for each
//! other's writes. Now the verdict takes a signature check, and what waits for the disk
//! is what this host's own programs get. All that is there is written at once, and
//! handed out in the order of the verdicts.
//!
//! What waits is bounded: [`MAX_WAITING`] messages and [`MAX_BYTES`]. What does not fit,
//! since the disk has not answered for long, is passed on and handed out to nobody here.

use async_std::channel::{Receiver, Sender, bounded};
use futures::StreamExt;
use futures::future::BoxFuture;

use super::validation::{MAX_BYTES, MAX_WAITING};
use crate::message::windows::Mark;
use crate::telemetry::coop;

/// See the module's documentation. `T` is a message with what belongs to it.
#[derive(Debug)]
pub(crate) struct Recording<T> {
    jobs: Sender<(Mark, T)>,
    done: Receiver<T>,
    waiting: usize,
    bytes: usize,
}

impl<T: Send + 'static> Recording<T> {
    /// Starts a task that has each mark written by `record`. It ends when this is
    /// dropped.
    pub(crate) fn start<R>(record: R) -> Self
    where
        R: Fn(Mark) -> BoxFuture<'static, ()> + Send + 'static,
    {
        // As many as there may be at all: none ever waits for room.
        let (jobs, queue) = bounded::<(Mark, T)>(MAX_WAITING);
        let (written, done) = bounded(MAX_WAITING);
        async_std::task::spawn(coop::watch("gossip recording", async move {
            let writing = queue.map(move |(mark, message)| {
                let write = record(mark);
                async move {
                    write.await;
                    message
                }
            });
            let mut in_order = std::pin::pin!(writing.buffered(MAX_WAITING));
            while let Some(message) = in_order.next().await {
                if written.send(message).await.is_err() {
                    return;
                }
            }
        }));
        Recording {
            jobs,
            done,
            waiting: 0,
            bytes: 0,
        }
    }

    /// Has `mark` written; after that, and after the messages before it, the one of `bytes`
    /// comes out of [`Recording::done`].
    ///
    /// # Errors
    /// The message back, when too much waits.
    pub(crate) fn push(&mut self, mark: Mark, bytes: usize, message: T) -> Result<(), T> {
        if self.waiting >= MAX_WAITING || self.bytes + bytes > MAX_BYTES {
            return Err(message);
        }
        let sent = self.jobs.try_send((mark, message));
        sent.map_err(|e| e.into_inner().1)?;
        self.waiting += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// Where the messages come whose marks are written; each is to be told to
    /// [`Recording::taken`].
    pub(crate) fn done(&self) -> &Receiver<T> {
        &self.done
    }

    /// Counts a message of `bytes` as taken.
    pub(crate) fn taken(&mut self, bytes: usize) {
        self.waiting = self.waiting.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Whether half of what may wait does. Much larger than one message, so that the next
    /// one still fits.
    pub(crate) fn is_half_full(&self) -> bool {
        2 * self.waiting >= MAX_WAITING || 2 * self.bytes >= MAX_BYTES
    }

    /// Messages that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    use futures::FutureExt;
    use futures::channel::oneshot;

    use super::*;

    fn mark(number: u64) -> Mark {
        Mark {
            id: [7; 16],
            number,
            at: 0,
            lane: 0,
        }
    }

    #[test]
    fn all_that_wait_are_written_at_once_and_come_out_in_their_order() {
        async_std::task::block_on(async {
            let (began, begun) = async_std::channel::unbounded();
            let writes = Arc::new(Mutex::new(HashMap::new()));
            let mut recording = Recording::start({
                let writes = writes.clone();
                move |mark: Mark| {
                    let (done, written) = oneshot::channel::<()>();
                    writes.lock().unwrap().insert(mark.number, done);
                    let began = began.clone();
                    async move {
                        began.send(mark.number).await.unwrap();
                        written.await.unwrap();
                    }
                    .boxed()
                }
            });
            let count = 100;
            for number in 0..count {
                recording.push(mark(number), 1, number).unwrap();
            }
            // None is finished, and each has begun.
            for _ in 0..count {
                begun.recv().await.unwrap();
            }
            assert!(recording.done().is_empty());
            // The disk is done with the last one first.
            for number in (0..count).rev() {
                assert!(recording.done().is_empty());
                let done = writes.lock().unwrap().remove(&number).unwrap();
                done.send(()).unwrap();
            }
            for number in 0..count {
                assert_eq!(recording.done().recv().await, Ok(number));
            }
        });
    }

    #[test]
    fn what_waits_for_a_disk_that_does_not_answer_is_bounded() {
        for (bytes, most) in [(1, MAX_WAITING), (1 << 20, MAX_BYTES >> 20)] {
            let mut recording = Recording::start(|_| futures::future::pending().boxed());
            for number in 0..most as u64 {
                assert_eq!(recording.push(mark(number), bytes, number), Ok(()));
            }
            assert_eq!(recording.push(mark(7), bytes, 7), Err(7));
            assert_eq!(recording.waiting(), most);
            recording.taken(bytes);
            assert_eq!(recording.waiting(), most - 1);
        }
    }
}
