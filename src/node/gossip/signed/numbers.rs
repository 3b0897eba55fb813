//! Sequence numbers for publishers on this node: taken from memory, reserved on
//! disk ahead of use.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_std::task::{spawn, spawn_blocking};
use futures::channel::oneshot;

use crate::message::sequence::{Sequence, next_block};
use crate::store::{self, Store};

/// Why there is no number.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot reserve sequence numbers to publish under: {0}")]
pub struct NumberError(Arc<store::Error>);

/// Where blocks of numbers come from.
enum Source {
    /// The database, and a clock.
    Store(Store, fn() -> SystemTime),
    /// The clock alone: numbers that go up while this process lives and at the
    /// next start, but for a clock that was set back.
    Clock,
}

struct State {
    sequence: Sequence,
    /// A block is being reserved.
    reserving: bool,
    /// A block was reserved in this run.
    begun: bool,
    /// Publishers that wait for one. As many as there are publishing tasks.
    waiting: Vec<oneshot::Sender<Result<(), NumberError>>>,
}

struct Inner {
    source: Source,
    state: Mutex<State>,
}

/// The numbers of this node. Clones take from the same reserve.
#[derive(Clone)]
pub struct Numbers {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Numbers")
            .field("sequence", &self.state().sequence)
            .finish_non_exhaustive()
    }
}

impl Numbers {
    /// Numbers that are reserved in `store`. The first block is reserved in the
    /// background from now on.
    pub fn stored(store: Store) -> Self {
        Self::with_clock(store, SystemTime::now)
    }

    fn with_clock(store: Store, clock: fn() -> SystemTime) -> Self {
        let numbers = Self::new(Source::Store(store, clock));
        numbers.state().reserving = true;
        numbers.reserve();
        numbers
    }

    /// Numbers for a node that stores nothing.
    pub fn unstored() -> Self {
        Self::new(Source::Clock)
    }

    fn new(source: Source) -> Self {
        Numbers {
            inner: Arc::new(Inner {
                source,
                state: Mutex::new(State {
                    sequence: Sequence::new(),
                    reserving: false,
                    begun: false,
                    waiting: Vec::new(),
                }),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is valid between any two statements.
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The next number; nobody else ever gets it. Waits for the disk only when
    /// the reserve is used up.
    ///
    /// # Errors
    /// When the reserve is used up and no more could be reserved.
    pub async fn next(&self) -> Result<u64, NumberError> {
        loop {
            let turn = {
                let mut state = self.state();
                let number = state.sequence.take();
                if state.sequence.is_low() && !state.reserving {
                    state.reserving = true;
                    self.reserve();
                }
                if let Some(number) = number {
                    return Ok(number);
                }
                let (sender, turn) = oneshot::channel();
                state.waiting.push(sender);
                turn
            };
            // Dropped unsent only when the reserving task died; then try again.
            if let Ok(reserved) = turn.await {
                reserved?;
            }
        }
    }

    /// Reserves a block in the background. `reserving` is set.
    fn reserve(&self) {
        let numbers = self.clone();
        spawn(async move {
            let _guard = Guard(&numbers);
            let fresh = !numbers.state().begun;
            let block = numbers.block(fresh).await;
            let mut state = numbers.state();
            let result = match block {
                Ok((start, end)) => {
                    state.sequence.add(start, end);
                    state.begun = true;
                    Ok(())
                }
                Err(error) => {
                    let error = NumberError(Arc::new(error));
                    if let Some(suppressed) =
                        crate::telemetry::throttle::allow("sequence numbers not reserved")
                    {
                        log::error!(error:% = error, left = state.sequence.left(), suppressed; "publishing stops when the reserve is used up");
                    }
                    Err(error)
                }
            };
            state.reserving = false;
            for waiting in state.waiting.drain(..) {
                let _ = waiting.send(result.clone());
            }
        });
    }

    fn block(
        &self,
        fresh: bool,
    ) -> impl Future<Output = Result<(u64, u64), store::Error>> + 'static {
        let inner = self.inner.clone();
        async move {
            match &inner.source {
                Source::Store(store, clock) => {
                    let (store, now) = (store.clone(), clock());
                    spawn_blocking(move || store.reserve_sequence(fresh, now)).await
                }
                Source::Clock => {
                    let end = {
                        let state = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
                        state.begun.then(|| state.sequence.end())
                    };
                    Ok(next_block(end, fresh, SystemTime::now())?)
                }
            }
        }
    }
}

/// Lets the next publisher try again when the reserving task does not come to
/// its end.
struct Guard<'a>(&'a Numbers);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.reserving = false;
        state.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::{BufRead, BufReader, Write};
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::time::UNIX_EPOCH;

    use async_std::task::block_on;
    use futures::future::try_join_all;
    use tempfile::TempDir;

    use super::*;
    use crate::message::sequence::BLOCK;
    use crate::telemetry::Register as _;

    const CHILD: &str = "P2P_SEQUENCE_CRASH_TEST_DIR";
    const ROUNDS: u64 = 20;

    fn store(dir: &Path) -> Store {
        let options = store::Options {
            max_bytes: 1 << 20,
            max_block_bytes: 1 << 20,
        };
        Store::open(dir, options, store::Metrics::new().unwrap()).unwrap()
    }

    /// A clock that stands, so that only what is on disk keeps numbers apart.
    fn stopped_clock() -> SystemTime {
        UNIX_EPOCH
    }

    #[test]
    fn many_publishers_at_once_never_share_a_number() {
        let dir = TempDir::new().unwrap();
        for numbers in [Numbers::stored(store(dir.path())), Numbers::unstored()] {
            let publishers = (0..4).map(|_| {
                let numbers = numbers.clone();
                spawn(async move {
                    let mut taken = Vec::new();
                    for _ in 0..BLOCK {
                        taken.push(numbers.next().await?);
                    }
                    Ok::<_, NumberError>(taken)
                })
            });
            let taken = block_on(try_join_all(publishers)).unwrap().concat();
            let different: HashSet<u64> = taken.iter().copied().collect();
            assert_eq!(different.len(), 4 * BLOCK as usize);
            assert!(!different.contains(&0));
        }
    }

    #[test]
    fn a_start_without_its_database_goes_on_above_what_was_used() {
        let (before, after) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let last = block_on(Numbers::stored(store(before.path())).next()).unwrap();
        let first = block_on(Numbers::stored(store(after.path())).next()).unwrap();
        assert!(first > last, "{first} after {last}");
    }

    #[test]
    fn a_counter_at_its_end_fails_to_publish_and_nothing_else() {
        let dir = TempDir::new().unwrap();
        let store = store(dir.path());
        let late = UNIX_EPOCH + std::time::Duration::from_micros(u64::MAX - BLOCK);
        store.reserve_sequence(true, late).unwrap();
        let numbers = Numbers::stored(store);
        for _ in 0..2 {
            let error = block_on(numbers.next()).unwrap_err();
            assert!(
                error.to_string().contains("no sequence numbers left"),
                "{error}"
            );
        }
    }

    /// The child: says every number that it got.
    fn child(dir: &Path) {
        let numbers = Numbers::with_clock(store(dir), stopped_clock);
        let mut out = std::io::stdout().lock();
        loop {
            let number = block_on(numbers.next()).unwrap();
            writeln!(out, "used {number};").unwrap();
            out.flush().unwrap();
        }
    }

    #[test]
    fn no_number_is_used_twice_whenever_the_process_is_killed() {
        if let Some(dir) = std::env::var_os(CHILD) {
            return child(Path::new(&dir));
        }
        let dir = TempDir::new().unwrap();
        let mut last = 0;
        for round in 0..ROUNDS {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "node::gossip::signed::numbers::tests::no_number_is_used_twice_whenever_the_process_is_killed",
                ])
                .args(["--nocapture", "--test-threads=1"])
                .env(CHILD, dir.path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            // At once, within a block, around the moments when one is reserved
            // and when it begins.
            let kill_after = [1, 7, BLOCK / 2, BLOCK / 2 + 3, BLOCK, BLOCK + 2][round as usize % 6];
            let mut seen = 0;
            for line in BufReader::new(child.stdout.take().unwrap()).lines() {
                let Ok(line) = line else { break };
                // A line that the kill cut short does not count.
                let Some((_, number)) = line.split_once("used ") else {
                    continue;
                };
                let Some(number) = number.strip_suffix(';') else {
                    continue;
                };
                let number: u64 = number.parse().unwrap();
                assert!(number > last, "round {round} used {number} after {last}");
                last = number;
                seen += 1;
                if seen == kill_after {
                    child.kill().unwrap();
                }
            }
            child.wait().unwrap();
            assert!(
                seen >= kill_after,
                "the child of round {round} ended by itself"
            );
        }
    }
}
