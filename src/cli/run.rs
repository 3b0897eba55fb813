//! `run`: the daemon, in the foreground.

use super::RunFlags;
use super::context::Context;
use super::error::Error;
use crate::config::Config;

pub(crate) fn run(context: &Context, mut flags: RunFlags) -> Result<(), Error> {
    // `--socket` of the other commands means the same socket here.
    if let Some(socket) = &context.global.socket {
        flags
            .0
            .entry("P2P_CONTROL_SOCKET")
            .or_insert_with(|| socket.clone().into());
    }
    let config = Config::from_process(&flags.0)?;
    drop(config);
    Err(Error::failed(
        "run: the daemon is not part of this build yet",
    ))
}
