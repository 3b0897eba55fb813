//! Waiting until something holds.

use std::time::{Duration, Instant};

/// This is far above what any step takes, so that only a hang reaches it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// The time between two questions.
const PAUSE: Duration = Duration::from_millis(20);

/// Lets a moment pass before the next question.
pub(super) fn pause() {
    std::thread::park_timeout(PAUSE);
}

/// Waits until `holds`, and fails after [`DEADLINE`].
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    eventually(what, || holds().then_some(()));
}

/// Asks again until `ask` answers, and fails after [`DEADLINE`].
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "never happened: {what}");
        pause();
    }
}

/// The same for a question that is asked in a task.
pub(crate) async fn eventually_async<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "never happened: {what}");
        async_io::Timer::after(PAUSE).await;
    }
}
