//! Waiting until something holds.

use std::time::{Duration, Instant};

/// Far above what any step takes; only a hang reaches it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

/// The time between two questions.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks again until `ask` answers, and fails after [`DEADLINE`].
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::park_timeout(PAUSE);
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
