//! One connection of a peer carries what this node sends it.
//!
//! Gossipsub has one queue for each peer, and the handlers of all connections with
//! that peer take from it, each for a stream of its own. Two peers that dial each
//! other at the same time, or that are connected over two transports, would get
//! every other message over the other connection: whatever comes faster there
//! overtakes, and the messages of a publisher arrive out of order. Measured on
//! loopback with two connections: up to 128 of 2,000 messages come after a later
//! one.
//!
//! So a handler that asks for its stream to send on gets it only when no other
//! connection of the peer has one. It waits until that connection has ended or could
//! not open its stream. What a peer sends is heard on each of its connections as
//! before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use libp2p::PeerId;
use libp2p::swarm::handler::ConnectionEvent;
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, ConnectionId, SubstreamProtocol};

/// Which of a peer's connections sends.
#[derive(Debug, Default)]
struct Turn {
    sends: Option<ConnectionId>,
    /// Handlers that wait, one for each further connection of the peer.
    waiting: HashMap<ConnectionId, Waker>,
}

impl Turn {
    /// Whether connection `id` may send; when it may not, `waker` is called as soon
    /// as it is worth asking again.
    fn take(&mut self, id: ConnectionId, waker: &Waker) -> bool {
        let sends = *self.sends.get_or_insert(id) == id;
        if sends {
            self.waiting.remove(&id);
        } else {
            self.waiting.insert(id, waker.clone());
        }
        sends
    }

    /// Connection `id` does not send any more.
    fn give_up(&mut self, id: ConnectionId) {
        self.waiting.remove(&id);
        if self.sends == Some(id) {
            self.sends = None;
            for (_, waker) in self.waiting.drain() {
                waker.wake();
            }
        }
    }
}

fn lock(turn: &Mutex<Turn>) -> MutexGuard<'_, Turn> {
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The turns of all peers with connections.
#[derive(Debug, Default)]
pub(super) struct Senders(HashMap<PeerId, Weak<Mutex<Turn>>>);

impl Senders {
    /// Wraps the handler of a new connection with `peer`.
    pub(super) fn wrap<H: ConnectionHandler>(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        inner: H,
    ) -> Sender<H> {
        let entry = self.0.entry(peer).or_default();
        let turn = entry.upgrade().unwrap_or_default();
        *entry = Arc::downgrade(&turn);
        Sender {
            inner,
            requested: None,
            claim: Claim { id, turn },
        }
    }

    /// Forgets peers without connections. To be called now and then.
    pub(super) fn tend(&mut self) {
        self.0.retain(|_, turn| turn.strong_count() > 0);
    }
}

/// What a connection has of its peer's turn: it may send, or waits. Given up when it is
/// dropped.
#[derive(Debug)]
struct Claim {
    id: ConnectionId,
    turn: Arc<Mutex<Turn>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.turn).give_up(self.id);
    }
}

/// See the module's documentation.
pub(in crate::node) struct Sender<H: ConnectionHandler> {
    inner: H,
    /// The stream that it has asked for and may not have yet.
    requested: Option<SubstreamProtocol<H::OutboundProtocol, H::OutboundOpenInfo>>,
    claim: Claim,
}

impl<H: ConnectionHandler> ConnectionHandler for Sender<H> {
    type FromBehaviour = H::FromBehaviour;
    type ToBehaviour = H::ToBehaviour;
    type InboundProtocol = H::InboundProtocol;
    type OutboundProtocol = H::OutboundProtocol;
    type InboundOpenInfo = H::InboundOpenInfo;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        self.inner.listen_protocol()
    }

    fn connection_keep_alive(&self) -> bool {
        self.inner.connection_keep_alive()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<
        ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>,
    > {
        // At most once more: it asks for one stream and then waits for it.
        for _ in 0..2 {
            if self.requested.is_some()
                && lock(&self.claim.turn).take(self.claim.id, cx.waker())
                && let Some(protocol) = self.requested.take()
            {
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
            }
            match self.inner.poll(cx) {
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol }) => {
                    self.requested = Some(protocol);
                }
                other => return other,
            }
        }
        // It has asked for another one: look again, after the others.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.inner.poll_close(cx)
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        self.inner.on_behaviour_event(event);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            '_,
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        if let ConnectionEvent::DialUpgradeError(_) = &event {
            // Another connection may have more luck.
            lock(&self.claim.turn).give_up(self.claim.id);
        }
        self.inner.on_connection_event(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    #[test]
    fn the_first_connection_sends_and_the_next_one_when_it_ends() {
        let mut turn = Turn::default();
        let woken = Arc::new(Count::default());
        let waker = Waker::from(woken.clone());
        assert!(turn.take(id(1), &waker));
        assert!(turn.take(id(1), &waker), "it keeps its turn");
        assert!(!turn.take(id(2), &waker));
        assert!(!turn.take(id(2), &waker));
        assert!(!turn.take(id(3), &waker));
        assert_eq!(turn.waiting.len(), 2, "each waits once");
        // One that waits and ends changes nothing.
        turn.give_up(id(3));
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        turn.give_up(id(1));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(turn.take(id(2), &waker));
        assert!(!turn.take(id(1), &waker));
    }

    #[test]
    fn a_peer_is_forgotten_with_its_last_connection() {
        use libp2p::swarm::dummy;
        let (mut senders, peer) = (Senders::default(), PeerId::random());
        let first = senders.wrap(peer, id(1), dummy::ConnectionHandler);
        let second = senders.wrap(peer, id(2), dummy::ConnectionHandler);
        assert!(Arc::ptr_eq(&first.claim.turn, &second.claim.turn));
        drop(first);
        senders.tend();
        assert_eq!(senders.0.len(), 1);
        drop(second);
        senders.tend();
        assert!(senders.0.is_empty());
    }
}
