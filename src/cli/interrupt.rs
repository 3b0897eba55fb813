//! Handles Ctrl-C and similar signals for commands that have to tidy up before they end.

use std::future::Future;
use std::io;

use async_std::channel::Receiver;
use nix::sys::signal::{SigSet, Signal};

/// The signals that ask this process to end.
#[derive(Debug)]
pub(crate) struct Interrupt {
    signals: Receiver<i32>,
}

impl Interrupt {
    /// Receives SIGINT, SIGTERM and SIGHUP from now on. It must be called before any
    /// other thread is started: threads inherit the signal mask that leaves these signals
    /// to the thread waiting here. A second signal ends the process at once, in case
    /// tidying up hangs.
    pub(crate) fn watch() -> io::Result<Interrupt> {
        let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
            .into_iter()
            .collect();
        set.thread_block()?;
        let (sender, signals) = async_std::channel::bounded(1);
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                while let Ok(signal) = set.wait() {
                    if sender.try_send(signal as i32).is_err() {
                        std::process::exit(128 + signal as i32);
                    }
                }
            })?;
        Ok(Interrupt { signals })
    }

    /// Runs `work` to its end, or returns the signal that arrived before that.
    pub(crate) async fn or<T>(&self, work: impl Future<Output = T>) -> Result<T, i32> {
        let work = std::pin::pin!(work);
        let signal = std::pin::pin!(self.signals.recv());
        match futures::future::select(signal, work).await {
            futures::future::Either::Left((Ok(signal), _)) => Err(signal),
            futures::future::Either::Left((Err(_), work)) => Ok(work.await),
            futures::future::Either::Right((done, _)) => Ok(done),
        }
    }
}
