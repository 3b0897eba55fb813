//! The muxer that the swarm uses, one level below libp2p: every stream of every
//! connection passes here, whatever protocol it carries, and so does every byte.
//!
//! - It counts the streams of each peer: libp2p knows the streams of its own handlers,
//!   but does not tell how many there are.
//! - It counts bytes, and charges those of the node's own protocols to the ceilings of
//!   [`super::bandwidth`]. Bulk data has waited for its turn at a higher level.
//! - It charges what the node's own protocols read to the peer's budget of bytes, and
//!   reads on only when that is paid. The reason is that gossip is decoded, and
//!   duplicates and invalid messages are dropped, in the connection's task, where the
//!   budget of messages does not see them. Bulk data has flow control and the ceilings
//!   instead, since this node asks for it.
//! - It paces the streams that a peer opens. The multiplexers limit how many are open at
//!   the same time. But to open, negotiate and close one costs tens of microseconds, and
//!   a peer can do that without end. The pace only makes a peer wait: an honest program
//!   that always wants more is slowed to it. A peer that opens several times as many,
//!   although yamux resets them, is disconnected by yamux (`transport/yamux`), and that
//!   is reported. Over QUIC, a peer has no credit for more.
//! - It bounds what one poll of a task reads of all its streams
//!   ([`crate::telemetry::coop`]). A protocol reads for as long as its stream has data,
//!   and over QUIC another thread fills the stream meanwhile.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures::{AsyncRead, AsyncWrite, FutureExt};
use libp2p::PeerId;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};

use super::bandwidth::{Bandwidth, Class, Turn};
use super::compat::close_on_drop::CloseOnDrop;
use super::compat::{muxer_error, stream_class};
use crate::node::Metrics;
use crate::peers::{Conduct, Policy};
use crate::rate::Pace;
use crate::system::moment::Moment;
use crate::telemetry::coop::Budget;
use crate::telemetry::{Direction, throttle};
use crate::transport::one_way;

/// The number of streams that a peer may open each second over a long time. Programs that
/// open one for each request reach hundreds a second, and DHT queries of one peer some
/// tens. At about 50 µs each, 500 take a fortieth of one core.
const STREAMS_PER_SECOND: u32 = 500;

/// The number of streams that a peer may open at once: two seconds' worth of that.
const STREAMS_AT_ONCE: u32 = 2 * STREAMS_PER_SECOND;

/// What is known of the peers with connections. Clones are handles to the same data.
#[derive(Clone, Debug)]
pub(super) struct Accounting(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The accounts of peers. They are bounded by the connections that exist: an entry is
    /// removed with the last muxer and the last stream of its peer.
    peers: Mutex<HashMap<PeerId, Weak<Account>>>,
    bandwidth: Bandwidth,
    metrics: Arc<Metrics>,
    policy: Policy,
}

/// The account for all connections of one peer.
#[derive(Debug)]
struct Account {
    peer: PeerId,
    shared: Arc<Shared>,
    /// The number of streams that are open now.
    open: AtomicUsize,
    /// The pace of the streams that the peer opens.
    pace: Mutex<Pace>,
}

impl Accounting {
    pub(super) fn new(bandwidth: Bandwidth, metrics: Arc<Metrics>, policy: Policy) -> Self {
        Accounting(Arc::new(Shared {
            peers: Mutex::default(),
            bandwidth,
            metrics,
            policy,
        }))
    }

    /// Wraps the muxer of a new connection with `peer`. A relayed connection runs inside
    /// a stream of another connection, where its bytes are counted already.
    pub(super) fn wrap(
        &self,
        peer: PeerId,
        relayed: bool,
        inner: StreamMuxerBox,
    ) -> StreamMuxerBox {
        StreamMuxerBox::new(Muxer {
            inner: CloseOnDrop::new(inner),
            account: self.account(peer),
            relayed,
            pause: None,
        })
    }

    fn account(&self, peer: PeerId) -> Arc<Account> {
        let mut peers = self.lock();
        if let Some(account) = peers.get(&peer).and_then(Weak::upgrade) {
            return account;
        }
        let account = Arc::new(Account {
            peer,
            shared: self.0.clone(),
            open: AtomicUsize::new(0),
            pace: Mutex::new(Pace::new(
                STREAMS_PER_SECOND,
                STREAMS_AT_ONCE,
                Instant::now(),
            )),
        });
        peers.insert(peer, Arc::downgrade(&account));
        account
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, Weak<Account>>> {
        self.0.lock()
    }

    /// Returns the number of streams that are open with `peer` now.
    pub(super) fn streams(&self, peer: &PeerId) -> usize {
        let account = self.lock().get(peer).and_then(Weak::upgrade);
        account.map_or(0, |account| account.open.load(Ordering::Relaxed))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, Weak<Account>>> {
        // Nothing panics while the lock is held.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// Reports that the multiplexer ended the connection because of a flood of streams or
    /// of frames, if that is the reason.
    fn failed(&self, error: &io::Error) {
        if muxer_error::is_flood(error) {
            let policy = &self.shared.policy;
            policy.report(&self.peer, Conduct::StreamFlood, Moment::now());
        }
    }

    /// Counts a stream that the peer opened. Returns how long the next one has to wait.
    fn opened(&self, now: Instant) -> Option<Duration> {
        // This is checked each time, since a reload changes which peers are trusted.
        if self.shared.policy.is_trusted(&self.peer) {
            return None;
        }
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = pace.take(now).err()?;
        drop(pace);
        self.shared.metrics.streams_paced.inc();
        if let Some(suppressed) = throttle::allow("streams opened too fast") {
            log::warn!(
                peer:% = self.peer, limit = STREAMS_PER_SECOND, suppressed;
                "a peer opens streams faster than the limit a second; they wait for their turn (P2P_TRUSTED_PEERS exempts it)"
            );
        }
        Some(wait)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let mut peers = self.shared.lock();
        // Another account may have taken its place already.
        if peers.get(&self.peer).is_some_and(|a| a.strong_count() == 0) {
            peers.remove(&self.peer);
        }
    }
}

struct Muxer {
    inner: CloseOnDrop,
    account: Arc<Account>,
    relayed: bool,
    /// No stream is accepted before this time.
    pause: Option<Timer>,
}

impl Muxer {
    fn count(&self, stream: SubstreamBox) -> CountedStream {
        self.account.open.fetch_add(1, Ordering::Relaxed);
        CountedStream {
            inner: stream,
            account: self.account.clone(),
            class: Class::Own,
            relayed: self.relayed,
            read: None,
            write: None,
            debt: None,
            budget: Budget::of_stream(),
        }
    }
}

impl StreamMuxer for Muxer {
    type Substream = CountedStream;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        // Streams that are not accepted wait in the multiplexer. QUIC gives the peer no
        // credit for more, and yamux resets those that exceed its limit.
        if let Some(pause) = &mut self.pause {
            ready!(pause.poll_unpin(cx));
            self.pause = None;
        }
        let stream = ready!(Pin::new(&mut self.inner).poll_inbound(cx));
        let stream = stream.inspect_err(|e| self.account.failed(e))?;
        self.pause = self.account.opened(Instant::now()).map(Timer::after);
        Poll::Ready(Ok(self.count(stream)))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_outbound(cx));
        let stream = stream.inspect_err(|e| self.account.failed(e))?;
        Poll::Ready(Ok(self.count(stream)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        let event = ready!(Pin::new(&mut self.inner).poll(cx));
        Poll::Ready(event.inspect_err(|e| self.account.failed(e)))
    }
}

/// A stream whose bytes are all counted. The stream itself is counted until it is
/// dropped.
struct CountedStream {
    inner: SubstreamBox,
    account: Arc<Account>,
    /// What the stream is for: the node's own protocols, until its owner says otherwise.
    class: Class,
    relayed: bool,
    /// The turn under a ceiling, once the stream has moved bytes of the node's own
    /// protocols.
    read: Option<Box<Turn>>,
    write: Option<Box<Turn>>,
    /// Set when the peer's budget of bytes is used up: nothing is read before this time.
    debt: Option<Box<Timer>>,
    /// What the task that reads this stream may do in one poll.
    budget: Budget,
}

impl Drop for CountedStream {
    fn drop(&mut self) {
        self.account.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl CountedStream {
    /// Returns how many of `want` bytes may be moved now, if there is a ceiling that they
    /// are charged to. That is so for the node's own protocols, on connections that are
    /// not inside another one.
    fn poll_turn(
        &mut self,
        direction: Direction,
        want: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<usize>> {
        let (class, relayed) = (self.class, self.relayed);
        let turn = match direction {
            Direction::In => &mut self.read,
            Direction::Out => &mut self.write,
        };
        let shaper = self.account.shared.bandwidth.shaper(direction);
        if !shaper.limited() || relayed || class == Class::Bulk {
            *turn = None;
            return Poll::Ready(None);
        }
        let peer = self.account.peer;
        turn.get_or_insert_with(|| Box::new(Turn::new(shaper, class, peer)))
            .poll(cx, want)
            .map(Some)
    }

    /// Waits until the peer's debt of bytes is paid.
    fn poll_debt(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(debt) = &mut self.debt
            && self.class == Class::Own
        {
            ready!(debt.poll_unpin(cx));
            self.debt = None;
        }
        Poll::Ready(())
    }

    /// Counts how much of the granted bytes was moved.
    fn moved(
        &mut self,
        direction: Direction,
        granted: Option<usize>,
        result: &Poll<io::Result<usize>>,
    ) {
        let bytes = match result {
            Poll::Ready(Ok(bytes)) => *bytes,
            _ => 0,
        };
        if direction == Direction::In && result.is_ready() {
            self.budget.record(direction, bytes);
        }
        if bytes > 0 {
            let shared = &self.account.shared;
            let class = self.class;
            if !self.relayed {
                shared.bandwidth.count(direction, class, bytes);
            }
            if direction == Direction::In && class == Class::Own {
                let wait = shared
                    .policy
                    .charge_bytes(&self.account.peer, bytes, Instant::now());
                if let Some(wait) = wait {
                    shared.metrics.peer_bytes_waits.inc();
                    self.debt = Some(Box::new(Timer::after(wait)));
                }
            }
        }
        let turn = match direction {
            Direction::In => &self.read,
            Direction::Out => &self.write,
        };
        if let (Some(granted), Some(turn)) = (granted, turn) {
            turn.give_back(granted.saturating_sub(bytes));
        }
    }
}

impl AsyncRead for CountedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.budget.poll_proceed(Direction::In, cx));
        ready!(self.poll_debt(cx));
        let granted = ready!(self.poll_turn(Direction::In, buf.len(), cx));
        let most = granted.unwrap_or(buf.len());
        let result = Pin::new(&mut self.inner).poll_read(cx, &mut buf[..most]);
        self.moved(Direction::In, granted, &result);
        result
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if self
            .account
            .shared
            .bandwidth
            .shaper(Direction::In)
            .limited()
        {
            let first = bufs.iter_mut().find(|buf| !buf.is_empty());
            return self.poll_read(cx, first.map_or(&mut [], |buf| buf));
        }
        ready!(self.budget.poll_proceed(Direction::In, cx));
        ready!(self.poll_debt(cx));
        let result = Pin::new(&mut self.inner).poll_read_vectored(cx, bufs);
        self.moved(Direction::In, None, &result);
        result
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if stream_class::is_mark(buf) {
            self.class = Class::Bulk;
            return Poll::Ready(Ok(0));
        }
        if one_way::is_declared(buf) {
            return Pin::new(&mut self.inner).poll_write(cx, buf);
        }
        let granted = ready!(self.poll_turn(Direction::Out, buf.len(), cx));
        let most = granted.unwrap_or(buf.len());
        let result = Pin::new(&mut self.inner).poll_write(cx, &buf[..most]);
        self.moved(Direction::Out, granted, &result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self
            .account
            .shared
            .bandwidth
            .shaper(Direction::Out)
            .limited()
        {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.poll_write(cx, first.map_or(&[], |buf| buf));
        }
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.moved(Direction::Out, None, &result);
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::Settings;
    use crate::telemetry::Register as _;
    use crate::transport::yamux;

    /// A muxer that opens streams, and accepts as many as one asks for.
    struct Idle;

    impl StreamMuxer for Idle {
        type Substream = futures::io::Cursor<Vec<u8>>;
        type Error = io::Error;

        fn poll_inbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<io::Result<Self::Substream>> {
            Poll::Ready(Ok(futures::io::Cursor::new(Vec::new())))
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

    fn accounting(trusted: Vec<PeerId>) -> Accounting {
        let metrics = Metrics::new().unwrap();
        let policy = Policy::new(Settings {
            trusted,
            ..Settings::default()
        });
        Accounting::new(Bandwidth::new(None, None, &metrics), metrics, policy)
    }

    #[test]
    fn a_connection_that_is_refused_leaves_nothing_behind() {
        let accounting = accounting(vec![]);
        // The swarm drops a refused connection without an event. Peer ids are free, and
        // otherwise each would leave an entry for ever.
        for _ in 0..100 {
            drop(accounting.wrap(PeerId::random(), false, StreamMuxerBox::new(Idle)));
        }
        assert!(accounting.lock().is_empty());
    }

    #[test]
    fn streams_of_all_connections_count_until_they_are_dropped() {
        let (accounting, peer) = (accounting(vec![]), PeerId::random());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut first = accounting.wrap(peer, false, StreamMuxerBox::new(Idle));
        let mut second = accounting.wrap(peer, true, StreamMuxerBox::new(Idle));
        let Poll::Ready(Ok(a)) = Pin::new(&mut first).poll_outbound(&mut cx) else {
            panic!("no stream")
        };
        let Poll::Ready(Ok(b)) = Pin::new(&mut second).poll_outbound(&mut cx) else {
            panic!("no stream")
        };
        assert_eq!(accounting.streams(&peer), 2);
        drop((a, first));
        assert_eq!(accounting.streams(&peer), 1);
        drop((b, second));
        assert_eq!(accounting.streams(&peer), 0);
        assert!(accounting.lock().is_empty());
    }

    /// Returns how many streams from two connections with `peer` are accepted at once.
    fn taken_at_once(accounting: &Accounting, peer: PeerId) -> u32 {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut muxers = [0, 1].map(|_| accounting.wrap(peer, false, StreamMuxerBox::new(Idle)));
        let mut taken = 0;
        for muxer in &mut muxers {
            for _ in 0..4 * STREAMS_AT_ONCE {
                match Pin::new(&mut *muxer).poll_inbound(&mut cx) {
                    Poll::Ready(_) => taken += 1,
                    Poll::Pending => break,
                }
            }
        }
        taken
    }

    #[test]
    fn a_peer_that_opens_streams_without_end_is_paced_over_all_its_connections() {
        let (friend, stranger) = (PeerId::random(), PeerId::random());
        let accounting = accounting(vec![friend]);
        let begin = Instant::now();
        let taken = taken_at_once(&accounting, stranger);
        // Some more have become due in the meantime, and one ends each burst.
        let due = begin.elapsed().as_millis() as u32 * STREAMS_PER_SECOND / 1000;
        let most = STREAMS_AT_ONCE + due + 3;
        assert!(
            (STREAMS_AT_ONCE..=most).contains(&taken),
            "{taken} of {most}"
        );
        assert!(accounting.0.metrics.streams_paced.get() > 0);
        assert_eq!(taken_at_once(&accounting, friend), 8 * STREAMS_AT_ONCE);
        // A peer that a reload makes trusted is trusted on the connections that it has
        // already.
        let connection = accounting.wrap(stranger, false, StreamMuxerBox::new(Idle));
        let reloaded = Settings {
            trusted: vec![stranger],
            ..Settings::default()
        };
        accounting
            .0
            .policy
            .write(|peers| peers.adjust(reloaded, &[]));
        assert_eq!(taken_at_once(&accounting, stranger), 8 * STREAMS_AT_ONCE);
        drop(connection);
    }

    /// A muxer whose streams yield as many zeroes as one asks for.
    struct Zeroes;

    impl StreamMuxer for Zeroes {
        type Substream = Endless;
        type Error = io::Error;

        fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Endless>> {
            Poll::Ready(Ok(Endless))
        }

        fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Endless>> {
            Poll::Ready(Ok(Endless))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
            Poll::Pending
        }
    }

    struct Endless;

    impl AsyncRead for Endless {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            buf.fill(0);
            Poll::Ready(Ok(buf.len()))
        }
    }

    impl AsyncWrite for Endless {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn own_protocols_of_a_peer_are_read_within_its_budget_and_bulk_is_not_held_to_it() {
        let accounting = accounting(vec![]);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut muxer = accounting.wrap(PeerId::random(), false, StreamMuxerBox::new(Zeroes));
        let Poll::Ready(Ok(mut stream)) = Pin::new(&mut muxer).poll_inbound(&mut cx) else {
            panic!("no stream")
        };
        let mut buf = vec![0; 1 << 20];
        // This is a gibibyte in no time, far above any budget.
        let mut read = 0;
        for _ in 0..1024 {
            match Pin::new(&mut stream).poll_read(&mut cx, &mut buf) {
                Poll::Ready(Ok(n)) => read += n,
                _ => break,
            }
        }
        assert!(read < 512 << 20, "{read} bytes");
        assert!(accounting.0.metrics.peer_bytes_waits.get() > 0);
        let mut bulk = 0;
        stream_class::mark_as_bulk(&mut stream);
        for _ in 0..1024 {
            match Pin::new(&mut stream).poll_read(&mut cx, &mut buf) {
                Poll::Ready(Ok(n)) => bulk += n,
                _ => break,
            }
        }
        assert_eq!(bulk, 1 << 30);
        let moved = &accounting.0.metrics.bandwidth_bytes;
        let moved = |class| moved.with_label_values(&["in", class]).get();
        assert_eq!((moved("own"), moved("bulk")), (read as u64, bulk as u64));
    }

    #[test]
    fn what_one_stream_is_for_changes_nothing_for_the_others() {
        let accounting = accounting(vec![]);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut muxer = accounting.wrap(PeerId::random(), false, StreamMuxerBox::new(Zeroes));
        let mut streams = Vec::new();
        for _ in 0..3 {
            let Poll::Ready(Ok(stream)) = Pin::new(&mut muxer).poll_outbound(&mut cx) else {
                panic!("no stream")
            };
            streams.push(stream);
        }
        stream_class::mark_as_bulk(&mut streams[1]);
        let mut buf = [0; 100];
        for turn in 0..30 {
            let stream = Pin::new(&mut streams[turn % 3]);
            assert!(stream.poll_read(&mut cx, &mut buf).is_ready());
            let stream = Pin::new(&mut streams[turn % 3]);
            assert!(stream.poll_write(&mut cx, &buf[..10]).is_ready());
        }
        let moved = &accounting.0.metrics.bandwidth_bytes;
        let moved = |labels: [&str; 2]| moved.with_label_values(&labels).get();
        assert_eq!((moved(["in", "own"]), moved(["in", "bulk"])), (2000, 1000));
        assert_eq!((moved(["out", "own"]), moved(["out", "bulk"])), (200, 100));
    }

    #[test]
    fn who_is_held_to_the_pace_for_long_loses_no_reputation() {
        let accounting = accounting(vec![]);
        let account = accounting.account(PeerId::random());
        let start = Instant::now();
        let mut waits = 0;
        for millisecond in 0..600_000 {
            // This is twice the pace, for ten minutes.
            let now = start + Duration::from_millis(millisecond);
            waits += u32::from(account.opened(now).is_some());
        }
        assert!(waits > 500_000, "{waits}");
        assert_eq!(
            accounting.0.policy.score_of(&account.peer, Instant::now()),
            0.0
        );
        // After a rest, nothing is left of it.
        let later = start + Duration::from_secs(610);
        assert_eq!(account.opened(later), None);
    }

    #[test]
    fn a_flood_that_yamux_cuts_off_is_reported_through_all_wrappers() {
        let accounting = accounting(vec![]);
        let account = accounting.account(PeerId::random());
        // The transports wrap the error of yamux in an error of io.
        account.failed(&io::Error::other("broken"));
        assert_eq!(
            accounting.0.policy.score_of(&account.peer, Instant::now()),
            0.0
        );
        account.failed(&io::Error::other(io::Error::other(yamux::Error::Flood)));
        assert!(accounting.0.policy.score_of(&account.peer, Instant::now()) < 0.0);
    }
}
