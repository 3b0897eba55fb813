//! What the process has left: descriptors and memory, looked at once a second.
//!
//! Looking means reading `/proc`, which costs more with each open descriptor, so
//! it is done by a task of its own and never by the event loop. In between, what
//! was opened since is counted, so that a burst of connections within a second
//! cannot run past the limit; what was closed since is not, which is on the safe
//! side.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt;

use super::{memory, rlimits};

/// Time between two looks. At the default inbound rate 64 connections come in
/// it, some 6 MiB.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was found at a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Descriptors that the process may have open.
    pub descriptors: u64,
    /// Descriptors open.
    pub open: u64,
    /// Bytes of memory resident.
    pub resident: u64,
}

/// The last look, and what was opened since. Clones share both.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Connections opened since the start.
    opened: AtomicU64,
    /// The last look, with what `opened` was when it began; none before the first.
    last: Mutex<Option<(Sample, u64)>>,
}

impl Resources {
    /// Nothing looked at yet: no limit.
    pub fn new() -> Resources {
        Resources::default()
    }

    /// A look that was taken elsewhere, for tests.
    pub fn set(&self, sample: Sample) {
        self.store(sample, self.inner.opened.load(Ordering::Relaxed));
    }

    fn store(&self, sample: Sample, opened: u64) {
        let mut last = lock(&self.inner.last);
        *last = Some((sample, opened));
    }

    /// A connection takes a descriptor.
    pub fn opened(&self) {
        self.inner.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// The last look, with what was opened since counted as open.
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

    /// Begins to look once a second, until the last clone is gone.
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
                    // The limits then rest on the last look.
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

/// Looks now. Reads `/proc`: not for the event loop.
///
/// # Errors
/// When `/proc/self` or the limit cannot be read.
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
        // Other tests of this process open and close a few meanwhile.
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
