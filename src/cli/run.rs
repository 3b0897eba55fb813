//! `run`: the daemon, in the foreground.

use super::RunFlags;
use super::context::Context;
use super::error::Error;
use crate::config::Config;
use crate::daemon;
use crate::observe::logs;

pub(crate) fn run(context: &Context, mut flags: RunFlags) -> Result<(), Error> {
    // `--socket` of the other commands means the same socket here.
    if let Some(socket) = &context.global.socket {
        flags
            .0
            .entry("P2P_CONTROL_SOCKET")
            .or_insert_with(|| socket.clone().into());
    }
    let config = Config::from_process(&flags.0)?;
    logs::init(config.log_format, &config.rust_log)
        .map_err(|e| Error::failed(format!("run: cannot begin to log: {e}")))?;
    daemon::run(&config).map_err(|e| {
        // In the log's own form, so that journald and Loki know it for an error.
        log::error!("{e}");
        let told = log::log_enabled!(log::Level::Error);
        match e {
            daemon::Error::NetworkKey(e) if told => Error::from(e).already_told(),
            daemon::Error::NetworkKey(e) => e.into(),
            _ if told => Error::told(),
            e => Error::failed(format!("run: {e}")),
        }
    })
}
