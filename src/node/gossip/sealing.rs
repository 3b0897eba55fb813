//! Sealing what programs on this host publish, in the order of their turns.
//!
//! Receivers remember the last [`crate::message::window::WIDTH`] numbers of a
//! publisher and ignore what is older. Beside a large message, which waits long for
//! its turn (`super::line`), very many small ones go. So a message gets its number
//! when its turn has come, and all leave in the order of their numbers.
//!
//! A signature takes its time, and a number may have to wait for the disk, so that
//! is not for the event loop but for a task beside it: one, which keeps the order.
//! What it has sealed comes back through a channel that the loop reads beside the
//! swarm's events.
//!
//! Messages of plain topics are not sealed and go at once, so one that a program
//! publishes without waiting for the answer to the one before may overtake that on
//! another topic; on one topic none ever does.
//!
//! What waits is bounded as the line is: [`MAX_WAITING`] messages and [`MAX_BYTES`].
//! The pace lets few come at once, so more wait only while the disk does not answer.

use async_std::channel::{Receiver, Sender, bounded};
use bytes::Bytes;

use crate::gossip::line::{MAX_BYTES, MAX_WAITING};
use crate::message::Packed;
use crate::node::gossip::signed::sealer::{Error, Sealer};
use crate::telemetry::coop;

/// A message to be sealed: what for, and what goes with it.
#[derive(Debug)]
struct Job<T> {
    topic: String,
    packed: Packed,
    what: T,
}

/// What came of it.
#[derive(Debug)]
pub(in crate::node) struct Sealed<T> {
    /// What was sealed.
    pub(in crate::node) packed: Packed,
    /// What went with it.
    pub(in crate::node) what: T,
    /// Number and envelope; `None` when nobody wanted it any more.
    pub(in crate::node) result: Option<Result<(u64, Bytes), Error>>,
}

/// See the module's documentation. `T` goes with each message.
#[derive(Debug)]
pub(in crate::node) struct Sealing<T> {
    jobs: Sender<Job<T>>,
    done: Receiver<Sealed<T>>,
    messages: usize,
    bytes: usize,
}

impl<T: Send + 'static> Sealing<T> {
    /// Starts the task, which ends when this is dropped. A message that is not
    /// `wanted` when it is its turn gets no number.
    pub(in crate::node) fn start(sealer: Sealer, wanted: fn(&T) -> bool) -> Self {
        // What waits is bounded to as many, so no send ever waits or fails.
        let (jobs, queue): (_, Receiver<Job<T>>) = bounded(MAX_WAITING);
        let (results, done) = bounded(MAX_WAITING);
        async_std::task::spawn(coop::watch("gossip sealing", async move {
            while let Ok(job) = queue.recv().await {
                let Job {
                    topic,
                    packed,
                    what,
                } = job;
                let result = match wanted(&what) {
                    true => Some(sealer.seal(topic.as_bytes(), &packed).await),
                    false => None,
                };
                let sealed = Sealed {
                    packed,
                    what,
                    result,
                };
                if results.send(sealed).await.is_err() {
                    return;
                }
                // A full queue must not keep a thread from the tasks of connections.
                async_std::task::yield_now().await;
            }
        }));
        Sealing {
            jobs,
            done,
            messages: 0,
            bytes: 0,
        }
    }

    /// What has been sealed; [`Self::settle`] each.
    pub(in crate::node) fn done(&self) -> &Receiver<Sealed<T>> {
        &self.done
    }

    /// Whether a message fits.
    pub(in crate::node) fn has_room(&self, packed: &Packed) -> bool {
        self.messages < MAX_WAITING && self.bytes.saturating_add(packed.size()) <= MAX_BYTES
    }

    /// Hands a message on to be sealed for `topic`.
    ///
    /// # Errors
    /// When it does not fit, or the task has ended; and `what` back.
    pub(in crate::node) fn push(
        &mut self,
        topic: String,
        packed: Packed,
        what: T,
    ) -> Result<(), T> {
        if !self.has_room(&packed) {
            return Err(what);
        }
        let size = packed.size();
        let job = Job {
            topic,
            packed,
            what,
        };
        self.jobs.try_send(job).map_err(|e| e.into_inner().what)?;
        self.messages += 1;
        self.bytes += size;
        Ok(())
    }

    /// Counts a message that was taken from [`Self::done`].
    pub(in crate::node) fn settle(&mut self, sealed: &Sealed<T>) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(sealed.packed.size());
    }
}

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;

    use super::*;
    use crate::gossip::envelope_limits;
    use crate::node::gossip::signed::Numbers;

    fn sealing() -> (Sealer, Sealing<usize>) {
        let key = Keypair::generate_ed25519();
        let sealer = Sealer::new(key, Numbers::unstored(), envelope_limits());
        let sealing = Sealing::start(sealer.clone(), |n| *n != 1);
        (sealer, sealing)
    }

    #[test]
    fn messages_are_numbered_in_the_order_in_which_they_came_and_only_those_that_are_wanted() {
        let (sealer, mut sealing) = sealing();
        for n in 0..20_usize {
            let payload = Bytes::from(vec![0; n * 100]);
            let packed = sealer.pack(payload).unwrap();
            assert_eq!(sealing.push("/p2p-node/t".into(), packed, n), Ok(()));
        }
        let done = sealing.done().clone();
        let mut last: Option<u64> = None;
        for n in 0..20 {
            let sealed = async_std::task::block_on(done.recv()).unwrap();
            sealing.settle(&sealed);
            assert_eq!(sealed.what, n);
            let number = sealed.result.map(|result| result.unwrap().0);
            assert_eq!(number.is_none(), n == 1);
            if let (Some(last), Some(number)) = (last, number) {
                assert_eq!(number, last + 1, "none is spent in vain");
            }
            last = number.or(last);
        }
        assert_eq!((sealing.messages, sealing.bytes), (0, 0));
    }

    #[test]
    fn what_waits_is_bounded() {
        let (sealer, mut sealing) = sealing();
        let packed = sealer.pack(Bytes::new()).unwrap();
        for n in 0..MAX_WAITING {
            assert_eq!(sealing.push("t".into(), packed.clone(), n), Ok(()));
        }
        // What is sealed by now counts until the loop has taken it.
        assert_eq!(sealing.push("t".into(), packed, 7), Err(7));
    }
}
