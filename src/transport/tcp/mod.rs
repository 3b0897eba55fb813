//! TCP for libp2p on async-io.
//!
//! | file | holds |
//! |---|---|
//! | [`address`] | multiaddr to socket address and back |
//! | [`listener`] | one listening socket, its addresses, and what arrives |
//! | [`ports`] | which local ports dials may reuse |
//! | [`stream`] | the connected socket, buffered |
//! | [`owner`] | which process holds a port that is in use |
//! | [`error`] | what can go wrong |

pub(crate) mod address;
mod error;
mod listener;
pub(crate) mod owner;
mod ports;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use async_io::Async;
use futures::future::{self, BoxFuture, FutureExt, Ready};
use libp2p::core::transport::{DialOpts, ListenerId, PortUse, TransportError, TransportEvent};
use libp2p::multiaddr::Multiaddr;
use socket2::{Domain, Protocol, Socket, Type};

use crate::system::sockets::{Binding, Sockets};
use address::{to_multiaddr, to_socket_addr};
use listener::{BACKLOG, Event, Listener};
use ports::Ports;

pub use error::Error;
pub(crate) use listener::needs_scope;
pub use stream::Stream;

/// The TCP transport: any number of listeners, and dials that leave from the port of
/// a listener where possible.
///
/// Clones made by [`Transport::sibling`] share the knowledge of listening ports.
#[derive(Default)]
pub struct Transport {
    ports: Ports,
    sockets: Sockets,
    listeners: Vec<Listener>,
    /// Where the next round of polling starts, so that no listener starves.
    next: usize,
    closed: VecDeque<ListenerId>,
    waker: Option<Waker>,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let listeners = self.listeners.iter().map(|l| l.id);
        f.debug_struct("Transport")
            .field("listeners", &listeners.collect::<Vec<_>>())
            .finish()
    }
}

impl Transport {
    /// A transport without listeners.
    pub fn new() -> Self {
        Self::default()
    }

    /// A transport whose listeners take inherited sockets where there are any, and
    /// have new ones kept for the next process.
    pub fn with_sockets(sockets: Sockets) -> Self {
        Transport {
            sockets,
            ..Self::default()
        }
    }

    /// Another transport. The dials of each may leave from the ports of the other.
    pub fn sibling(&self) -> Self {
        Transport {
            ports: self.ports.clone(),
            sockets: self.sockets.clone(),
            ..Self::default()
        }
    }

    /// Listens with a socket that is bound and listening already, such as one
    /// inherited from the service manager.
    ///
    /// # Errors
    /// When the socket's address cannot be read, it cannot be registered for
    /// polling, or the interfaces cannot be watched.
    pub fn adopt(&mut self, id: ListenerId, socket: TcpListener) -> Result<(), Error> {
        share_port(&socket);
        self.listeners
            .push(Listener::new(id, socket, self.ports.clone())?);
        self.wake();
        Ok(())
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl libp2p::core::Transport for Transport {
    type Output = Stream;
    type Error = Error;
    type ListenerUpgrade = Ready<Result<Stream, Error>>;
    type Dial = BoxFuture<'static, Result<Stream, Error>>;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<Error>> {
        let Some(address) = to_socket_addr(&addr) else {
            return Err(TransportError::MultiaddrNotSupported(addr));
        };
        let socket = listen(&self.sockets, address).map_err(|source| {
            let owner = (source.kind() == io::ErrorKind::AddrInUse)
                .then(|| owner::of_listener(address))
                .flatten();
            TransportError::Other(Error::Listen {
                address,
                source,
                owner,
            })
        })?;
        self.adopt(id, socket).map_err(TransportError::Other)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let Some(at) = self.listeners.iter().position(|l| l.id == id) else {
            return false;
        };
        // Connections have sockets of their own and stay.
        self.listeners.remove(at);
        self.closed.push_back(id);
        self.wake();
        true
    }

    fn dial(
        &mut self,
        addr: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<Error>> {
        let remote = match to_socket_addr(&addr) {
            Some(remote) if remote.port() != 0 && !remote.ip().is_unspecified() => remote,
            _ => return Err(TransportError::MultiaddrNotSupported(addr)),
        };
        // The role does not matter here: for a simultaneous open both sides just
        // connect, and the upgrade above takes the role into account.
        let local = match opts.port_use {
            PortUse::Reuse => self.ports.local_for(remote.ip()),
            PortUse::New => None,
        };
        Ok(dial(remote, local).boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Error>> {
        let this = &mut *self;
        if let Some(listener_id) = this.closed.pop_front() {
            return Poll::Ready(TransportEvent::ListenerClosed {
                listener_id,
                reason: Ok(()),
            });
        }
        let count = this.listeners.len();
        for step in 0..count {
            let at = (this.next + step) % count;
            let listener = &mut this.listeners[at];
            let listener_id = listener.id;
            if let Poll::Ready(event) = listener.poll(cx) {
                this.next = (at + 1) % count;
                return Poll::Ready(match event {
                    Event::Address(listen_addr) => TransportEvent::NewAddress {
                        listener_id,
                        listen_addr,
                    },
                    Event::Expired(listen_addr) => TransportEvent::AddressExpired {
                        listener_id,
                        listen_addr,
                    },
                    Event::Incoming {
                        socket,
                        local,
                        remote,
                    } => TransportEvent::Incoming {
                        listener_id,
                        upgrade: future::ready(Ok(Stream::new(socket))),
                        local_addr: to_multiaddr(local.ip(), local.port()),
                        send_back_addr: to_multiaddr(remote.ip(), remote.port()),
                    },
                });
            }
        }
        this.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // IPv4 has listeners of its own; mapped addresses would confuse every
        // address filter.
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn listen(sockets: &Sockets, address: SocketAddr) -> io::Result<TcpListener> {
    if let Some(inherited) = sockets.take_tcp(address) {
        return Ok(inherited);
    }
    let socket = new_socket(address)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    sockets.keep("tcp", &Binding::Tcp(address), socket.as_fd());
    Ok(socket.into())
}

/// Lets dials bind to the port of a listening socket.
///
/// SO_REUSEPORT is set only after binding: set before, it would let a second
/// daemon of the same user take a share of this one's connections without an
/// error.
fn share_port(listener: &TcpListener) {
    if let Err(e) = socket2::SockRef::from(listener).set_reuse_port(true) {
        log::debug!(error:% = e; "dials cannot reuse the listening port");
    }
}

async fn dial(remote: SocketAddr, local: Option<SocketAddr>) -> Result<Stream, Error> {
    let connected = match connect(remote, local).await {
        // The same pair of ports is in use, or was until a moment ago.
        Err(e)
            if local.is_some()
                && matches!(
                    e.kind(),
                    io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse
                ) =>
        {
            log::debug!(address:% = remote, error:% = e; "dialling from a new port");
            connect(remote, None).await
        }
        other => other,
    };
    connected.map(Stream::new).map_err(|source| Error::Dial {
        address: remote,
        source,
    })
}

async fn connect(remote: SocketAddr, local: Option<SocketAddr>) -> io::Result<Async<TcpStream>> {
    let socket = new_socket(remote)?;
    if let Some(local) = local {
        socket.set_reuse_port(true)?;
        socket.bind(&local.into())?;
    }
    match socket.connect(&remote.into()) {
        Ok(()) => {}
        Err(e) if e.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
        Err(e) => return Err(e),
    }
    let stream = Async::new_nonblocking(TcpStream::from(socket))?;
    stream.writable().await?;
    match stream.get_ref().take_error()? {
        None => Ok(stream),
        Some(e) => Err(e),
    }
}
