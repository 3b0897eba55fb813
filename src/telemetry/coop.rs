//! Cooperative scheduling: how much one poll of a task may do, and how long it took.
//!
//! A task holds a thread of the executor until its poll returns. A loop that goes on for
//! as long as a socket has data therefore holds the thread for as long as the remote
//! wants, and with it every other task, timer and deadline that this thread would run.
//! So each socket, and each stream of a multiplexer, asks before each read and each write
//! whether the poll may go on. When
//! the poll has done enough, the answer is `Pending`, and the task is woken at once, so
//! that it continues after the others had their turn.
//!
//! The account is that of the poll and not of the socket: all sockets that a task polls
//! share it, and it stays closed until the next poll begins. Otherwise a loop above the
//! socket that tries again within the same poll would get a new account each time.
//! [`watch`] opens it. A task that is not watched (in tests, and in programs that use the
//! transports alone) has an account for each socket, which is opened again by each
//! `Pending`.
//!
//! [`watch`] also measures each poll. One that takes longer than [`SLOW`] is counted in
//! `p2p_slow_polls_total`, and logged once a minute at most for each task.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use prometheus::{IntCounterVec, Opts};

use super::Direction;
use super::throttle::Throttle;

/// Reads, and as many writes, that one poll may make. A protocol that reads byte by byte
/// reaches it after about a hundred microseconds; a transfer reads at least 4 KiB at a
/// time and reaches [`BYTES`] first.
pub const CALLS: u32 = 1024;

/// Bytes that one poll may read, and as many that it may write. With AES it takes about a
/// millisecond to decrypt them. A gigabyte over loopback took no more processor time with
/// these bounds than without: 0.59 to 0.66 s with TLS, where it had been 0.68 to 0.71 s.
/// Fewer would cost something, because each poll of a connection polls all its handlers.
pub const BYTES: usize = 1024 * 1024;

/// How long one poll may go on reading or writing. Small frames cost much more than their
/// bytes: a megabyte holds 58,000 empty Noise messages, which take tens of milliseconds to
/// decrypt. With two such tasks on two threads, everything else waits this long for each
/// of its turns.
pub const TIME: Duration = Duration::from_millis(2);

/// The clock is read after so many calls or bytes. Reading it costs some tens of
/// nanoseconds, and 8 KiB of the smallest frames some hundreds of microseconds.
const LOOK_CALLS: u32 = 16;
const LOOK_BYTES: usize = 8 * 1024;

/// A poll that takes longer is counted and logged. Others wait for it, and a delay of
/// this size is visible in a round trip.
pub const SLOW: Duration = Duration::from_millis(50);

/// What a poll did in one direction.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    calls: u32,
    bytes: usize,
    /// Since the clock was read.
    unseen_calls: u32,
    unseen_bytes: usize,
    closed: bool,
}

impl Account {
    /// `begun` is when the poll began, if that is known.
    fn allows(&mut self, begun: Option<Instant>) -> bool {
        if self.closed {
            return false;
        }
        if self.calls >= CALLS || self.bytes >= BYTES {
            self.closed = true;
            return false;
        }
        // The first call of each poll is allowed however late it is, so that a task which
        // spends its time elsewhere still gets on.
        if self.unseen_calls >= LOOK_CALLS || self.unseen_bytes >= LOOK_BYTES {
            (self.unseen_calls, self.unseen_bytes) = (0, 0);
            self.closed = begun.is_some_and(|begun| begun.elapsed() >= TIME);
        }
        !self.closed
    }

    fn add(&mut self, bytes: usize) {
        self.calls += 1;
        self.unseen_calls += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.unseen_bytes = self.unseen_bytes.saturating_add(bytes);
    }
}

/// What is read and written. The same bytes pass both layers of a connection, so each has
/// accounts of its own.
#[derive(Clone, Copy, Debug)]
enum Layer {
    Socket,
    Stream,
}

/// Both directions of both layers.
#[derive(Clone, Copy, Debug, Default)]
struct Accounts([[Account; 2]; 2]);

impl Accounts {
    fn of(&mut self, layer: Layer, direction: Direction) -> &mut Account {
        &mut self.0[layer as usize][direction as usize]
    }
}

/// The poll that this thread is in.
#[derive(Clone, Copy)]
struct Current {
    begun: Instant,
    accounts: Accounts,
}

thread_local! {
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
}

/// What a socket or a stream asks before each of its calls.
#[derive(Debug)]
pub struct Budget {
    layer: Layer,
    /// Used while the task is not watched.
    alone: Option<Box<Accounts>>,
}

impl Budget {
    /// For a socket.
    pub fn of_socket() -> Self {
        Budget {
            layer: Layer::Socket,
            alone: Some(Box::default()),
        }
    }

    /// For a stream of a multiplexer. Where the task is not watched, its connection's
    /// socket is the bound.
    pub fn of_stream() -> Self {
        Budget {
            layer: Layer::Stream,
            alone: None,
        }
    }

    /// `Ready` when this poll may make another call in `direction`. If not, the task is
    /// woken, and the caller returns `Pending`.
    pub fn poll_proceed(&mut self, direction: Direction, cx: &mut Context<'_>) -> Poll<()> {
        let allowed = match (CURRENT.get(), &mut self.alone) {
            (Some(mut current), _) => {
                let account = current.accounts.of(self.layer, direction);
                let allowed = account.allows(Some(current.begun));
                CURRENT.set(Some(current));
                allowed
            }
            (None, Some(alone)) => {
                let account = alone.of(self.layer, direction);
                let allowed = account.allows(None);
                if !allowed {
                    *account = Account::default();
                }
                allowed
            }
            (None, None) => true,
        };
        if allowed {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Records a call that moved `bytes`.
    pub fn record(&mut self, direction: Direction, bytes: usize) {
        match (CURRENT.get(), &mut self.alone) {
            (Some(mut current), _) => {
                current.accounts.of(self.layer, direction).add(bytes);
                CURRENT.set(Some(current));
            }
            (None, Some(alone)) => alone.of(self.layer, direction).add(bytes),
            (None, None) => {}
        }
    }

    /// Records that the socket or stream itself answered `Pending`.
    pub fn record_pending(&mut self, direction: Direction) {
        if let Some(alone) = &mut self.alone {
            *alone.of(self.layer, direction) = Account::default();
        }
    }
}

/// Whether the poll that this thread is in has taken its [`TIME`]. False when its task is
/// not watched.
pub fn is_over() -> bool {
    CURRENT
        .get()
        .is_some_and(|current| current.begun.elapsed() >= TIME)
}

/// Lets other tasks run if this poll has taken its [`TIME`]: for loops that have always
/// something to do.
pub async fn pause_if_over() {
    if is_over() {
        async_std::task::yield_now().await;
    }
}

static SLOW_POLLS: LazyLock<Option<IntCounterVec>> = LazyLock::new(|| {
    let opts = Opts::new(
        "p2p_slow_polls_total",
        "Times that a task held a thread for more than 50 ms, by task.",
    );
    // Only a name that breaks the naming rules is an error, and the test below sees it.
    IntCounterVec::new(opts, &["task"]).ok()
});

/// When a line about each task was last written. Names of tasks are names in the code.
static LINES: LazyLock<Mutex<Throttle>> = LazyLock::new(Mutex::default);

/// The counter of slow polls, which all registries of the process share.
pub(super) fn slow_polls() -> Option<IntCounterVec> {
    SLOW_POLLS.clone()
}

/// `future`, whose polls are measured and have an account. `task` is a name in the code.
pub fn watch<F>(task: &'static str, future: F) -> Watched
where
    F: Future<Output = ()> + Send + 'static,
{
    Watched {
        task,
        future: Box::pin(future),
    }
}

/// See [`watch`].
#[must_use = "futures do nothing unless polled"]
pub struct Watched {
    task: &'static str,
    future: BoxFuture<'static, ()>,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched")
            .field("task", &self.task)
            .finish_non_exhaustive()
    }
}

/// Puts back what the thread was in before, also when the poll panics.
struct Restore(Option<Current>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

impl Future for Watched {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let begun = Instant::now();
        let accounts = Accounts::default();
        let restore = Restore(CURRENT.replace(Some(Current { begun, accounts })));
        let result = self.future.as_mut().poll(cx);
        drop(restore);
        let took = begun.elapsed();
        if took >= SLOW {
            slow(self.task, took);
        }
        result
    }
}

#[cold]
fn slow(task: &'static str, took: Duration) {
    if let Some(counter) = &*SLOW_POLLS {
        counter.with_label_values(&[task]).inc();
    }
    let line = LINES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .allow(task, Instant::now());
    if let Some(suppressed) = line {
        log::warn!(
            task, milliseconds = took.as_millis() as u64, suppressed;
            "a task held a thread for long, and others waited; this machine is short of \
             processor time, or something makes this task work without a pause"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::task::noop_waker;

    use super::*;

    fn proceeds(budget: &mut Budget, direction: Direction) -> bool {
        let waker = noop_waker();
        let proceed = budget.poll_proceed(direction, &mut Context::from_waker(&waker));
        proceed.is_ready()
    }

    /// Calls that are allowed in one go, of `bytes` each.
    fn calls(budget: &mut Budget, direction: Direction, bytes: usize) -> u32 {
        let mut calls = 0;
        while proceeds(budget, direction) {
            budget.record(direction, bytes);
            calls += 1;
        }
        calls
    }

    #[test]
    fn a_socket_alone_rests_after_its_calls_or_bytes_and_goes_on() {
        let mut budget = Budget::of_socket();
        for _ in 0..3 {
            assert_eq!(calls(&mut budget, Direction::In, 1), CALLS);
            assert_eq!(calls(&mut budget, Direction::Out, BYTES / 8), 8);
        }
        // The remote paused in between.
        for _ in 0..CALLS - 1 {
            assert!(proceeds(&mut budget, Direction::In));
            budget.record(Direction::In, 1);
        }
        budget.record_pending(Direction::In);
        assert_eq!(calls(&mut budget, Direction::In, 1), CALLS);
    }

    /// Runs `test` in the first poll of a watched task, and what it says in the second.
    fn in_two_polls(mut test: impl FnMut(usize) + Send + 'static) {
        let mut polls = 0;
        let mut task = watch(
            "a test",
            futures::future::poll_fn(move |_| {
                test(polls);
                polls += 1;
                Poll::Pending
            }),
        );
        let waker = noop_waker();
        for _ in 0..2 {
            let polled = Pin::new(&mut task).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
    }

    #[test]
    fn the_sockets_of_a_task_share_an_account_that_stays_closed_for_this_poll() {
        let allowed = Arc::new(AtomicUsize::new(0));
        let seen = allowed.clone();
        in_two_polls(move |_| {
            let (mut one, mut other) = (Budget::of_socket(), Budget::of_socket());
            let first = calls(&mut one, Direction::In, BYTES / 4);
            assert!(first <= 4);
            // Whoever tries again in the same poll gets nothing, nor does another socket.
            one.record_pending(Direction::In);
            assert!(!proceeds(&mut one, Direction::In));
            assert!(!proceeds(&mut other, Direction::In));
            // Answers may still be written, and what was read before be taken from streams.
            assert!(proceeds(&mut other, Direction::Out));
            let mut stream = Budget::of_stream();
            assert!(proceeds(&mut stream, Direction::In));
            assert!(calls(&mut stream, Direction::In, BYTES / 4) <= 4);
            seen.fetch_add(first as usize, Ordering::Relaxed);
        });
        assert!(allowed.load(Ordering::Relaxed) >= 2, "each poll gets on");
        assert!(CURRENT.get().is_none());
    }

    #[test]
    fn a_poll_that_took_long_reads_no_more_and_is_counted() {
        let counter = slow_polls().expect("the name is valid");
        let counted = || counter.with_label_values(&["a test of time"]).get();
        let before = counted();
        let mut budget = Budget::of_socket();
        let mut task = watch(
            "a test of time",
            futures::future::poll_fn(move |_| {
                let begun = Instant::now();
                while begun.elapsed() <= SLOW {}
                // The first call is allowed at any time.
                assert_eq!(calls(&mut budget, Direction::In, LOOK_BYTES), 1);
                Poll::Ready(())
            }),
        );
        let waker = noop_waker();
        let polled = Pin::new(&mut task).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_ready());
        assert_eq!(counted(), before + 1);
    }
}
