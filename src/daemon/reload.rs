//! Reads the configuration again while the node runs, for `p2p-node reload` and SIGHUP.
//!
//! Only one reload runs at a time. First, the whole new configuration is read and
//! checked; a configuration that is refused changes nothing. Then every variable that can
//! change while the node runs is changed. The changes to the node itself are made in one
//! turn of its event loop. The answer names the variables that need a restart.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_std::channel::{Receiver, Sender};
use async_std::task::spawn_blocking;

use super::{options, resources, status};
use crate::api::{Change, Reload, ReloadError};
use crate::block::content::Content;
use crate::config::{Config, Inputs, Loaded, Setting, Variable, network_key};
use crate::node::{Changes, ContentNetwork, Handle, Pulse};
use crate::store::Store;
use crate::system::notify::Notifier;
use crate::telemetry::logs;
use crate::text::duration::millis;
use crate::web::metrics::Metrics;

/// Requests a reload when a signal asks for one. Several requests that arrive while one
/// is waiting are handled by a single reload.
#[derive(Clone, Debug)]
pub(super) struct Requests(Sender<()>);

impl Requests {
    /// Returns the sender of requests and their receiver.
    pub(super) fn new() -> (Requests, Receiver<()>) {
        let (sender, receiver) = async_std::channel::bounded(1);
        (Requests(sender), receiver)
    }

    pub(super) fn send(&self) {
        // When the channel is full, the reload that is waiting will read the latest file.
        let _ = self.0.try_send(());
    }
}

/// What a reload changes in addition to the node that the handle belongs to.
pub(super) struct Rooms {
    pub(super) handle: Handle,
    pub(super) store: Store,
    pub(super) content: Content<ContentNetwork>,
    /// The number of connections that a TRIM without a number leaves.
    pub(super) low_water: Arc<AtomicUsize>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) notifier: Notifier,
}

/// Reads the configuration again. Clones are handles to the same one.
#[derive(Clone)]
pub(super) struct Reloader(Arc<Inner>);

struct Inner {
    inputs: Inputs,
    rooms: Rooms,
    /// The setting that is in force for each variable, in the order of the table.
    in_force: Mutex<Vec<Setting>>,
    /// Locked during a whole reload.
    turn: async_std::sync::Mutex<()>,
    drain_timeout: AtomicU64,
    /// Locked while the service manager is told something, so that nothing about a reload
    /// follows the messages of the shutdown.
    stopping: Mutex<bool>,
}

impl Reloader {
    /// Creates a reloader. `config` is the configuration with which the node was started.
    pub(super) fn new(inputs: Inputs, config: &Config, rooms: Rooms) -> Reloader {
        record(&rooms.metrics, true);
        Reloader(Arc::new(Inner {
            inputs,
            rooms,
            in_force: Mutex::new(config.settings()),
            turn: async_std::sync::Mutex::new(()),
            drain_timeout: AtomicU64::new(millis(config.drain_timeout)),
            stopping: Mutex::new(false),
        }))
    }

    /// Carries out a reload for each request, until the senders are gone.
    pub(super) async fn run(self, requested: Receiver<()>) {
        while requested.recv().await.is_ok() {
            // The result is in the log.
            let _ = self.reload().await;
        }
    }

    /// Returns the current value of `P2P_DRAIN_TIMEOUT`.
    pub(super) fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.0.drain_timeout.load(Ordering::Relaxed))
    }

    /// Returns the configuration in force, without the changes that need a restart.
    pub(super) fn settings(&self) -> Vec<Setting> {
        let in_force = self.0.in_force.lock();
        in_force.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the reloader that the daemon is stopping. No further reload begins, and the
    /// service manager is told nothing more about a reload that is under way.
    pub(super) fn stop(&self) {
        *self.stopping() = true;
    }

    fn stopping(&self) -> MutexGuard<'_, bool> {
        let stopping = self.0.stopping.lock();
        stopping.unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the service manager something about a reload, unless the daemon is stopping:
    /// a `READY=1` after `STOPPING=1` would be wrong. Returns whether the daemon goes on.
    fn tell_manager(&self, tell: impl FnOnce(&Notifier)) -> bool {
        let stopping = self.stopping();
        if !*stopping {
            tell(&self.0.rooms.notifier);
        }
        !*stopping
    }

    /// Reads, checks and applies the configuration.
    pub(super) async fn reload(&self) -> Result<Reload, ReloadError> {
        let _turn = self.0.turn.lock().await;
        let rooms = &self.0.rooms;
        if !self.tell_manager(Notifier::reloading) {
            log::warn!("configuration not reloaded, the node is stopping");
            return Err(ReloadError::Failed(
                "the node is stopping; its next start reads the configuration".into(),
            ));
        }
        let done = self.apply().await;
        let line = status::line(&rooms.pulse, &rooms.store);
        self.tell_manager(|notifier| notifier.ready(&line));
        record(&rooms.metrics, done.is_ok());
        match &done {
            Ok(reload) => tell(reload),
            Err(e) => {
                log::warn!("configuration not reloaded, the one in force stays: {e}");
            }
        }
        done
    }

    async fn apply(&self) -> Result<Reload, ReloadError> {
        let inputs = self.0.inputs.clone();
        let (loaded, changes) = spawn_blocking(move || read(&inputs))
            .await
            .map_err(|e| ReloadError::Refused(e.to_string()))?;
        if let Some(path) = &loaded.missing {
            log::warn!(file:% = path.display(); "the environment file does not exist; defaults are in force");
        }
        let config = loaded.config;
        let rooms = &self.0.rooms;
        // The only step that can fail comes first.
        rooms
            .handle
            .adjust(changes)
            .await
            .map_err(|e| ReloadError::Failed(e.to_string()))?;
        rooms.store.set_max_bytes(config.store_max_bytes);
        rooms.content.set_ttl(config.block_ttl);
        rooms
            .low_water
            .store(config.max_connections as usize / 2, Ordering::Relaxed);
        self.0
            .drain_timeout
            .store(millis(config.drain_timeout), Ordering::Relaxed);
        logs::set_filter(&config.rust_log);
        resources::report_caps(&config);
        Ok(self.differences(&config))
    }

    /// Returns the differences from the settings in force, and puts the new values of
    /// reloadable variables in force.
    fn differences(&self, config: &Config) -> Reload {
        let mut reload = Reload::default();
        let mut in_force = self
            .0
            .in_force
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (setting, now) in config.settings().into_iter().zip(in_force.iter_mut()) {
            if setting.value == now.value {
                continue;
            }
            let Variable {
                name, reloadable, ..
            } = setting.variable;
            let change = Change {
                variable: (*name).into(),
                before: now.value.clone(),
                after: setting.value.clone(),
            };
            if *reloadable {
                *now = setting;
                reload.changed.push(change);
            } else {
                reload.restart.push(change);
            }
        }
        reload
    }
}

/// Reads and checks the whole configuration. This waits for the disk.
fn read(inputs: &Inputs) -> Result<(Loaded, Changes), crate::config::Error> {
    let loaded = inputs.load()?;
    if let Some(path) = &loaded.config.network_key_file {
        network_key::load(path)?;
    }
    let changes = options::changes(&loaded.config);
    Ok((loaded, changes))
}

fn tell(reload: &Reload) {
    for change in &reload.changed {
        let Change {
            variable,
            before,
            after,
        } = change;
        log::info!(variable = variable.as_str(), before = before.as_str(), after = after.as_str(); "changed");
    }
    if !reload.restart.is_empty() {
        let names: Vec<&str> = reload.restart.iter().map(|c| c.variable.as_str()).collect();
        let names = names.join(", ");
        log::warn!("these have changed and need a restart to take effect: {names}");
    }
    log::info!(changed = reload.changed.len(); "configuration reloaded");
}

fn record(metrics: &Metrics, good: bool) {
    metrics.config_last_reload_successful.set(good.into());
    if good {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = now.map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
        metrics.config_last_reload_success_timestamp.set(seconds);
    }
}
