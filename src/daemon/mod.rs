//! The life of the daemon: it opens its resources, listens, becomes ready, runs, drains
//! and closes.
//!
//! | file | holds |
//! |---|---|
//! | `open` | the start, until the daemon serves |
//! | `close` | the shutdown |
//! | `options` | the configuration in the form that each module takes |
//! | [`peer`] | the part of the daemon that other hosts meet: the node and its content |
//! | `reload` | reads the configuration again while the node runs |
//! | `resources` | the resources that the machine gives the node |
//! | [`tasks`] | tasks that run beside the node, each with one owner |
//! | `status` | the line shown by `systemctl status` |
//! | `upkeep` | regular work beside the node |
//! | `error` | why the daemon could not start, or failed |

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

/// The longest time that a start may take. To check and repair a database of 10 GiB takes
/// a minute or two on a slow disk.
const START_AT_MOST: Duration = Duration::from_secs(600);

/// How much more time a start asks the service manager for, and how often.
const ASK_FOR: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_secs(10);

/// Runs the daemon until a signal stops it. `config` was made from `inputs`, which are
/// read again at a reload.
///
/// # Errors
/// Returns an error when the daemon cannot start or fails. A clean stop is `Ok`.
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
                // Without its event loop the process would keep running but do nothing.
                Either::Right(_) => return Err(Error::LoopEnded),
            }
        }
        daemon.close(&mut signals, &requests).await;
        Ok(())
    })
}

/// Tells the service manager that the start is still going on, since opening the database
/// may take minutes after a crash. After [`START_AT_MOST`] it says nothing more, so that
/// the manager ends a start that hangs because of a dead disk.
async fn ask_for_patience(notifier: Notifier) {
    let begin = Instant::now();
    while begin.elapsed() < START_AT_MOST {
        notifier.extend(ASK_FOR);
        async_io::Timer::after(ASK_EVERY).await;
    }
}

/// Returns the next signal that stops the daemon.
async fn next_stop(signals: &mut Signals, requests: &reload::Requests) -> Signal {
    loop {
        match signals.next().await {
            // While the node is starting, the reload waits until it is ready.
            Some(Signal::Hangup) => requests.send(),
            Some(signal) => return signal,
            None => return Signal::Terminate,
        }
    }
}

/// A daemon that is ready.
struct Daemon {
    peer: peer::Peer,
    control: control::server::Running,
    readiness: Arc<Readiness>,
    notifier: Notifier,
    /// Stops the metrics port when it is dropped, and the task that then ends.
    http: (oneshot::Sender<()>, Task),
    /// All other tasks that run beside the node.
    tasks: Tasks,
    reloader: reload::Reloader,
}
