//! How every test runs: within a deadline, and while other threads are watched for panics.

use std::future::Future;
use std::panic;
use std::sync::{LazyLock, Mutex, Once};
use std::time::Duration;

/// Generous: only a test that hangs gets there.
const DEADLINE: Duration = Duration::from_secs(240);

static PANICS: LazyLock<Mutex<Vec<String>>> = LazyLock::new(Mutex::default);

/// Runs a test to its end.
///
/// A panic in a task of a runtime does not end the test by itself, so panics
/// are collected here. Those of this crate's own assertions are the test's to
/// report; their source paths are relative, those of everything else are not.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info
                .location()
                .is_some_and(|at| !at.file().starts_with("src/"))
            {
                PANICS.lock().unwrap().push(info.to_string());
            }
            default(info);
        }));
    });
    let output = async_std::task::block_on(async_std::future::timeout(DEADLINE, test))
        .expect("the test hangs");
    let panics = PANICS.lock().unwrap();
    assert!(
        panics.is_empty(),
        "panics outside of the tests: {panics:#?}"
    );
    output
}
