//! The wire: a libp2p transport whose hosts are all in this process.
//!
//! Addresses look as they do between hosts, `/ip4/…/tcp/…`, each host has an IP
//! address of its own, and nothing of it touches a socket. So the address book, the
//! gate and its subnets see what they would see outside, no descriptor is used, and
//! a host's death, a partition and its end happen when the harness says so.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::pin::Pin;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_io::Timer;
use futures::future::{BoxFuture, FutureExt, Ready, ready};
use futures::task::AtomicWaker;
use libp2p::Multiaddr;
use libp2p::core::transport::{DialOpts, ListenerId, PortUse, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;

use crate::host::Host;
use crate::pipe::{End, Link};

/// Connections that wait for a listener to take them, as net.core.somaxconn has it.
const BACKLOG: usize = 4096;

/// The first wait of a dial that nobody answers, as that of a SYN; it doubles.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The first of the ports that a host dials from when it listens nowhere.
const EPHEMERAL: u16 = 32768;

/// See the module's page. Clones are handles to the same wire.
#[derive(Clone, Default)]
pub(crate) struct Wire {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    table: Mutex<Table>,
    latency: Duration,
    ephemeral: AtomicU16,
}

#[derive(Default)]
struct Table {
    hosts: HashMap<Ipv4Addr, Arc<Host>>,
    ports: HashMap<SocketAddrV4, Arc<Port>>,
}

/// A port that somebody listens on.
#[derive(Default)]
struct Port {
    arrived: Mutex<VecDeque<(End, SocketAddrV4)>>,
    listener: AtomicWaker,
}

enum Answer {
    Connected(End),
    Refused,
    Silence,
}

impl Wire {
    /// One on which every byte is under way for `latency`.
    pub(crate) fn new(latency: Duration) -> Wire {
        Wire {
            inner: Arc::new(Inner {
                latency,
                ..Inner::default()
            }),
        }
    }

    /// The host with this address, made when it is asked for first.
    pub(crate) fn host(&self, ip: Ipv4Addr) -> Arc<Host> {
        let mut table = self.inner.table();
        let host = table.hosts.entry(ip).or_insert_with(|| Host::new(ip));
        host.clone()
    }

    /// A transport for one node on `host`.
    pub(crate) fn transport(&self, host: Arc<Host>) -> Transport {
        Transport {
            wire: self.inner.clone(),
            host,
            listeners: Vec::new(),
            events: VecDeque::new(),
        }
    }
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self, from: &Arc<Host>, port: Option<u16>, to: SocketAddrV4) -> Answer {
        let (host, listener) = {
            let table = self.table();
            let Some(host) = table.hosts.get(to.ip()) else {
                return Answer::Silence;
            };
            (host.clone(), table.ports.get(&to).cloned())
        };
        if !from.reaches(&host) {
            return Answer::Silence;
        }
        let Some(listener) = listener else {
            return Answer::Refused;
        };
        let port = port.unwrap_or_else(|| {
            let n = self.ephemeral.fetch_add(1, Ordering::Relaxed);
            EPHEMERAL + n % (u16::MAX - EPHEMERAL)
        });
        let mut arrived = listener
            .arrived
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if arrived.len() >= BACKLOG {
            return Answer::Silence;
        }
        let [near, far] = Link::between(from, &host, self.latency);
        arrived.push_back((far, SocketAddrV4::new(from.ip, port)));
        drop(arrived);
        listener.listener.wake();
        from.dialed();
        Answer::Connected(near)
    }
}

/// The transport of one node. See the module's page.
pub(crate) struct Transport {
    wire: Arc<Inner>,
    host: Arc<Host>,
    listeners: Vec<(ListenerId, SocketAddrV4, Arc<Port>)>,
    events: VecDeque<TransportEvent<Ready<io::Result<End>>, io::Error>>,
}

impl Transport {
    fn close(&self, at: &SocketAddrV4, port: &Arc<Port>) {
        let mut table = self.wire.table();
        if table.ports.get(at).is_some_and(|p| Arc::ptr_eq(p, port)) {
            table.ports.remove(at);
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        for (_, at, port) in &self.listeners {
            self.close(at, port);
        }
    }
}

impl libp2p::core::Transport for Transport {
    type Output = End;
    type Error = io::Error;
    type ListenerUpgrade = Ready<io::Result<End>>;
    type Dial = BoxFuture<'static, io::Result<End>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        let at = match socket(&address) {
            Some(at) if *at.ip() == self.host.ip => at,
            _ => return Err(TransportError::MultiaddrNotSupported(address)),
        };
        let port = Arc::new(Port::default());
        {
            let mut table = self.wire.table();
            if table.ports.contains_key(&at) {
                return Err(TransportError::Other(io::ErrorKind::AddrInUse.into()));
            }
            table.ports.insert(at, port.clone());
        }
        self.listeners.push((id, at, port));
        self.events.push_back(TransportEvent::NewAddress {
            listener_id: id,
            listen_addr: address,
        });
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let Some(n) = self.listeners.iter().position(|(l, ..)| *l == id) else {
            return false;
        };
        let (_, at, port) = self.listeners.swap_remove(n);
        self.close(&at, &port);
        self.events.push_back(TransportEvent::ListenerClosed {
            listener_id: id,
            reason: Ok(()),
        });
        true
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        let Some(to) = socket(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let port = match opts.port_use {
            PortUse::Reuse => self.listeners.first().map(|(_, at, _)| at.port()),
            PortUse::New => None,
        };
        let (wire, host) = (self.wire.clone(), self.host.clone());
        Ok(async move {
            let mut wait = FIRST_RETRY;
            loop {
                if !wire.latency.is_zero() {
                    Timer::after(2 * wire.latency).await;
                }
                match wire.connect(&host, port, to) {
                    Answer::Connected(end) => return Ok(end),
                    Answer::Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
                    Answer::Silence => {
                        Timer::after(wait).await;
                        wait *= 2;
                    }
                }
            }
        }
        .boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let this = &mut *self;
        if let Some(event) = this.events.pop_front() {
            return Poll::Ready(event);
        }
        for (id, at, port) in &this.listeners {
            port.listener.register(cx.waker());
            let arrived = {
                let mut arrived = port.arrived.lock().unwrap_or_else(PoisonError::into_inner);
                arrived.pop_front()
            };
            if let Some((end, from)) = arrived {
                return Poll::Ready(TransportEvent::Incoming {
                    listener_id: *id,
                    upgrade: ready(Ok(end)),
                    local_addr: multiaddr(*at),
                    send_back_addr: multiaddr(from),
                });
            }
        }
        Poll::Pending
    }
}

/// The address of the form `/ip4/…/tcp/…`, with or without a peer at its end.
fn socket(address: &Multiaddr) -> Option<SocketAddrV4> {
    let mut parts = address.iter();
    let (Protocol::Ip4(ip), Protocol::Tcp(port)) = (parts.next()?, parts.next()?) else {
        return None;
    };
    match parts.next() {
        None => Some(SocketAddrV4::new(ip, port)),
        Some(Protocol::P2p(_)) if parts.next().is_none() => Some(SocketAddrV4::new(ip, port)),
        Some(_) => None,
    }
}

/// The other way.
pub(crate) fn multiaddr(at: SocketAddrV4) -> Multiaddr {
    Multiaddr::from(*at.ip()).with(Protocol::Tcp(at.port()))
}
