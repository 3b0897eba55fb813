//! What the service manager gave this process when it started it.

use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

use super::notify::Notifier;
use super::sockets::Sockets;
use super::watchdog::Watchdog;

/// What connects this process with the service manager; empty if there is none.
#[derive(Debug, Default)]
pub struct Manager {
    /// The channel for messages to the manager.
    pub notifier: Notifier,
    /// The sockets that the manager handed over, and the means to let it keep more.
    pub sockets: Sockets,
    /// The time after which the manager kills this process if the event loop is silent.
    watchdog: Option<Duration>,
}

impl Manager {
    /// Reads the variables of the service manager, and removes them from the environment.
    /// Call it before anything else in the process, while there is no second thread.
    pub fn from_process() -> Manager {
        let notifier = Notifier::from_environment();
        let inherited = inherited();
        #[allow(unsafe_code, reason = "an environment can be changed in no other way")]
        // SAFETY: the caller ensures that there are no other threads yet, so that nobody
        // reads the environment while it changes.
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

    /// Returns the watchdog that the loop has to report to, if the manager watches it.
    pub fn watchdog(&self) -> Option<Watchdog> {
        let period = self.watchdog.filter(|period| !period.is_zero())?;
        Some(Watchdog::new(self.notifier.clone(), period))
    }
}

/// Takes the sockets behind `LISTEN_FDS`. They are closed on exec from now on.
fn inherited() -> Vec<(String, OwnedFd)> {
    match sd_notify::listen_fds_with_names() {
        Ok(fds) => fds
            .map(|(fd, name)| {
                #[allow(unsafe_code, reason = "a number from the environment is all there is")]
                // SAFETY: LISTEN_PID says that these descriptors are for this process,
                // and no other code in it knows of them. That each of them is open was
                // checked when it was marked to be closed on exec.
                let socket = unsafe { OwnedFd::from_raw_fd(fd) };
                (name, socket)
            })
            .collect(),
        Err(e) => {
            // The log is not open yet. Journald and terminals can read this too.
            eprintln!("p2p-node: the service manager's sockets are unusable: {e}");
            Vec::new()
        }
    }
}
