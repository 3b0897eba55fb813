//! Workers that open envelopes off the event loop.
//!
//! To open an envelope costs a signature check, some 60 microseconds, and what it
//! takes to unpack a MiB; the event loop has other things to do. It hands a
//! message to a worker and goes on; the verdict comes back through a channel that
//! it reads beside the swarm's events.
//!
//! A publisher's messages all go to the same worker, in the order in which they
//! came, so they leave in that order too.
//!
//! What waits is bounded: [`MAX_WAITING`] messages and [`MAX_BYTES`] in total,
//! and [`SHARE`] of either for one peer that passes messages on, so that a flood
//! from one leaves room for others. What does not fit is told to gossipsub as
//! "ignore": nobody is blamed, and its cache is freed.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use async_std::channel::{Receiver, Sender, bounded};
use futures::future::BoxFuture;
use libp2p::PeerId;
use libp2p::gossipsub::{Message, MessageId};

use crate::telemetry::coop;

/// Messages under way to a verdict. Workers open some ten thousand a second each and
/// wait for nothing, so this is a tenth of a second at most: far less than the
/// heartbeats for which gossipsub keeps a message that waits for its verdict.
pub(super) const MAX_WAITING: usize = 1024;

/// Bytes under way. Thirty-two of the largest messages.
pub(super) const MAX_BYTES: usize = 32 << 20;

/// What one propagating peer may take of both: a half, which is half a second of
/// all that it may pass on, and sixteen of the largest messages.
const SHARE: usize = 2;

/// Workers: they keep the processors busy, not the network, and the connections'
/// tasks need processors too.
const MAX_WORKERS: usize = 4;

/// A message that waits for its verdict.
#[derive(Debug)]
pub(crate) struct Job {
    /// Its id, for gossipsub.
    pub(crate) id: MessageId,
    /// The peer that brought it.
    pub(crate) source: PeerId,
    /// The message.
    pub(crate) message: Message,
    /// When it arrived.
    pub(crate) arrived: Instant,
}

/// A job with what came of it.
#[derive(Debug)]
pub(crate) struct Done<V> {
    /// The job.
    pub(crate) job: Job,
    /// The result of the work.
    pub(crate) verdict: V,
}

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// Too much waits altogether.
    Queue,
    /// Too much of this peer waits.
    Share,
}

/// What waits, altogether or of one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    messages: usize,
    bytes: usize,
}

impl Load {
    fn fits(self, bytes: usize, part: usize) -> bool {
        self.messages < MAX_WAITING / part && self.bytes + bytes <= MAX_BYTES / part
    }

    fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// See the module's documentation. `V` is a verdict.
#[derive(Debug)]
pub(crate) struct Validation<V> {
    workers: Vec<Sender<Job>>,
    done: Receiver<Done<V>>,
    key: RandomState,
    total: Load,
    /// Of peers with something under way only.
    sources: HashMap<PeerId, Load>,
}

impl<V: Send + 'static> Validation<V> {
    /// Starts workers that run `judge` on each message. They end when this is
    /// dropped.
    pub(crate) fn start<J>(judge: J) -> Self
    where
        J: for<'a> Fn(&'a Job) -> BoxFuture<'a, V> + Send + Sync + 'static,
    {
        let judge = Arc::new(judge);
        let workers = std::thread::available_parallelism()
            .map_or(1, std::num::NonZero::get)
            .min(MAX_WORKERS);
        // As many verdicts as there are jobs fit, so no worker ever waits for the
        // loop, and no send to a worker fails.
        let (results, done) = bounded(MAX_WAITING);
        let workers = (0..workers)
            .map(|_| {
                let (jobs, queue): (_, Receiver<Job>) = bounded(MAX_WAITING);
                let (results, judge) = (results.clone(), judge.clone());
                async_std::task::spawn(coop::watch("gossip validation", async move {
                    while let Ok(job) = queue.recv().await {
                        let verdict = judge(&job).await;
                        if results.send(Done { job, verdict }).await.is_err() {
                            return;
                        }
                        // A full queue must not keep a thread from the tasks of
                        // connections.
                        async_std::task::yield_now().await;
                    }
                }));
                jobs
            })
            .collect();
        Validation {
            workers,
            done,
            key: RandomState::new(),
            total: Load::default(),
            sources: HashMap::new(),
        }
    }

    /// Hands a message to its publisher's worker.
    ///
    /// # Errors
    /// The job back, when too much waits.
    pub(crate) fn submit(&mut self, job: Job) -> Result<(), (Job, Full)> {
        let bytes = job.message.data.len();
        if !self.total.fits(bytes, 1) {
            return Err((job, Full::Queue));
        }
        let load = self.sources.get(&job.source).copied().unwrap_or_default();
        if !load.fits(bytes, SHARE) {
            return Err((job, Full::Share));
        }
        let source = job.source;
        let worker = self.key.hash_one(job.message.source) as usize % self.workers.len();
        match self.workers[worker].try_send(job) {
            Ok(()) => {
                self.total.add(bytes);
                self.sources.entry(source).or_default().add(bytes);
                Ok(())
            }
            Err(e) => Err((e.into_inner(), Full::Queue)),
        }
    }

    /// Where verdicts come; each is to be told to [`Validation::settled`].
    pub(crate) fn done(&self) -> &Receiver<Done<V>> {
        &self.done
    }

    /// Counts a verdict as taken.
    pub(crate) fn settled(&mut self, job: &Job) {
        let bytes = job.message.data.len();
        self.total.remove(bytes);
        if let Some(load) = self.sources.get_mut(&job.source) {
            load.remove(bytes);
            if load.messages == 0 {
                self.sources.remove(&job.source);
            }
        }
    }

    /// Messages under way.
    pub(crate) fn waiting(&self) -> usize {
        self.total.messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use libp2p::gossipsub::IdentTopic;

    fn job(source: PeerId, publisher: PeerId, seqno: u64, bytes: usize) -> Job {
        Job {
            id: MessageId::new(&seqno.to_be_bytes()),
            source,
            message: Message {
                source: Some(publisher),
                data: vec![0; bytes],
                sequence_number: Some(seqno),
                topic: IdentTopic::new("t").hash(),
            },
            arrived: Instant::now(),
        }
    }

    /// Workers that wait until told to go on.
    fn waiting_workers() -> (Validation<()>, Sender<()>) {
        let (go, gate): (_, Receiver<()>) = bounded(1);
        let validation = Validation::start(move |_| {
            let gate = gate.clone();
            // Ends when the sender is dropped.
            async move { while gate.recv().await.is_ok() {} }.boxed()
        });
        (validation, go)
    }

    #[test]
    fn one_peer_takes_its_share_and_leaves_room_for_others() {
        let (mut validation, go) = waiting_workers();
        let (flooder, honest) = (PeerId::random(), PeerId::random());
        let mut taken = 0;
        let refused = loop {
            match validation.submit(job(flooder, flooder, taken, 10)) {
                Ok(()) => taken += 1,
                Err((_, full)) => break full,
            }
        };
        assert_eq!(refused, Full::Share);
        assert_eq!(taken as usize, MAX_WAITING / SHARE);
        assert!(validation.submit(job(honest, honest, 0, 10)).is_ok());
        drop(go);
        async_std::task::block_on(async {
            while validation.waiting() > 0 {
                let done = validation.done().recv().await.unwrap();
                validation.settled(&done.job);
            }
        });
        assert!(
            validation.sources.is_empty(),
            "nothing is kept of who has left"
        );
        assert_eq!(validation.total, Load::default());
        assert!(validation.submit(job(flooder, flooder, 0, 10)).is_ok());
    }

    #[test]
    fn what_waits_is_bounded_in_messages_and_in_bytes() {
        let (mut validation, _go) = waiting_workers();
        let mut taken = 0;
        loop {
            let peer = PeerId::random();
            if validation.submit(job(peer, peer, 0, 1)).is_err() {
                break;
            }
            taken += 1;
        }
        assert_eq!(taken, MAX_WAITING);
        let (mut validation, _go) = waiting_workers();
        let mut bytes = 0;
        loop {
            let peer = PeerId::random();
            if validation.submit(job(peer, peer, 0, 1 << 20)).is_err() {
                break;
            }
            bytes += 1 << 20;
        }
        assert_eq!(bytes, MAX_BYTES);
    }

    #[test]
    fn the_messages_of_a_publisher_keep_their_order_whoever_brings_them() {
        let mut validation = Validation::start(|job| {
            let seqno = job.message.sequence_number;
            async move { seqno }.boxed()
        });
        let publishers: Vec<PeerId> = (0..8).map(|_| PeerId::random()).collect();
        for seqno in 0..100 {
            for publisher in &publishers {
                let bringer = PeerId::random();
                validation
                    .submit(job(bringer, *publisher, seqno, 10))
                    .unwrap();
            }
        }
        async_std::task::block_on(async {
            let mut next: HashMap<PeerId, u64> = HashMap::new();
            while validation.waiting() > 0 {
                let done = validation.done().recv().await.unwrap();
                validation.settled(&done.job);
                let next = next.entry(done.job.message.source.unwrap()).or_default();
                assert_eq!(done.verdict, Some(*next));
                *next += 1;
            }
            assert_eq!(next.len(), publishers.len());
        });
    }
}
