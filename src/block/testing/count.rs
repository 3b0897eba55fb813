//! A number that increases, and for which a task can wait.

use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// A number that increases, and for which a task can wait.
#[derive(Clone, Default)]
pub(crate) struct Count(Arc<Mutex<(usize, Vec<Waker>)>>);

impl Count {
    pub(crate) fn add(&self) {
        let mut inner = self.0.lock().unwrap();
        inner.0 += 1;
        inner.1.drain(..).for_each(Waker::wake);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.lock().unwrap().0
    }

    /// Waits until the number is at least `least`.
    pub(crate) async fn reaches(&self, least: usize) {
        std::future::poll_fn(|cx| {
            let mut inner = self.0.lock().unwrap();
            if inner.0 >= least {
                return Poll::Ready(());
            }
            inner.1.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Counts when it is dropped.
pub(super) struct Dropped(pub(super) Count);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add();
    }
}
