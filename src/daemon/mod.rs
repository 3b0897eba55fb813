//! Life of the daemon: open, listen, ready, run, drain, close.
//!
//! | file | holds |
//! |---|---|
//! | `open` | the start, up to the moment from which the daemon serves |
//! | `close` | the whole of the shutdown |
//! | `options` | the configuration as each room wants it |
//! | `reload` | the configuration, read again while the node runs |
//! | `resources` | what the machine gives the node |
//! | `status` | the line that `systemctl status` shows |
//! | `upkeep` | what goes on beside the node while it runs |
//! | `error` | why the daemon could not start, or ended badly |

mod close;
mod error;
mod open;
mod options;
mod reload;
mod resources;
mod status;
mod upkeep;

use std::sync::Arc;

use async_std::task::{self, JoinHandle};
use futures::StreamExt;
use futures::channel::oneshot;
use futures::future::{Either, select};

use crate::admission::keep::Keeper;
use crate::block::content::Content;
use crate::config::{Config, Inputs};
use crate::control;
use crate::node::{ContentNetwork, Node};
use crate::observe::http::Readiness;
use crate::store::Store;
use crate::system::manager::Manager;
use crate::system::notify::Notifier;
use crate::system::signals::{Signal, Signals};

pub use error::Error;

/// Runs the daemon until a signal stops it. `config` is what `inputs` gave, which
/// are read again at a reload.
///
/// # Errors
/// When it cannot start; a clean stop is `Ok`.
pub fn run(config: &Config, inputs: Inputs, manager: Manager) -> Result<(), Error> {
    task::block_on(async {
        let mut signals = Signals::new().map_err(Error::Signals)?;
        let (bell, rings) = reload::Bell::new();
        let daemon = {
            let open = std::pin::pin!(Daemon::open(config, inputs, rings, manager));
            let stop = std::pin::pin!(next_stop(&mut signals, &bell));
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
            let stop = std::pin::pin!(next_stop(&mut signals, &bell));
            match select(stop, std::pin::pin!(daemon.node.ended())).await {
                Either::Left((signal, _)) => {
                    log::info!(signal = signal.name(); "stopping");
                }
                // Without its loop the node is a process that looks alive.
                Either::Right(_) => return Err(Error::LoopEnded),
            }
        }
        daemon.close(&mut signals, &bell).await;
        Ok(())
    })
}

/// The next signal that stops the daemon.
async fn next_stop(signals: &mut Signals, bell: &reload::Bell) -> Signal {
    loop {
        match signals.next().await {
            // While the node starts, the reload waits until it is ready.
            Some(Signal::Hangup) => bell.ring(),
            Some(signal) => return signal,
            None => return Signal::Terminate,
        }
    }
}

/// The daemon, ready.
struct Daemon {
    node: Node,
    store: Store,
    keeper: Keeper,
    control: control::server::Running,
    readiness: Arc<Readiness>,
    notifier: Notifier,
    content: Content<ContentNetwork>,
    /// Stops the metrics port, and tells when it has.
    http: (oneshot::Sender<()>, JoinHandle<()>),
    reloader: reload::Reloader,
}
