//! What a connection may do before its remote has proved who it is, and until when.
//!
//! Everything below the multiplexer works for whoever connects: negotiation, WebSocket,
//! the network key, TLS and Noise. Each of them reads for as long as the remote sends. So
//! the socket itself counts what a handshake reads, and refuses to read more than
//! [`BYTES`] or more often than [`READS`].
//!
//! # The deadline
//!
//! libp2p's own timeout lives in the task that it guards, and is looked at only when that
//! task returns. Here a timer does not wake the task: it ends the handshake itself, on
//! the thread that waits for timers, by shutting the socket down. What the task reads
//! after that is an error. It comes [`GRACE`] later than the other timeout, so that it
//! acts only when that one could not.
//!
//! # How the socket finds its handshake
//!
//! The layers between the socket and the handshake hide the socket. But they all run
//! inside the future of the handshake, and the first bytes of each socket are read or
//! written there. While that future is polled, the thread knows whose handshake it is,
//! and a socket that is used for the first time takes part in it. A dial may have several
//! sockets, of which the first that connects wins.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use async_io::{Async, Timer};
use futures::{AsyncRead, AsyncWrite, FutureExt};
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::Multiaddr;
use prometheus::IntCounterVec;

use crate::telemetry::coop::Budget;
use crate::telemetry::{Direction, throttle};

/// Bytes that a handshake may read. The largest ones that are legitimate: 8 KiB of HTTP
/// request with a proxy's headers (which is also what the server takes), or 16 KiB of a
/// web server's certificates for `/tls/ws`; 5 KiB of TLS with an RSA key of 4096 bits, or
/// 3 KiB of Noise with the same; 1 KiB of negotiation. What a dialer sends ahead before it
/// has heard the last answer adds up to 16 KiB, because TLS and Noise read that much at
/// once.
pub(crate) const BYTES: usize = 64 * 1024;

/// Reads that a handshake may make. The negotiation reads the length of each line byte by
/// byte, so that a line takes three. A handshake with both proposals refused once takes
/// about sixty, and within WebSocket frames twice as many. This allows some 300 proposals.
pub(crate) const READS: u32 = 1024;

/// How much later than libp2p's timeout the deadline acts.
const GRACE: Duration = Duration::from_secs(1);

/// Why a handshake was ended from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Bytes,
    Reads,
    Deadline,
}

impl Reason {
    const ALL: [Reason; 3] = [Reason::Bytes, Reason::Reads, Reason::Deadline];

    fn label(self) -> &'static str {
        match self {
            Reason::Bytes => "bytes",
            Reason::Reads => "reads",
            Reason::Deadline => "deadline",
        }
    }

    fn text(self) -> String {
        match self {
            Reason::Bytes => format!("it read {BYTES} bytes without an end"),
            Reason::Reads => format!("it read {READS} times without an end"),
            Reason::Deadline => "its time was over".to_owned(),
        }
    }
}

/// The label values of the counter of handshakes that were cut off.
pub(crate) const REASONS: [&str; 3] = ["bytes", "reads", "deadline"];

const UNDER_WAY: u8 = 0;
const DONE: u8 = 1;
/// And above it the index in [`Reason::ALL`].
const CUT_OFF: u8 = 2;

/// A handshake: what its sockets have read so far, and whether it goes on.
#[derive(Debug)]
struct Handshake {
    state: AtomicU8,
    bytes: AtomicUsize,
    reads: AtomicU32,
    /// Sockets that take part in it. Bounded by the addresses of one dial.
    sockets: Mutex<Vec<Weak<Async<TcpStream>>>>,
    remote: Multiaddr,
    counter: Option<IntCounterVec>,
}

impl Handshake {
    fn new(remote: Multiaddr, counter: Option<IntCounterVec>) -> Arc<Self> {
        Arc::new(Handshake {
            state: AtomicU8::new(UNDER_WAY),
            bytes: AtomicUsize::new(0),
            reads: AtomicU32::new(0),
            sockets: Mutex::default(),
            remote,
            counter,
        })
    }

    fn join(&self, socket: &Arc<Async<TcpStream>>) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.retain(|s| s.strong_count() > 0);
        sockets.push(Arc::downgrade(socket));
    }

    /// Ends it, unless it has ended.
    fn cut_off(&self, reason: Reason) {
        let state = CUT_OFF + reason as u8;
        let changed =
            self.state
                .compare_exchange(UNDER_WAY, state, Ordering::AcqRel, Ordering::Acquire);
        if changed.is_err() {
            return;
        }
        if let Some(counter) = &self.counter {
            counter.with_label_values(&[reason.label()]).inc();
        }
        let sockets =
            std::mem::take(&mut *self.sockets.lock().unwrap_or_else(PoisonError::into_inner));
        for socket in sockets.iter().filter_map(Weak::upgrade) {
            // The remote may have closed it first.
            let _ = socket.get_ref().shutdown(Shutdown::Both);
        }
        if let Some(suppressed) = throttle::allow("handshake cut off") {
            log::warn!(
                remote:% = self.remote, reason:% = reason.text(), suppressed;
                "cut off a connection that did not come to the end of its handshake"
            );
        }
    }

    fn error(state: u8) -> io::Error {
        let reason = Reason::ALL.get(usize::from(state.saturating_sub(CUT_OFF)));
        let text = reason.map_or_else(String::new, |reason| reason.text());
        io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the handshake was cut off because {text}"),
        )
    }
}

/// The end of the handshake's time, on the thread that waits for timers.
struct Deadline(Arc<Handshake>);

impl Wake for Deadline {
    fn wake(self: Arc<Self>) {
        self.0.cut_off(Reason::Deadline);
    }
}

thread_local! {
    /// The handshake whose future this thread polls.
    static CURRENT: RefCell<Option<Arc<Handshake>>> = const { RefCell::new(None) };
}

/// A handshake's future while it is polled. Nested ones are put back in order.
struct Inside(Option<Arc<Handshake>>);

impl Inside {
    fn enter(handshake: &Arc<Handshake>) -> Self {
        Inside(CURRENT.replace(Some(handshake.clone())))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// What a socket asks before it reads or writes, and tells afterwards: the account of the
/// poll, and of the handshake while there is one.
#[derive(Debug)]
pub(crate) struct Door {
    budget: Budget,
    handshake: Part,
}

/// Which part a socket takes in a handshake.
#[derive(Debug)]
enum Part {
    /// It has not been used yet.
    Unknown,
    In(Arc<Handshake>),
    /// The handshake is complete, or there was none.
    Out,
}

impl Door {
    /// For a socket that has not been used yet.
    pub(crate) fn new() -> Self {
        Door {
            budget: Budget::of_socket(),
            handshake: Part::Unknown,
        }
    }

    /// `Ready` when a call may be made in `direction`; `Pending` with the task woken when
    /// the poll has done enough.
    pub(crate) fn poll_proceed(
        &mut self,
        direction: Direction,
        socket: Option<&Arc<Async<TcpStream>>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if let Part::Unknown = self.handshake {
            self.handshake = match CURRENT.with_borrow(Clone::clone) {
                Some(handshake) => {
                    if let Some(socket) = socket {
                        handshake.join(socket);
                    }
                    Part::In(handshake)
                }
                None => Part::Out,
            };
        }
        if let Part::In(handshake) = &self.handshake {
            match handshake.state.load(Ordering::Acquire) {
                UNDER_WAY => {}
                DONE => self.handshake = Part::Out,
                cut_off => return Poll::Ready(Err(Handshake::error(cut_off))),
            }
        }
        self.budget.poll_proceed(direction, cx).map(Ok)
    }

    /// How much of `wanted` bytes may be read: the handshake's rest while there is one.
    pub(crate) fn readable(&self, wanted: usize) -> usize {
        match &self.handshake {
            Part::In(handshake) => {
                let rest = BYTES.saturating_sub(handshake.bytes.load(Ordering::Relaxed));
                wanted.min(rest.max(1))
            }
            _ => wanted,
        }
    }

    /// Records the result of a read.
    pub(crate) fn record_read(
        &mut self,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let n = match &result {
            Poll::Ready(Ok(n)) => *n,
            Poll::Ready(Err(_)) => return result,
            Poll::Pending => {
                self.budget.record_pending(Direction::In);
                return result;
            }
        };
        self.budget.record(Direction::In, n);
        if let Part::In(handshake) = &self.handshake {
            let bytes = handshake.bytes.fetch_add(n, Ordering::Relaxed) + n;
            let reads = handshake.reads.fetch_add(1, Ordering::Relaxed) + 1;
            if bytes > BYTES {
                handshake.cut_off(Reason::Bytes);
            } else if reads > READS {
                handshake.cut_off(Reason::Reads);
            }
        }
        result
    }

    /// Records the result of a write, a flush or a close, which moved `bytes`.
    pub(crate) fn record_written<T>(
        &mut self,
        result: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        match &result {
            Poll::Ready(Ok(done)) => self.budget.record(Direction::Out, bytes(done)),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.budget.record_pending(Direction::Out),
        }
        result
    }
}

/// A stream of bytes that is no socket of this process, such as a relayed connection, with
/// the same bounds as a socket.
#[derive(Debug)]
pub(crate) struct Bounded<C> {
    inner: C,
    door: Door,
}

impl<C> Bounded<C> {
    pub(crate) fn new(inner: C) -> Self {
        Bounded {
            inner,
            door: Door::new(),
        }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Bounded<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        std::task::ready!(this.door.poll_proceed(Direction::In, None, cx))?;
        let most = this.door.readable(buf.len());
        let read = Pin::new(&mut this.inner).poll_read(cx, &mut buf[..most]);
        this.door.record_read(read)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Bounded<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        std::task::ready!(this.door.poll_proceed(Direction::Out, None, cx))?;
        let written = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.door.record_written(written, |n| *n)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        std::task::ready!(this.door.poll_proceed(Direction::Out, None, cx))?;
        let flushed = Pin::new(&mut this.inner).poll_flush(cx);
        this.door.record_written(flushed, |()| 0)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// The future of a handshake, with its bounds.
pub(crate) struct Bound<F> {
    inner: F,
    handshake: Arc<Handshake>,
    allowed: Duration,
    /// Set by the first poll.
    deadline: Option<Timer>,
}

impl<F, T, E> Future for Bound<F>
where
    F: Future<Output = Result<T, E>> + Unpin,
{
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.deadline.is_none() {
            let waker = Waker::from(Arc::new(Deadline(this.handshake.clone())));
            let mut timer = Timer::after(this.allowed + GRACE);
            // It is not over yet; this tells it whom to wake.
            let _ = timer.poll_unpin(&mut Context::from_waker(&waker));
            this.deadline = Some(timer);
        }
        let result = {
            let _inside = Inside::enter(&this.handshake);
            this.inner.poll_unpin(cx)
        };
        if let Poll::Ready(result) = &result {
            this.deadline = None;
            if result.is_ok() {
                let _ = this.handshake.state.compare_exchange(
                    UNDER_WAY,
                    DONE,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                );
            }
        }
        result
    }
}

/// A transport whose handshakes, inbound and outbound, have bounds.
pub(crate) struct Transport<T> {
    inner: T,
    allowed: Duration,
    counter: Option<IntCounterVec>,
}

impl<T> Transport<T> {
    /// `allowed` is the timeout within `inner`. `counter` counts handshakes that were cut
    /// off, by [`REASONS`].
    pub(crate) fn new(inner: T, allowed: Duration, counter: Option<IntCounterVec>) -> Self {
        Transport {
            inner,
            allowed,
            counter,
        }
    }

    fn bound<F>(&self, future: F, remote: Multiaddr) -> Bound<F> {
        Bound {
            inner: future,
            handshake: Handshake::new(remote, self.counter.clone()),
            allowed: self.allowed,
            deadline: None,
        }
    }
}

impl<T> libp2p::core::Transport for Transport<T>
where
    T: libp2p::core::Transport + Unpin,
    T::Dial: Unpin,
    T::ListenerUpgrade: Unpin,
{
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = Bound<T::ListenerUpgrade>;
    type Dial = Bound<T::Dial>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<T::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<T::Error>> {
        let dial = self.inner.dial(address.clone(), opts)?;
        Ok(self.bound(dial, address))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, T::Error>> {
        let this = &mut *self;
        Pin::new(&mut this.inner).poll(cx).map(|event| match event {
            TransportEvent::Incoming {
                listener_id,
                upgrade,
                local_addr,
                send_back_addr,
            } => TransportEvent::Incoming {
                listener_id,
                upgrade: this.bound(upgrade, send_back_addr.clone()),
                local_addr,
                send_back_addr,
            },
            other => other.map_upgrade(|upgrade| this.bound(upgrade, Multiaddr::empty())),
        })
    }
}

#[cfg(test)]
mod tests;
