//! Opens the envelopes that gossip brings: from bytes to a message that nobody
//! on this node has seen yet, or a reason why not.
//!
//! # The order of things, and why
//!
//! 1. As [`Envelope::open`], checks everything up to the signature. Only what its
//!    publisher signed goes on, so nobody can touch another one's window.
//! 2. The number is checked and marked in one step under one lock. Of two tasks
//!    that open the same message at once, one gets it.
//! 3. The payload is unpacked. When that fails the number stays used: the
//!    publisher signed the broken payload, and nobody else could have made it.
//!    Otherwise the same envelope could be sent again and again, each time for
//!    the price of a signature check and an unpacking.
//! 4. The mark is written to the journal, and then the message is delivered. In
//!    the other order a kill in between would deliver it twice. This way it may
//!    lose a message that was never delivered: gossip promises no delivery.
//!    Passing it on to other nodes waits for no mark: they have windows of their own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use libp2p::PeerId;

use super::recorder::{Recorder, Timing};
use crate::message::envelope;
use crate::message::keys::{Keys, Known};
use crate::message::publisher::Publisher;
use crate::message::refusal::Refusal;
use crate::message::windows::{Id, Mark, Windows};
use crate::message::{Envelope, Limits, Opened};
use crate::node::Metrics;
use crate::store::{self, Store};

/// See the module's documentation. Clones share the windows; any number of
/// tasks may open messages at once.
#[derive(Clone, Debug)]
pub struct Opener {
    own: PeerId,
    limits: Limits,
    windows: Arc<Mutex<Windows>>,
    keys: Arc<Mutex<Keys>>,
    /// `None` on a node that stores nothing.
    recorder: Option<Recorder>,
    metrics: Arc<Metrics>,
}

impl Opener {
    /// An opener on node `own` whose windows are kept in `store`. Waits for the
    /// disk.
    ///
    /// # Errors
    /// When the windows cannot be read.
    pub fn stored(
        own: PeerId,
        limits: Limits,
        store: Store,
        metrics: Arc<Metrics>,
    ) -> Result<Self, store::Error> {
        Self::with_timing(own, limits, store, metrics, Timing::default())
    }

    fn with_timing(
        own: PeerId,
        limits: Limits,
        store: Store,
        metrics: Arc<Metrics>,
        timing: Timing,
    ) -> Result<Self, store::Error> {
        let (recorder, windows) = Recorder::open(store, metrics.clone(), timing)?;
        Ok(Opener {
            own,
            limits,
            windows,
            keys: Arc::default(),
            recorder: Some(recorder),
            metrics,
        })
    }

    /// An opener that forgets everything at its end.
    pub fn unstored(own: PeerId, limits: Limits, metrics: Arc<Metrics>) -> Self {
        Opener {
            own,
            limits,
            windows: Arc::default(),
            keys: Arc::default(),
            recorder: None,
            metrics,
        }
    }

    /// Opens an envelope that came under `topic` from the connected peer `from`.
    /// Costs a signature check, some 50 µs, in the task that calls it.
    ///
    /// What it returns is recorded: it is delivered now or never. A refusal is
    /// counted in `p2p_messages_refused_total`.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn open(&self, topic: &[u8], bytes: Bytes, from: &PeerId) -> Result<Opened, Refusal> {
        let (opened, mark) = self.admit(topic, bytes, from)?;
        self.record(mark).await;
        Ok(opened)
    }

    /// As [`Self::open`], without waiting for the record: what it returns is to be
    /// delivered after [`Self::record`] only. To pass it on to other nodes needs no
    /// record, since they have windows of their own.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn admit(
        &self,
        topic: &[u8],
        bytes: Bytes,
        from: &PeerId,
    ) -> Result<(Opened, Mark), Refusal> {
        self.check(topic, bytes, from, SystemTime::now())
            .inspect_err(|refusal| {
                self.metrics
                    .messages_refused
                    .with_label_values(&[refusal.label()])
                    .inc();
            })
    }

    /// Returns when `mark` is recorded.
    pub async fn record(&self, mark: Mark) {
        if let Some(recorder) = &self.recorder {
            recorder.record(mark).await;
        }
    }

    /// Everything but the record and the counter: for benches and tests.
    #[doc(hidden)]
    pub fn check(
        &self,
        topic: &[u8],
        bytes: Bytes,
        from: &PeerId,
        now: SystemTime,
    ) -> Result<(Opened, Mark), Refusal> {
        let (envelope, id) = self.envelope(topic, &bytes)?;
        let (publisher, number) = (envelope.publisher(), envelope.number());
        if publisher == self.own {
            // Its window is not kept: whatever of ours comes in is an echo, or
            // an old message that somebody kept.
            return Err(Refusal::Own { number });
        }
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mark = {
            let mut windows = lock(&self.windows);
            let mark = Mark {
                id,
                number,
                at: u32::try_from(seconds).unwrap_or(u32::MAX),
                lane: windows.lane_of(from),
            };
            windows
                .accept(mark)
                .map_err(|refused| Refusal::of_window(refused, publisher, number))?;
            self.metrics.message_publishers.set(windows.len() as i64);
            mark
        };
        Ok((envelope.unpack(self.limits)?, mark))
    }

    /// The envelope in `bytes`, and its publisher's id.
    fn envelope(&self, topic: &[u8], bytes: &Bytes) -> Result<(Envelope, Id), Refusal> {
        let raw = envelope::decode(bytes, self.limits)?;
        let known = lock(&self.keys).find(&raw.key);
        if let Some(known) = known {
            return Ok((Envelope::verify(topic, raw, &known.publisher)?, known.id));
        }
        let key = raw.key.clone();
        let known = Known::new(Publisher::decode(&key)?);
        let envelope = Envelope::verify(topic, raw, &known.publisher)?;
        let id = known.id;
        lock(&self.keys).keep(&key, Arc::new(known));
        Ok((envelope, id))
    }

    /// Stores the windows. Nothing that is opened afterwards is recorded.
    pub async fn close(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.close().await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is valid between any two calls of it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
