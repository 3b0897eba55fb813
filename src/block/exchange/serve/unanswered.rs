//! How many wants of all peers have arrived and are not answered yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_std::channel::{Receiver, Sender, bounded};
use async_std::future::timeout;

/// See the module's documentation. Clones count together.
#[derive(Clone, Debug)]
pub(super) struct Unanswered(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    count: AtomicUsize,
    /// Holds something when the first want has arrived, or the last was answered, since
    /// it was last read.
    changed: Sender<()>,
    changes: Receiver<()>,
}

impl Default for Unanswered {
    fn default() -> Self {
        // Several changes that nobody has seen are one.
        let (changed, changes) = bounded(1);
        Unanswered(Arc::new(Inner {
            count: AtomicUsize::new(0),
            changed,
            changes,
        }))
    }
}

impl Unanswered {
    /// Counts a want that has arrived.
    pub(super) fn arrived(&self) {
        if self.0.count.fetch_add(1, Ordering::AcqRel) == 0 {
            self.tell();
        }
    }

    /// Counts wants as answered, or as gone with their stream.
    pub(super) fn answered(&self, count: usize) {
        if count > 0 && self.0.count.fetch_sub(count, Ordering::AcqRel) == count {
            self.tell();
        }
    }

    fn tell(&self) {
        // If it is full, whoever waits is told already.
        let _ = self.0.changed.try_send(());
    }

    /// Returns their number.
    pub(super) fn count(&self) -> usize {
        self.0.count.load(Ordering::Acquire)
    }

    /// Waits until there has been none for `quiet`; not at all if there is none now. Only
    /// one may wait at a time, since each change wakes one.
    pub(super) async fn none_for(&self, quiet: Duration) {
        if self.count() == 0 {
            return;
        }
        loop {
            // What was told before this has been seen with it.
            let _ = self.0.changes.try_recv();
            let change = self.0.changes.recv();
            if self.count() > 0 {
                // This holds a sender, so that the channel cannot end.
                let _ = change.await;
            } else if timeout(quiet, change).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn who_waits_is_woken_by_the_last_answer_and_by_a_want_that_comes_after_it() {
        async_std::task::block_on(async {
            let unanswered = Unanswered::default();
            unanswered.none_for(HOUR).await;
            unanswered.arrived();
            unanswered.arrived();
            let mut end = Box::pin(unanswered.none_for(Duration::ZERO));
            assert!((&mut end).now_or_never().is_none());
            unanswered.answered(1);
            assert!((&mut end).now_or_never().is_none());
            unanswered.answered(1);
            end.await;
            // While none is there, it is not over before the time.
            unanswered.arrived();
            let mut end = Box::pin(unanswered.none_for(HOUR));
            assert!((&mut end).now_or_never().is_none());
            unanswered.answered(1);
            assert!((&mut end).now_or_never().is_none());
            unanswered.arrived();
            assert!((&mut end).now_or_never().is_none());
            assert_eq!(unanswered.count(), 1);
        });
    }
}
