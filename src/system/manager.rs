//! What the service manager gave this process when it started it.

use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

use super::notify::Notifier;
use super::sockets::Sockets;
use super::watchdog::Watchdog;

/// The service manager's side of this process; nothing of it without one.
#[derive(Debug, Default)]
pub struct Manager {
    /// The way to tell it something.
    pub notifier: Notifier,
    /// The sockets that it handed over, and the way to have more kept.
    pub sockets: Sockets,
    /// After how much silence of the event loop it kills this process.
    watchdog: Option<Duration>,
}

impl Manager {
    /// Takes what the environment says, out of the environment. Call it first
    /// thing in the process, before there is a second thread.
    pub fn from_process() -> Manager {
        let notifier = Notifier::from_environment();
        let inherited = inherited();
        #[allow(unsafe_code, reason = "an environment can be changed in no other way")]
        // SAFETY: the caller keeps other threads from existing yet, so that
        // nobody reads the environment while it changes.
        let watchdog = unsafe {
            for name in [
                "NOTIFY_SOCKET",
                "LISTEN_PID",
                "LISTEN_FDS",
                "LISTEN_FDNAMES",
            ] {
                std::env::remove_var(name);
            }
            sd_notify::watchdog_enabled_and_unset_env()
        };
        Manager {
            sockets: Sockets::new(notifier.clone(), inherited),
            notifier,
            watchdog,
        }
    }

    /// The watchdog to beat, when the manager watches.
    pub fn watchdog(&self) -> Option<Watchdog> {
        let period = self.watchdog.filter(|period| !period.is_zero())?;
        Some(Watchdog::new(self.notifier.clone(), period))
    }
}

/// The sockets behind `LISTEN_FDS`, closed on exec from now on.
fn inherited() -> Vec<(String, OwnedFd)> {
    match sd_notify::listen_fds_with_names() {
        Ok(fds) => fds
            .map(|(fd, name)| {
                #[allow(unsafe_code, reason = "a number from the environment is all there is")]
                // SAFETY: LISTEN_PID says that these descriptors are for this
                // process, and nobody else in it knows of them; that each is open
                // was found when it was marked to close on exec.
                let socket = unsafe { OwnedFd::from_raw_fd(fd) };
                (name, socket)
            })
            .collect(),
        Err(e) => {
            // The log is not open yet; journald and terminals read this too.
            eprintln!("p2p-node: the service manager's sockets are unusable: {e}");
            Vec::new()
        }
    }
}
