//! Which part of the program takes the inbound streams of each protocol.
//!
//! The handler of every connection reads this, so the list of names is one shared
//! slice with a version number: a handler takes the lock only when the version
//! differs from the one that it has seen.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use async_std::channel::{Receiver, Sender, TrySendError, bounded};
use futures::task::AtomicWaker;
use libp2p::{PeerId, StreamProtocol};
use prometheus::IntCounter;

use super::slots::{Full, Share, Shares};
use super::stream::PeerStream;
use crate::telemetry::throttle::Throttle;

/// The maximum number of inbound streams of one protocol that wait for their acceptor. A
/// single peer may have half of them (see [`Shares`]), which is half of a connection's
/// default P2P_MAX_INBOUND_STREAMS: that many may arrive in one burst before the
/// acceptor's task runs. A waiting stream holds its multiplexer window, at most 256 KiB
/// each unless it grows, and 32 MiB in total.
pub(super) const QUEUE: usize = 128;

/// The maximum number of protocols that are accepted at once: the control socket's 256,
/// and the node's own. Each is a name in every identify message, which has to stay small.
pub(super) const MAX_PROTOCOLS: usize = 320;

/// Why a protocol cannot be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) enum AcceptError {
    /// It is already accepted.
    Taken,
    /// The maximum number of protocols, which is given here, are already accepted.
    TooMany(usize),
    /// The node has stopped.
    Stopped,
}

/// An inbound stream, who opened it, and its place in the queue.
pub(super) type Inbound = (PeerId, PeerStream, Share);

/// A shared list of names of protocols.
pub(super) type Names = Arc<[StreamProtocol]>;

#[derive(Debug)]
pub(super) struct Acceptors {
    state: Mutex<State>,
    /// Increased with every change of the names, under the lock.
    version: AtomicU64,
    /// The behaviour, which tells the connections about a change.
    waker: AtomicWaker,
    refused: IntCounter,
}

#[derive(Debug)]
struct State {
    queues: HashMap<StreamProtocol, Queue>,
    names: Names,
    next: u64,
    stopped: bool,
    throttle: Throttle,
}

#[derive(Debug)]
struct Queue {
    id: u64,
    sender: Sender<Inbound>,
    shares: Shares,
}

impl Acceptors {
    /// `refused` counts the streams whose queue was full.
    pub(super) fn new(refused: IntCounter) -> Self {
        Acceptors {
            state: Mutex::new(State {
                queues: HashMap::new(),
                names: Arc::from([]),
                next: 0,
                stopped: false,
                throttle: Throttle::default(),
            }),
            version: AtomicU64::new(0),
            waker: AtomicWaker::new(),
            refused,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is valid between any two statements, so poisoning can be ignored.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts to accept streams of `protocol`. The number identifies the acceptor.
    pub(super) fn add(
        &self,
        protocol: StreamProtocol,
    ) -> Result<(u64, Receiver<Inbound>), AcceptError> {
        let mut state = self.lock();
        if state.stopped {
            return Err(AcceptError::Stopped);
        }
        if state.queues.contains_key(&protocol) {
            return Err(AcceptError::Taken);
        }
        if state.queues.len() >= MAX_PROTOCOLS {
            return Err(AcceptError::TooMany(MAX_PROTOCOLS));
        }
        let (sender, receiver) = bounded(QUEUE);
        let id = state.next;
        state.next += 1;
        state.queues.insert(
            protocol,
            Queue {
                id,
                sender,
                shares: Shares::new(QUEUE, QUEUE),
            },
        );
        self.changed(state);
        Ok((id, receiver))
    }

    /// Stops accepting streams of `protocol`, if `id` is still its acceptor.
    pub(super) fn remove(&self, protocol: &StreamProtocol, id: u64) {
        let mut state = self.lock();
        if state.queues.get(protocol).is_some_and(|q| q.id == id) {
            state.queues.remove(protocol);
            self.changed(state);
        }
    }

    /// Ends all queues and takes no new ones.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        state.queues.clear();
        self.changed(state);
    }

    fn changed(&self, mut state: MutexGuard<'_, State>) {
        state.names = state.queues.keys().cloned().collect();
        self.version.fetch_add(1, Ordering::Release);
        drop(state);
        self.waker.wake();
    }

    /// Registers a task to be woken at the next change.
    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// The version, which after a change differs from every earlier one.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The names that are accepted now, and their version.
    pub(super) fn names(&self) -> (u64, Names) {
        let state = self.lock();
        (self.version(), state.names.clone())
    }

    /// Passes a stream to its acceptor, or resets it if it cannot be taken.
    pub(super) fn deliver(&self, peer: PeerId, protocol: &StreamProtocol, stream: PeerStream) {
        let queue = {
            let state = self.lock();
            let queue = state.queues.get(protocol);
            queue.map(|q| (q.sender.clone(), q.shares.clone()))
        };
        let Some((sender, shares)) = queue else {
            // The acceptor ended while this stream was being negotiated.
            return;
        };
        // A stream without a place is dropped here, which resets it.
        let refused = match shares.enter(peer) {
            Ok(share) => match sender.try_send((peer, stream, share)) {
                Err(TrySendError::Full(_)) => Some(Full::All(QUEUE)),
                Ok(()) | Err(TrySendError::Closed(_)) => None,
            },
            Err(full) => Some(full),
        };
        if let Some(full) = refused {
            self.refused.inc();
            let cause = "inbound stream queue";
            let allowed = self.lock().throttle.allow(cause, Instant::now());
            if let Some(more) = allowed {
                log::warn!(
                    peer:% = peer, protocol:% = protocol, limit:? = full, suppressed = more;
                    "reset an inbound stream: whoever handles the protocol here takes them too slowly"
                );
            }
        }
    }
}
