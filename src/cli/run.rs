//! `run`: the daemon, in the foreground.

use super::RunFlags;
use super::context::Context;
use super::error::Error;
use crate::config::{LogFormat, Variable};
use crate::daemon;
use crate::system::environment;
use crate::system::manager::Manager;
use crate::telemetry::logs;

pub(crate) fn run(context: &Context, flags: RunFlags) -> Result<(), Error> {
    // Both change the environment: before there is a second thread.
    let manager = Manager::from_process();
    let inputs = flags.inputs(context);
    let loaded = inputs.load().map_err(|e| {
        // The form of the log is part of what cannot be read, but journald has to
        // be told that this is an error, or `journalctl -p err` hides it.
        if logs::to_journal() && logs::init(LogFormat::Journal, "error").is_ok() {
            log::error!("{e}");
            return Error::from(e).already_told();
        }
        e.into()
    })?;
    // Before anything starts a thread. What the configuration itself is made from
    // stays out, or a line that leaves the file would still count at a reload.
    environment::adopt(
        loaded
            .file
            .iter()
            .map(|(name, value, _)| (name, value))
            .filter(|(name, _)| Variable::find(&name.to_string_lossy()).is_none()),
    );
    let config = loaded.config;
    logs::init(config.log_format, &config.rust_log)
        .map_err(|e| Error::failed(format!("run: cannot start logging: {e}")))?;
    if let Some(path) = &loaded.missing {
        log::warn!(file:% = path.display(); "the environment file does not exist; starting without it");
    }
    daemon::run(&config, inputs, manager).map_err(|e| {
        // In the log's own form, so that journald and Loki know it for an error.
        log::error!("{e}");
        let told = log::log_enabled!(log::Level::Error);
        match e {
            daemon::Error::NetworkKey(e) if told => Error::from(e).already_told(),
            daemon::Error::NetworkKey(e) => e.into(),
            // As another user it would start: no retry helps.
            e @ daemon::Error::NotOurs(_) => {
                let error = Error::configuration(format!("run: {e}"));
                if told { error.already_told() } else { error }
            }
            _ if told => Error::told(),
            e => Error::failed(format!("run: {e}")),
        }
    })
}
