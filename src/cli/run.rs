//! `run`: runs the daemon in the foreground.

use super::RunFlags;
use super::context::Context;
use super::error::Error;
use crate::config::{LogFormat, Variable};
use crate::daemon;
use crate::system::environment;
use crate::system::manager::Manager;
use crate::telemetry::logs;

pub(crate) fn run(context: &Context, flags: RunFlags) -> Result<(), Error> {
    // Both calls change the environment, so they must come before a second thread exists.
    let manager = Manager::from_process();
    let inputs = flags.inputs(context);
    let loaded = inputs.load().map_err(|e| {
        // The form of the log is part of the configuration, which could not be read.
        // Still, journald has to be told that this is an error, or `journalctl -p err`
        // would hide it.
        if logs::to_journal() && logs::init(LogFormat::Journal, "error").is_ok() {
            log::error!("{e}");
            return Error::from(e).already_told();
        }
        e.into()
    })?;
    // This must come before anything starts a thread. The variables of the configuration
    // itself are left out; otherwise a line that is removed from the file would still be
    // in force after a reload.
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
        // The error is logged in the log's own form, so that journald and Loki recognise
        // it.
        log::error!("{e}");
        let told = log::log_enabled!(log::Level::Error);
        match e {
            daemon::Error::NetworkKey(e) if told => Error::from(e).already_told(),
            daemon::Error::NetworkKey(e) => e.into(),
            // The daemon would only start as another user, so that trying again does not
            // help.
            e @ daemon::Error::NotOurs(_) => {
                let error = Error::configuration(format!("run: {e}"));
                if told { error.already_told() } else { error }
            }
            _ if told => Error::told(),
            e => Error::failed(format!("run: {e}")),
        }
    })
}
