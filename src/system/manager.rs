//! What the service manager gave this process when it started it.

use std::time::Duration;

use super::notify::Notifier;
use super::watchdog::Watchdog;

/// The service manager's side of this process; nothing of it without one.
#[derive(Debug, Default)]
pub struct Manager {
    /// The way to tell it something.
    pub notifier: Notifier,
    /// After how much silence of the event loop it kills this process.
    watchdog: Option<Duration>,
}

impl Manager {
    /// Takes what the environment says, out of the environment. Call it first
    /// thing in the process, before there is a second thread.
    pub fn from_process() -> Manager {
        let notifier = Notifier::from_environment();
        #[allow(unsafe_code, reason = "an environment can be changed in no other way")]
        // SAFETY: the caller keeps other threads from existing yet, so that
        // nobody reads the environment while it changes.
        let watchdog = unsafe {
            std::env::remove_var("NOTIFY_SOCKET");
            sd_notify::watchdog_enabled_and_unset_env()
        };
        Manager { notifier, watchdog }
    }

    /// The watchdog to beat, when the manager watches.
    pub fn watchdog(&self) -> Option<Watchdog> {
        let period = self.watchdog.filter(|period| !period.is_zero())?;
        Some(Watchdog::new(self.notifier.clone(), period))
    }
}
