//! Faults on demand, for tests of how a supervisor and a shutdown deal with them. This
//! module exists only in builds with the feature `fault-injection`, which no package has.
//!
//! | signal | effect from then on |
//! |---|---|
//! | SIGUSR1 | no call to the store's database returns, nor a write to the journal of message numbers, as with a dead disk |
//! | SIGUSR2 | the event loop is stuck in one turn |

use std::sync::atomic::{AtomicBool, Ordering};

use async_signal::{Signal, Signals};
use futures::StreamExt;

static DISK_IS_DEAD: AtomicBool = AtomicBool::new(false);
static LOOP_IS_STUCK: AtomicBool = AtomicBool::new(false);

/// Obeys the signals from now on. With the variable `FAULT_DEAD_DISK=1`, the disk is dead
/// from the start; the variable has no `P2P_` in front, since that is the prefix of the
/// configuration.
pub fn obey() {
    log::warn!("this build has faults on demand (feature fault-injection): it is for tests only");
    if std::env::var_os("FAULT_DEAD_DISK").is_some() {
        DISK_IS_DEAD.store(true, Ordering::Release);
    }
    match Signals::new([Signal::Usr1, Signal::Usr2]) {
        Ok(mut signals) => {
            async_std::task::spawn(async move {
                while let Some(Ok(signal)) = signals.next().await {
                    let fault = match signal {
                        Signal::Usr1 => &DISK_IS_DEAD,
                        _ => &LOOP_IS_STUCK,
                    };
                    fault.store(true, Ordering::Release);
                    log::warn!(signal:? = signal; "fault injected");
                }
            });
        }
        Err(e) => log::error!(error:% = e; "cannot catch the signals of faults"),
    }
}

/// Returns at once, but never returns once the disk is dead.
pub(crate) fn disk() {
    hang_if(&DISK_IS_DEAD);
}

/// Returns at once, but never returns once the loop is stuck.
pub(crate) fn event_loop() {
    hang_if(&LOOP_IS_STUCK);
}

fn hang_if(fault: &AtomicBool) {
    while fault.load(Ordering::Acquire) {
        std::thread::park();
    }
}
