//! A connection between two hosts: two pipes of bytes in memory.
//!
//! Each direction holds as many bytes as a socket's buffer would; a writer that is
//! faster than its reader waits. A connection that is idle holds no buffer at all.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures::{AsyncRead, AsyncWrite, FutureExt};

use crate::host::Host;

/// Bytes under way in one direction: about what Linux gives a TCP socket to begin with.
pub(crate) const CAPACITY: usize = 128 * 1024;

/// Bytes that were written together, and when they arrive.
struct Parcel {
    due: Option<Instant>,
    bytes: Vec<u8>,
    read: usize,
}

/// One direction.
#[derive(Default)]
struct Way {
    parcels: VecDeque<Parcel>,
    held: usize,
    /// The writer has said that nothing follows.
    ended: bool,
    /// The reader has gone.
    deaf: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Way {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }

    fn put(&mut self, bytes: &[u8], due: Option<Instant>) {
        self.held += bytes.len();
        match self.parcels.back_mut() {
            Some(last) if last.due == due => last.bytes.extend_from_slice(bytes),
            _ => self.parcels.push_back(Parcel {
                due,
                bytes: bytes.to_vec(),
                read: 0,
            }),
        }
    }

    /// Moves what has arrived, and says when the next bytes do if none have.
    fn take(
        &mut self,
        buf: &mut [u8],
        now: impl Fn() -> Instant,
    ) -> Result<usize, Option<Instant>> {
        let mut taken = 0;
        while let Some(parcel) = self.parcels.front_mut() {
            if let Some(due) = parcel.due
                && due > now()
            {
                return if taken > 0 { Ok(taken) } else { Err(Some(due)) };
            }
            let left = &parcel.bytes[parcel.read..];
            let n = left.len().min(buf.len() - taken);
            buf[taken..taken + n].copy_from_slice(&left[..n]);
            (parcel.read, taken) = (parcel.read + n, taken + n);
            if parcel.read < parcel.bytes.len() {
                break;
            }
            self.parcels.pop_front();
        }
        if self.parcels.is_empty() {
            self.parcels = VecDeque::new();
        }
        self.held -= taken;
        if taken > 0 { Ok(taken) } else { Err(None) }
    }
}

/// Both directions, and the hosts at the ends.
pub(crate) struct Link {
    ways: [Mutex<Way>; 2],
    hosts: [Arc<Host>; 2],
    latency: Duration,
    reset: AtomicBool,
}

impl Link {
    /// A connection from the first host to the second.
    pub(crate) fn between(dialer: &Arc<Host>, listener: &Arc<Host>, latency: Duration) -> [End; 2] {
        let link = Arc::new(Link {
            ways: Default::default(),
            hosts: [dialer.clone(), listener.clone()],
            latency,
            reset: AtomicBool::new(false),
        });
        for host in [dialer, listener] {
            host.keep(&link);
        }
        [0, 1].map(|side| End {
            link: link.clone(),
            side,
            timer: None,
        })
    }

    /// No byte passes now, and no end either.
    fn is_cut(&self) -> bool {
        !self.hosts[0].reaches(&self.hosts[1])
    }

    fn is_reset(&self) -> bool {
        self.reset.load(Ordering::Acquire)
    }

    /// Ends it for both sides at once, as the kernel does when a process dies.
    pub(crate) fn reset(&self) {
        self.reset.store(true, Ordering::Release);
        for side in 0..2 {
            let mut way = self.way(side);
            (way.parcels, way.held) = (VecDeque::new(), 0);
            way.wake();
        }
    }

    /// Whoever waits looks again.
    pub(crate) fn nudge(&self) {
        for side in 0..2 {
            self.way(side).wake();
        }
    }

    fn way(&self, side: usize) -> MutexGuard<'_, Way> {
        self.ways[side]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One end of a connection.
pub(crate) struct End {
    link: Arc<Link>,
    side: usize,
    /// For bytes that are under way.
    timer: Option<Timer>,
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let due = {
            let mut way = this.link.way(1 - this.side);
            if this.link.is_reset() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if this.link.is_cut() {
                way.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            match way.take(buf, Instant::now) {
                Ok(n) => {
                    if let Some(writer) = way.writer.take() {
                        writer.wake();
                    }
                    this.timer = None;
                    return Poll::Ready(Ok(n));
                }
                Err(None) if way.ended => return Poll::Ready(Ok(0)),
                Err(due) => {
                    way.reader = Some(cx.waker().clone());
                    due
                }
            }
        };
        let Some(due) = due else {
            return Poll::Pending;
        };
        let timer = this.timer.get_or_insert_with(|| Timer::at(due));
        match timer.poll_unpin(cx) {
            Poll::Ready(_) => {
                this.timer = None;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let link = &self.link;
        let mut way = link.way(self.side);
        if link.is_reset() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let cut = link.is_cut();
        if way.ended || (way.deaf && !cut) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = buf.len().min(CAPACITY - way.held);
        if n == 0 {
            way.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let due = (!link.latency.is_zero()).then(|| Instant::now() + link.latency);
        way.put(&buf[..n], due);
        if !cut && let Some(reader) = way.reader.take() {
            reader.wake();
        }
        link.hosts[self.side].sent(n);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut way = self.link.way(self.side);
        way.ended = true;
        if let Some(reader) = way.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        {
            let mut way = self.link.way(self.side);
            way.ended = true;
            way.wake();
        }
        let mut way = self.link.way(1 - self.side);
        way.deaf = true;
        (way.parcels, way.held) = (VecDeque::new(), 0);
        way.wake();
    }
}
