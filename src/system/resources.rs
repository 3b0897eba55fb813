//! The descriptors and memory that the process has left, looked at once a second.
//!
//! To look at them means to read `/proc`, which costs more with each open descriptor. So
//! a task of its own does that, and never the event loop. Between two looks, connections
//! that were opened since are counted, so that a burst of connections within a second
//! cannot exceed the limit. Those that were closed since are not counted, which is on the
//! safe side.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt;

use super::{memory, rlimits};

/// The time between two looks. At the default inbound rate, 64 connections are
/// established in that time, which take some 6 MiB.
const INTERVAL: Duration = Duration::from_secs(1);

/// The result of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The number of descriptors that the process may have open.
    pub descriptors: u64,
    /// The number of open descriptors.
    pub open: u64,
    /// The resident bytes of memory.
    pub resident: u64,
}

/// The last look, and the connections that were opened since. Clones share both.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The number of connections opened since the start.
    opened: AtomicU64,
    /// The last look, with the value of `opened` when it began; `None` before the first.
    last: Mutex<Option<(Sample, u64)>>,
}

impl Resources {
    /// Returns resources that nobody has looked at yet, so that there is no limit.
    pub fn new() -> Resources {
        Resources::default()
    }

    /// Sets a look that was taken elsewhere, for tests.
    pub fn set(&self, sample: Sample) {
        self.store(sample, self.inner.opened.load(Ordering::Relaxed));
    }

    fn store(&self, sample: Sample, opened: u64) {
        let mut last = lock(&self.inner.last);
        *last = Some((sample, opened));
    }

    /// Records that a connection takes a descriptor.
    pub fn opened(&self) {
        self.inner.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the last look. What was opened since is counted as open.
    pub fn now(&self) -> Option<Sample> {
        let (sample, opened) = (*lock(&self.inner.last))?;
        let since = self
            .inner
            .opened
            .load(Ordering::Relaxed)
            .saturating_sub(opened);
        Some(Sample {
            open: sample.open.saturating_add(since),
            ..sample
        })
    }

    /// Begins to look once a second, until the last clone is dropped.
    pub fn watch(&self) {
        let inner = Arc::downgrade(&self.inner);
        async_std::task::spawn(watch(inner));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn watch(inner: Weak<Inner>) {
    let mut ticks = async_io::Timer::interval(INTERVAL);
    loop {
        let looked = async_std::task::spawn_blocking({
            let inner = inner.clone();
            move || {
                let Some(inner) = inner.upgrade() else {
                    return false;
                };
                let resources = Resources { inner };
                let opened = resources.inner.opened.load(Ordering::Relaxed);
                match look() {
                    Ok(sample) => resources.store(sample, opened),
                    // The limits are then based on the last look.
                    Err(e) => {
                        if let Some(more) =
                            crate::telemetry::throttle::allow("resources unreadable")
                        {
                            log::warn!(error:% = e, suppressed = more;
                                "cannot read how many descriptors and how much memory are in use");
                        }
                    }
                }
                true
            }
        })
        .await;
        if !looked || ticks.next().await.is_none() {
            return;
        }
    }
}

/// Looks at the resources now. It reads `/proc`, so it is not for the event loop.
///
/// # Errors
/// Fails if `/proc/self` or the limit cannot be read.
pub fn look() -> io::Result<Sample> {
    Ok(Sample {
        descriptors: rlimits::descriptors()?,
        open: rlimits::open_descriptors()?,
        resident: memory::resident()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_opened_between_two_looks_is_counted() {
        let resources = Resources::new();
        assert_eq!(resources.now(), None);
        let sample = Sample {
            descriptors: 100,
            open: 10,
            resident: 5,
        };
        resources.opened();
        resources.set(sample);
        assert_eq!(resources.now(), Some(sample));
        let clone = resources.clone();
        for _ in 0..3 {
            clone.opened();
        }
        assert_eq!(resources.now().map(|s| s.open), Some(13));
        resources.set(sample);
        assert_eq!(resources.now().map(|s| s.open), Some(10));
    }

    #[test]
    fn a_look_counts_what_this_process_has_open() {
        let before = look().unwrap();
        let files: Vec<_> = (0..500)
            .map(|_| std::fs::File::open("/dev/null").unwrap())
            .collect();
        let after = look().unwrap();
        // In the meantime, other tests in this process open and close a few.
        assert!(after.open >= before.open + 250, "{before:?} {after:?}");
        assert!(after.open <= after.descriptors);
        drop(files);
    }

    #[test]
    fn looking_begins_and_ends_with_its_users() {
        async_std::task::block_on(async {
            let resources = Resources::new();
            resources.watch();
            let deadline = std::time::Instant::now() + Duration::from_secs(60);
            while resources.now().is_none() {
                assert!(std::time::Instant::now() < deadline);
                async_io::Timer::after(Duration::from_millis(5)).await;
            }
            let weak = Arc::downgrade(&resources.inner);
            drop(resources);
            while weak.upgrade().is_some() {
                assert!(std::time::Instant::now() < deadline);
                async_io::Timer::after(Duration::from_millis(5)).await;
            }
        });
    }
}
