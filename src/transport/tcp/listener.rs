//! One listening socket: its addresses, and the connections that arrive.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use futures::Future;
use if_watch::IfEvent;
use if_watch::smol::IfWatcher;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Multiaddr;

use super::Error;
use super::address::to_multiaddr;
use super::ports::Ports;

/// Pause after `accept` failed because a resource (descriptors, memory) ran out. The
/// kernel's backlog keeps connections meanwhile. It is long enough not to keep a core
/// busy, and short enough that nobody times out.
const PAUSE: Duration = Duration::from_millis(250);

/// A failing `accept` is logged at most this often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Connections waiting in the kernel for `accept`. The kernel caps it at
/// net.core.somaxconn (4096 on current Linux).
pub(crate) const BACKLOG: i32 = 4096;

/// Something that happened at a listener.
pub(crate) enum Event {
    /// An address can be dialled now.
    Address(Multiaddr),
    /// An address went away with its interface.
    Expired(Multiaddr),
    /// A connection arrived.
    Incoming {
        socket: Async<TcpStream>,
        local: SocketAddr,
        remote: SocketAddr,
    },
}

/// A listening socket.
pub(crate) struct Listener {
    pub(crate) id: ListenerId,
    socket: Async<TcpListener>,
    bound: SocketAddr,
    ports: Ports,
    /// Present for wildcard listeners, whose addresses are those of the interfaces.
    watcher: Option<IfWatcher>,
    /// Addresses announced and not expired since; bounded by the host's interfaces.
    announced: Vec<IpAddr>,
    pub(super) events: VecDeque<Event>,
    pub(super) pause: Option<Timer>,
    failures: Failures,
}

impl Listener {
    /// Takes a socket that listens already, from [`libp2p::Transport::listen_on`]
    /// or from the service manager.
    pub(crate) fn new(id: ListenerId, socket: TcpListener, ports: Ports) -> Result<Self, Error> {
        let bound = socket.local_addr().map_err(Error::Adopt)?;
        let socket = Async::new(socket).map_err(Error::Adopt)?;
        let mut listener = Listener {
            id,
            socket,
            bound,
            ports,
            watcher: None,
            announced: Vec::new(),
            events: VecDeque::new(),
            pause: None,
            failures: Failures::default(),
        };
        if bound.ip().is_unspecified() {
            listener.watcher = Some(IfWatcher::new().map_err(Error::Watch)?);
        } else {
            listener.announce(bound.ip());
        }
        Ok(listener)
    }

    fn announce(&mut self, ip: IpAddr) {
        if !self.announced.contains(&ip) {
            self.announced.push(ip);
            self.ports.add(ip, self.bound.port());
            self.events
                .push_back(Event::Address(to_multiaddr(ip, self.bound.port())));
        }
    }

    fn expire(&mut self, ip: IpAddr) {
        if let Some(at) = self.announced.iter().position(|a| *a == ip) {
            self.announced.swap_remove(at);
            self.ports.remove(ip, self.bound.port());
            self.events
                .push_back(Event::Expired(to_multiaddr(ip, self.bound.port())));
        }
    }

    pub(super) fn on_interface(&mut self, event: IfEvent) {
        let (net, up) = match event {
            IfEvent::Up(net) => (net, true),
            IfEvent::Down(net) => (net, false),
        };
        let ip = net.addr();
        if ip.is_ipv4() != self.bound.is_ipv4() || needs_scope(ip) {
            return;
        }
        if up {
            self.announce(ip);
        } else {
            self.expire(ip);
        }
    }

    /// The next event. Errors of the interface watcher end the watching, with
    /// one line in the log; the addresses known so far stay.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        while let Some(watcher) = &mut self.watcher {
            match watcher.poll_if_event(cx) {
                Poll::Ready(Ok(event)) => self.on_interface(event),
                Poll::Ready(Err(e)) => {
                    log::warn!(address:% = self.bound, error:% = e;
                        "the interfaces cannot be watched any more; listen addresses stay as they are");
                    self.watcher = None;
                }
                Poll::Pending => break,
            }
        }
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        self.poll_accept(cx)
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(Pin::new(pause).poll(cx));
                self.pause = None;
            }
            match self.accept() {
                Ok(event) => return Poll::Ready(event),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if let Err(e) = ready!(self.socket.poll_readable(cx)) {
                        self.on_failure(&e);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => self.on_failure(&e),
            }
        }
    }

    fn accept(&self) -> io::Result<Event> {
        let (socket, remote) = self.socket.get_ref().accept()?;
        // The local address tells which of the interfaces a wildcard listener was reached by.
        let local = socket.local_addr()?;
        Ok(Event::Incoming {
            socket: Async::new(socket)?,
            local,
            remote,
        })
    }

    fn on_failure(&mut self, error: &io::Error) {
        // That one connection broke in the queue does not concern the next one.
        let connection_only = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::NotConnected
        );
        if !connection_only {
            self.pause = Some(Timer::after(PAUSE));
        }
        if let Some(count) = self.failures.count(Instant::now()) {
            log::warn!(address:% = self.bound, error:% = error, failures = count;
                "cannot accept connections, and tries again; when descriptors ran out, raise LimitNOFILE or lower P2P_MAX_CONNECTIONS");
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for ip in self.announced.drain(..) {
            self.ports.remove(ip, self.bound.port());
        }
    }
}

/// Whether an address can only be dialled together with the name of an interface.
pub(crate) fn needs_scope(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// Failures since the last line in the log.
#[derive(Default)]
struct Failures {
    count: u64,
    logged: Option<Instant>,
}

impl Failures {
    /// Counts one; returns the number to log when it is time for a line.
    fn count(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self
            .logged
            .is_some_and(|at| now.saturating_duration_since(at) < LOG_EVERY)
        {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_logged_once_a_minute_and_counted_always() {
        let mut failures = Failures::default();
        let start = Instant::now();
        assert_eq!(failures.count(start), Some(1));
        assert_eq!(failures.count(start), None);
        assert_eq!(failures.count(start + LOG_EVERY / 2), None);
        assert_eq!(failures.count(start + LOG_EVERY), Some(3));
    }
}
