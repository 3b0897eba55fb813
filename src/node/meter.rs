//! Counts the streams of each peer, whatever protocol they carry.
//!
//! libp2p knows its own handlers' streams but tells nobody how many there are;
//! so the muxer that the swarm gets counts each substream from its opening to
//! its drop.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};
use libp2p::PeerId;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};

/// Stream counts of all living connections, by peer. Bounded by the connections
/// that live: the entry of a connection goes when its muxer does.
#[derive(Clone, Debug, Default)]
pub(super) struct Meters {
    peers: Arc<Mutex<HashMap<PeerId, Vec<Weak<AtomicUsize>>>>>,
}

impl Meters {
    /// Wraps the muxer of a new connection with `peer`.
    pub(super) fn wrap(&self, peer: PeerId, inner: StreamMuxerBox) -> StreamMuxerBox {
        let open = Arc::new(AtomicUsize::new(0));
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let list = peers.entry(peer).or_default();
        list.retain(|w| w.strong_count() > 0);
        list.push(Arc::downgrade(&open));
        StreamMuxerBox::new(Muxer { inner, open })
    }

    /// Streams open with `peer` now.
    pub(super) fn streams(&self, peer: &PeerId) -> usize {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |w: &Weak<AtomicUsize>| w.upgrade().map_or(0, |n| n.load(Ordering::Relaxed));
        peers
            .get(peer)
            .map_or(0, |list| list.iter().map(count).sum())
    }

    /// Forgets `peer`, when none of its connections lives.
    pub(super) fn forget(&self, peer: &PeerId) {
        self.peers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(peer);
    }
}

struct Muxer {
    inner: StreamMuxerBox,
    open: Arc<AtomicUsize>,
}

impl Muxer {
    fn count(&self, inner: SubstreamBox) -> Substream {
        self.open.fetch_add(1, Ordering::Relaxed);
        Substream {
            inner,
            open: self.open.clone(),
        }
    }
}

impl StreamMuxer for Muxer {
    type Substream = Substream;
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

struct Substream {
    inner: SubstreamBox,
    open: Arc<AtomicUsize>,
}

impl Drop for Substream {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for Substream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read_vectored(cx, bufs)
    }
}

impl AsyncWrite for Substream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
