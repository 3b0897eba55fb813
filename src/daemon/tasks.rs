//! Tasks that run beside the node. Each has a name and one owner.

use std::panic::AssertUnwindSafe;

use async_std::task::{self, JoinHandle};
use futures::FutureExt;

use crate::telemetry::{coop, throttle};

/// A running task. It is cancelled when this is dropped. [`Task::cancel`] also waits
/// until nothing is left of it.
///
/// A task that panics ends, and its work is no longer done although the process goes on.
/// The panic is therefore logged with the task's name, in addition to the line of the
/// panic itself, which only gives the place in the source.
#[derive(Debug)]
pub struct Task {
    /// Taken by the method that waits for its end.
    running: Option<JoinHandle<()>>,
}

impl Task {
    /// Starts `work` as a task that is to run as long as the daemon.
    pub fn spawn(name: &'static str, work: impl Future<Output = ()> + Send + 'static) -> Task {
        Task::catching(name, work, move || {
            log::error!(
                task = name;
                "a task of the daemon has ended by a panic and is not started again; \
                 restart the daemon and report its log"
            );
        })
    }

    /// Starts `work` as one task of many, which others are not affected by.
    pub fn one_of_many(
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Task {
        Task::catching(name, work, move || {
            if let Some(suppressed) = throttle::allow(name) {
                log::warn!(
                    task = name, suppressed;
                    "a task ended by a panic; the daemon goes on, please report its log"
                );
            }
        })
    }

    fn catching(
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
        panicked: impl FnOnce() + Send + 'static,
    ) -> Task {
        let work = async move {
            // Data that a task shares with others is behind locks, which record a panic
            // themselves.
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                panicked();
            }
        };
        Task {
            running: Some(task::spawn(coop::watch(name, work))),
        }
    }

    /// Waits until the task has ended by itself.
    pub async fn join(mut self) {
        // The handle stays in the field while this waits, so that the task is cancelled
        // if the caller stops waiting.
        if let Some(running) = &mut self.running {
            running.await;
        }
        self.running = None;
    }

    /// Cancels the task, and waits until everything that it held is released.
    pub async fn cancel(mut self) {
        if let Some(running) = self.running.take() {
            running.cancel().await;
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            // The first poll tells the task to end. This does not wait until it has.
            let _ = running.cancel().now_or_never();
        }
    }
}

/// The tasks of one owner, in the order of their start.
#[derive(Debug, Default)]
pub struct Tasks(Vec<Task>);

impl Tasks {
    /// Starts `work` as one of these tasks.
    pub fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.0.push(Task::spawn(name, work));
    }

    /// Cancels all of them, the youngest first, and waits for each. A younger task may
    /// use what an older one serves.
    pub async fn cancel(mut self) {
        while let Some(task) = self.0.pop() {
            task.cancel().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_std::channel;

    use super::*;

    #[test]
    fn a_cancelled_task_has_released_what_it_held() {
        task::block_on(async {
            let held = Arc::new(());
            let (started, running) = channel::bounded(1);
            let mut tasks = Tasks::default();
            let inside = held.clone();
            tasks.spawn("test", async move {
                let _inside = inside;
                let _ = started.send(()).await;
                std::future::pending::<()>().await;
            });
            running.recv().await.unwrap();
            assert_eq!(Arc::strong_count(&held), 2);
            tasks.cancel().await;
            assert_eq!(Arc::strong_count(&held), 1);
        });
    }

    #[test]
    fn a_task_ends_with_its_owner() {
        task::block_on(async {
            let (inside, outside) = channel::bounded::<()>(1);
            let tasks = {
                let mut tasks = Tasks::default();
                tasks.spawn("test", async move {
                    let _inside = inside;
                    std::future::pending::<()>().await;
                });
                tasks
            };
            drop(tasks);
            // Receiving fails once the task has dropped its end of the channel.
            assert!(outside.recv().await.is_err());
        });
    }

    #[test]
    fn a_panic_ends_the_task_and_not_the_one_that_waits_for_it() {
        task::block_on(async {
            Task::spawn("test", async { panic!("as the test wants it") })
                .join()
                .await;
        });
    }
}
