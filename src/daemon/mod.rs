//! The life of the daemon: it opens, listens, becomes ready, runs, drains and closes.
//!
//! | file | holds |
//! |---|---|
//! | `open` | the start, up to the moment from which the daemon serves |
//! | `close` | the shutdown |
//! | `options` | the configuration in the form that each room takes |
//! | [`peer`] | the part of the daemon that other hosts meet: the node and its content |
//! | `reload` | the configuration, read again while the node runs |
//! | `resources` | the resources that the machine gives the node |
//! | [`tasks`] | tasks that run beside the node, with one owner |
//! | `status` | the line that `systemctl status` shows |
//! | `upkeep` | regular work beside the node |
//! | `error` | why the daemon could not start, or ended badly |

mod close;
mod error;
mod open;
mod options;
#[doc(hidden)]
pub mod peer;
mod reload;
mod resources;
mod status;
#[doc(hidden)]
pub mod tasks;
mod upkeep;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_std::task;
use futures::StreamExt;
use futures::channel::oneshot;
use futures::future::{Either, select};

use self::tasks::{Task, Tasks};
use crate::config::{Config, Inputs};
use crate::control;
use crate::system::manager::Manager;
use crate::system::notify::Notifier;
use crate::system::signals::{Signal, Signals};
use crate::web::http::Readiness;

pub use error::{Error, NotOurs};

/// The longest that a start may take. A database of 10 GiB is checked
/// and repaired in a minute or two on a slow disk.
const START_AT_MOST: Duration = Duration::from_secs(600);

/// How much more time a start asks the manager for, and how often.
const ASK_FOR: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_secs(10);

/// Runs the daemon until a signal stops it. `config` is what `inputs` gave, which
/// are read again at a reload.
///
/// # Errors
/// When it cannot start; a clean stop is `Ok`.
pub fn run(config: &Config, inputs: Inputs, manager: Manager) -> Result<(), Error> {
    task::block_on(async {
        #[cfg(feature = "fault-injection")]
        crate::system::faults::obey();
        let mut signals = Signals::new().map_err(Error::Signals)?;
        let (requests, requested) = reload::Requests::new();
        let daemon = {
            let patience = Task::spawn("start", ask_for_patience(manager.notifier.clone()));
            let open = std::pin::pin!(async {
                let opened = Daemon::open(config, inputs, requested, manager).await;
                patience.cancel().await;
                opened
            });
            let stop = std::pin::pin!(next_stop(&mut signals, &requests));
            match select(open, stop).await {
                Either::Left((daemon, _)) => daemon?,
                Either::Right((signal, _)) => {
                    log::info!(signal = signal.name(); "stopped while starting");
                    return Ok(());
                }
            }
        };
        let mut daemon = daemon;
        {
            let stop = std::pin::pin!(next_stop(&mut signals, &requests));
            match select(stop, std::pin::pin!(daemon.peer.node.ended())).await {
                Either::Left((signal, _)) => {
                    log::info!(signal = signal.name(); "stopping");
                }
                // Without its event loop the process would run on and do nothing.
                Either::Right(_) => return Err(Error::LoopEnded),
            }
        }
        daemon.close(&mut signals, &requests).await;
        Ok(())
    })
}

/// Tells the service manager that the start goes on. Opening the database may take minutes
/// after a crash. After a while it says nothing more, so that a start that hangs at a dead
/// disk is ended.
async fn ask_for_patience(notifier: Notifier) {
    let begin = Instant::now();
    while begin.elapsed() < START_AT_MOST {
        notifier.extend(ASK_FOR);
        async_io::Timer::after(ASK_EVERY).await;
    }
}

/// The next signal that stops the daemon.
async fn next_stop(signals: &mut Signals, requests: &reload::Requests) -> Signal {
    loop {
        match signals.next().await {
            // While the node starts, the reload waits until it is ready.
            Some(Signal::Hangup) => requests.send(),
            Some(signal) => return signal,
            None => return Signal::Terminate,
        }
    }
}

/// The daemon, ready.
struct Daemon {
    peer: peer::Peer,
    control: control::server::Running,
    readiness: Arc<Readiness>,
    notifier: Notifier,
    /// Stops the metrics port, and tells when it has.
    http: (oneshot::Sender<()>, Task),
    /// Everything else that goes on beside the node.
    tasks: Tasks,
    reloader: reload::Reloader,
}
