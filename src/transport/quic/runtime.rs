//! Tasks and timers for quinn on async-std.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use async_io::Timer;
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime};

use super::polls::Polls;
use super::socket::Socket;
use crate::telemetry::coop;

/// async-std's executor and async-io's timers.
#[derive(Debug)]
pub(super) struct AsyncStd {
    /// Those of the endpoint's tasks, which its socket looks at.
    pub(super) polls: Polls,
}

impl Runtime for AsyncStd {
    fn new_timer(&self, deadline: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(LazyTimer::new(deadline))
    }

    fn spawn(&self, mut future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let polls = self.polls.clone();
        let task = poll_fn(move |cx| {
            let _under_way = polls.begin(Instant::now());
            future.as_mut().poll(cx)
        });
        async_std::task::spawn(coop::watch("quic", task));
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(Socket::new(socket)?))
    }
}

/// A timer that touches the reactor only to fire earlier.
///
/// Every packet moves a connection's deadline, nearly always to later, and
/// moving a timer in the reactor costs a wake-up of the thread that polls. So a
/// timer that was moved later stays where it is; when it fires it sees that it
/// is early and goes on to the real deadline.
#[derive(Debug)]
struct LazyTimer {
    timer: Timer,
    /// When `timer` fires, unless it has.
    armed: Option<Instant>,
    /// When this timer shall fire.
    deadline: Instant,
}

impl LazyTimer {
    fn new(deadline: Instant) -> Self {
        Self {
            timer: Timer::at(deadline),
            armed: Some(deadline),
            deadline,
        }
    }

    fn arm(&mut self, at: Instant) {
        self.timer.set_at(at);
        self.armed = Some(at);
    }
}

impl AsyncTimer for LazyTimer {
    fn reset(self: Pin<&mut Self>, deadline: Instant) {
        let this = self.get_mut();
        this.deadline = deadline;
        if this.armed.is_none_or(|armed| deadline < armed) {
            this.arm(deadline);
        }
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            match Future::poll(Pin::new(&mut this.timer), cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(fired) => {
                    this.armed = None;
                    if fired.max(Instant::now()) >= this.deadline {
                        return Poll::Ready(());
                    }
                    this.arm(this.deadline);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_std::task::block_on;
    use futures::future::poll_fn;

    use super::*;

    async fn fired(timer: &mut Pin<Box<LazyTimer>>) -> Instant {
        poll_fn(|cx| AsyncTimer::poll(timer.as_mut(), cx)).await;
        Instant::now()
    }

    #[test]
    fn a_timer_moved_later_never_fires_before_its_deadline() {
        block_on(async {
            let start = Instant::now();
            let mut timer = Box::pin(LazyTimer::new(start + Duration::from_millis(5)));
            let later = start + Duration::from_millis(40);
            timer.as_mut().reset(later);
            assert_eq!(timer.armed, Some(start + Duration::from_millis(5)));
            assert!(fired(&mut timer).await >= later);
        })
    }

    #[test]
    fn a_timer_moved_earlier_fires_and_can_be_used_again() {
        block_on(async {
            let start = Instant::now();
            let mut timer = Box::pin(LazyTimer::new(start + Duration::from_secs(3600)));
            timer.as_mut().reset(start + Duration::from_millis(5));
            assert!(fired(&mut timer).await >= start + Duration::from_millis(5));
            let again = Instant::now() + Duration::from_millis(5);
            timer.as_mut().reset(again);
            assert!(fired(&mut timer).await >= again);
        })
    }
}
