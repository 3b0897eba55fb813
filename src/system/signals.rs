//! The signals that control the daemon, as a stream.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use async_signal::Signals as Inner;
use futures::{Stream, StreamExt};

/// A signal that the daemon handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: stop cleanly.
    Terminate,
    /// SIGINT, Ctrl-C: stop cleanly.
    Interrupt,
    /// SIGHUP: read the configuration again.
    Hangup,
}

impl Signal {
    /// Returns the name by which people know it.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Terminate => "SIGTERM",
            Signal::Interrupt => "SIGINT",
            Signal::Hangup => "SIGHUP",
        }
    }
}

/// A stream of SIGTERM, SIGINT and SIGHUP. They do not end the process while it exists.
/// It never ends.
#[derive(Debug)]
pub struct Signals {
    inner: Inner,
}

impl Signals {
    /// Begins to catch the signals.
    ///
    /// # Errors
    /// Fails if a handler, or the socket to it, cannot be made.
    pub fn new() -> io::Result<Self> {
        use async_signal::Signal as S;
        Ok(Signals {
            inner: Inner::new([S::Term, S::Int, S::Hup])?,
        })
    }
}

impl Stream for Signals {
    type Item = Signal;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
        loop {
            return Poll::Ready(match std::task::ready!(self.inner.poll_next_unpin(cx)) {
                Some(Ok(async_signal::Signal::Term)) => Some(Signal::Terminate),
                Some(Ok(async_signal::Signal::Int)) => Some(Signal::Interrupt),
                Some(Ok(async_signal::Signal::Hup)) => Some(Signal::Hangup),
                Some(Ok(_)) => continue,
                Some(Err(error)) => {
                    // Without its signals, the daemon could not be stopped, so it stops
                    // now.
                    log::error!(error:% = error; "cannot receive signals any more, stopping");
                    Some(Signal::Terminate)
                }
                None => None,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal as Raw, raise};

    #[test]
    fn signals_arrive_in_the_stream_instead_of_ending_the_process() {
        async_std::task::block_on(async {
            let mut signals = Signals::new().unwrap();
            for (raw, signal) in [
                (Raw::SIGHUP, Signal::Hangup),
                (Raw::SIGTERM, Signal::Terminate),
                (Raw::SIGINT, Signal::Interrupt),
            ] {
                raise(raw).unwrap();
                let next =
                    async_std::future::timeout(std::time::Duration::from_secs(60), signals.next());
                assert_eq!(next.await.unwrap(), Some(signal), "{}", signal.name());
            }
        });
    }
}
