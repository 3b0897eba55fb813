//! What every command is given: the global flags and the connection to the daemon.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use super::Global;
use super::error::Error;
use super::output::Output;
use crate::config;
use crate::control::{Client, client};

/// How long the daemon may take to answer a question from its own memory. It normally
/// answers in milliseconds. A daemon that takes longer than this is stuck, and a health
/// check must not hang with it.
const PROMPT: Duration = Duration::from_secs(10);

/// The global flags, with which a command finds the daemon.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) global: Global,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        Context { global }
    }

    /// Returns the paths at which the daemon's socket may be, the most likely one first.
    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        let env = std::env::vars_os().collect();
        let root = nix::unistd::geteuid().is_root();
        config::control_sockets(&env, self.global.socket.as_deref(), root)
    }

    /// Connects to the first daemon that answers.
    pub(crate) async fn connect(&self) -> Result<Client, Error> {
        let sockets = self.sockets();
        let mut last = None;
        for path in &sockets {
            match Client::connect(path).await {
                Ok(client) => return Ok(client),
                Err(e @ client::Error::NoDaemon { .. }) => last = Some(e),
                Err(e) => return Err(Error::client("connect to the daemon", e)),
            }
        }
        Err(match (last, &sockets[..]) {
            (Some(e), [_]) => Error::client("", e),
            _ => {
                let paths: Vec<_> = sockets.iter().map(|p| p.display().to_string()).collect();
                Error::no_daemon(format!(
                    "no daemon answers at {}; start one with `p2p-node run`, or give its socket \
                     with --socket or P2P_CONTROL_SOCKET",
                    paths.join(" or ")
                ))
            }
        })
    }

    /// Connects, and asks a question that the daemon answers from memory.
    pub(crate) fn ask<T>(
        &self,
        doing: &str,
        ask: impl AsyncFnOnce(&mut Client) -> Result<T, client::Error>,
    ) -> Result<T, Error> {
        async_std::task::block_on(async {
            let mut client = self.connect().await?;
            prompt(doing, ask(&mut client)).await
        })
    }

    /// Returns standard output in the form that the user asked for.
    pub(crate) fn output(&self) -> Output {
        Output::new(self.global.json)
    }
}

/// Waits, for a limited time, for an answer that the daemon gives from memory.
pub(crate) async fn prompt<T>(
    doing: &str,
    answer: impl Future<Output = Result<T, client::Error>>,
) -> Result<T, Error> {
    match async_std::future::timeout(PROMPT, answer).await {
        Ok(answer) => answer.map_err(|e| Error::client(doing, e)),
        Err(_) => Err(Error::failed(format!(
            "{doing}: the daemon did not answer within {} s; its log may say why",
            PROMPT.as_secs()
        ))),
    }
}
