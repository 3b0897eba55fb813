//! Counts the streams of each peer, whatever protocol they carry.
//!
//! libp2p knows its own handlers' streams but tells nobody how many there are;
//! so the muxer that the swarm gets counts each substream from its opening to
//! its drop.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use libp2p::PeerId;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};

use super::guarded::Guarded;

/// Stream counts of all living connections, by peer. Bounded by the connections
/// that live: the [`Entry`] of a connection goes with its muxer.
#[derive(Clone, Debug, Default)]
pub(super) struct Meters {
    peers: Arc<Mutex<HashMap<PeerId, Vec<Weak<AtomicUsize>>>>>,
}

impl Meters {
    /// Wraps the muxer of a new connection with `peer`.
    pub(super) fn wrap(&self, peer: PeerId, inner: StreamMuxerBox) -> StreamMuxerBox {
        let open = Arc::new(AtomicUsize::new(0));
        self.lock()
            .entry(peer)
            .or_default()
            .push(Arc::downgrade(&open));
        let entry = Entry {
            meters: self.clone(),
            peer,
            open: Arc::downgrade(&open),
        };
        StreamMuxerBox::new(Muxer {
            inner,
            open,
            _entry: entry,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, Vec<Weak<AtomicUsize>>>> {
        // Nothing panics while it holds the lock.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Streams open with `peer` now.
    pub(super) fn streams(&self, peer: &PeerId) -> usize {
        let peers = self.lock();
        let count = |w: &Weak<AtomicUsize>| w.upgrade().map_or(0, |n| n.load(Ordering::Relaxed));
        peers
            .get(peer)
            .map_or(0, |list| list.iter().map(count).sum())
    }
}

/// A connection's place in [`Meters`], given back with its muxer: also when the
/// swarm refuses the connection, of which it tells nobody that it closed.
struct Entry {
    meters: Meters,
    peer: PeerId,
    open: Weak<AtomicUsize>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut peers = self.meters.lock();
        if let Some(list) = peers.get_mut(&self.peer) {
            list.retain(|open| !open.ptr_eq(&self.open));
            if list.is_empty() {
                peers.remove(&self.peer);
            }
        }
    }
}

struct Muxer {
    inner: StreamMuxerBox,
    open: Arc<AtomicUsize>,
    _entry: Entry,
}

impl Muxer {
    fn count(&self, stream: SubstreamBox) -> Guarded<SubstreamBox, Open> {
        self.open.fetch_add(1, Ordering::Relaxed);
        Guarded::new(stream, Open(self.open.clone()))
    }
}

impl StreamMuxer for Muxer {
    type Substream = Guarded<SubstreamBox, Open>;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_inbound(cx))?;
        Poll::Ready(Ok(self.count(stream)))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_outbound(cx))?;
        Poll::Ready(Ok(self.count(stream)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// Counts its stream until it is dropped with it.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A muxer on which nothing ever happens.
    struct Idle;

    impl StreamMuxer for Idle {
        type Substream = futures::io::Cursor<Vec<u8>>;
        type Error = io::Error;

        fn poll_inbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<io::Result<Self::Substream>> {
            Poll::Pending
        }

        fn poll_outbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<io::Result<Self::Substream>> {
            Poll::Ready(Ok(futures::io::Cursor::new(Vec::new())))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
            Poll::Pending
        }
    }

    #[test]
    fn a_connection_that_is_refused_leaves_nothing_behind() {
        let meters = Meters::default();
        // The swarm drops a refused connection without an event: peer ids are
        // free, and each would leave an entry for ever.
        for _ in 0..100 {
            drop(meters.wrap(PeerId::random(), StreamMuxerBox::new(Idle)));
        }
        assert!(meters.lock().is_empty());
    }

    #[test]
    fn streams_of_all_connections_count_until_they_are_dropped() {
        let (meters, peer) = (Meters::default(), PeerId::random());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut first = meters.wrap(peer, StreamMuxerBox::new(Idle));
        let mut second = meters.wrap(peer, StreamMuxerBox::new(Idle));
        let Poll::Ready(Ok(a)) = Pin::new(&mut first).poll_outbound(&mut cx) else {
            panic!("no stream")
        };
        let Poll::Ready(Ok(b)) = Pin::new(&mut second).poll_outbound(&mut cx) else {
            panic!("no stream")
        };
        assert_eq!(meters.streams(&peer), 2);
        drop((a, first));
        assert_eq!(meters.streams(&peer), 1);
        drop((b, second));
        assert_eq!(meters.streams(&peer), 0);
        assert!(meters.lock().is_empty());
    }
}
