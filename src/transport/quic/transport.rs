//! libp2p's transport interface: listen, dial, choose the socket.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::channel::oneshot;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{SelectAll, StreamExt};
use libp2p::core::Endpoint as Role;
use libp2p::core::transport::{
    DialOpts, ListenerId, PortUse, Transport as Libp2pTransport, TransportError, TransportEvent,
};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};

use super::connecting::Connecting;
use super::endpoint::{Endpoint, Shared};
use super::handshakes::Handshakes;
use super::listener::Listener;
use super::{Connection, Error, Options, address, hole_punch};
use crate::system::sockets::Sockets;

/// QUIC v1 for libp2p on async-std.
///
/// - Dials leave from a listening socket of the same family when one can reach
///   the remote and `PortUse::Reuse` asks for it, so that NATs and remotes see
///   one address for everything. Otherwise they leave from a socket for dials, one for
///   each family.
/// - A dial in the role of the listener punches a hole and waits for the
///   remote's connection (DCUtR).
/// - Removing a listener does not end its connections.
pub struct Transport {
    shared: Arc<Shared>,
    handshakes: Handshakes,
    listeners: SelectAll<Listener>,
    dialers: Dialers,
    sockets: Sockets,
    /// Hole punches that wait for a connection from an address. Entries whose
    /// dial was given up are cleared with each new one, so that there are never
    /// more than dials under way.
    hole_punches: HashMap<SocketAddr, oneshot::Sender<Connecting>>,
    waker: Option<Waker>,
}

/// An outbound connection until its handshake is done.
type Dial = BoxFuture<'static, Result<(PeerId, Connection), Error>>;

/// Sockets that only dial, made when needed.
#[derive(Default)]
struct Dialers {
    v4: Option<Endpoint>,
    v6: Option<Endpoint>,
}

impl Dialers {
    fn slot(&mut self, family_of: IpAddr) -> &mut Option<Endpoint> {
        match family_of {
            IpAddr::V4(_) => &mut self.v4,
            IpAddr::V6(_) => &mut self.v6,
        }
    }
}

impl Transport {
    /// Makes the transport of a node with this identity. No socket is opened
    /// before something listens or dials.
    ///
    /// # Errors
    /// [`Error::Options`] when the options contradict themselves,
    /// [`Error::Certificate`] or [`Error::Tls`] when no certificate can be made.
    pub fn new(identity: &Keypair, options: Options) -> Result<Self, Error> {
        let handshakes = Handshakes::new(&options, std::time::Instant::now());
        Ok(Self {
            shared: Arc::new(Shared::new(identity, options)?),
            handshakes,
            listeners: SelectAll::new(),
            dialers: Dialers::default(),
            sockets: Sockets::default(),
            hole_punches: HashMap::new(),
            waker: None,
        })
    }

    /// Has listeners take inherited sockets where there are any, and new ones kept
    /// for the next process.
    pub fn with_sockets(mut self, sockets: Sockets) -> Self {
        self.sockets = sockets;
        self
    }

    /// A listening socket from which `remote` can be reached: always the same
    /// one for the same remote, so that its NAT keeps one mapping.
    fn listener_for(&self, remote: SocketAddr) -> Option<&Listener> {
        let mut fit: Vec<&Listener> = self
            .listeners
            .iter()
            .filter(|l| l.can_dial(remote))
            .collect();
        if fit.is_empty() {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        remote.hash(&mut hasher);
        let index = (hasher.finish() % fit.len() as u64) as usize;
        Some(fit.swap_remove(index))
    }

    fn dial_as_client(
        &mut self,
        remote: SocketAddr,
        peer: Option<PeerId>,
        port_use: PortUse,
    ) -> Result<Connecting, Error> {
        if port_use == PortUse::Reuse
            && let Some(listener) = self.listener_for(remote)
        {
            return listener.endpoint.dial(&self.shared, remote, peer);
        }
        let slot = self.dialers.slot(remote.ip());
        if let Some(dialer) = slot {
            match dialer.dial(&self.shared, remote, peer) {
                // Its socket was lost. Use a new one.
                Err(Error::Dial {
                    source: quinn::ConnectError::EndpointStopping,
                    ..
                }) => {}
                result => return result,
            }
        }
        let any: IpAddr = match remote {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let dialer = Endpoint::bind(&self.shared, SocketAddr::new(any, 0))?;
        slot.insert(dialer).dial(&self.shared, remote, peer)
    }

    fn dial_as_server(&mut self, remote: SocketAddr, peer: Option<PeerId>) -> Result<Dial, Error> {
        let socket = self
            .listener_for(remote)
            .ok_or(Error::NoListener { remote })?
            .endpoint
            .socket
            .clone();
        self.hole_punches
            .retain(|_, waiting| !waiting.is_canceled());
        let (sender, arrival) = oneshot::channel();
        match self.hole_punches.entry(remote) {
            Entry::Occupied(_) => return Err(Error::HolePunchInProgress { remote }),
            Entry::Vacant(entry) => entry.insert(sender),
        };
        let allowed = self.shared.options.handshake_timeout;
        Ok(hole_punch::run(socket, remote, peer, arrival, allowed).boxed())
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("listeners", &self.listeners.len())
            .field("hole_punches", &self.hole_punches.len())
            .finish_non_exhaustive()
    }
}

impl Libp2pTransport for Transport {
    type Output = (PeerId, Connection);
    type Error = Error;
    type ListenerUpgrade = Connecting;
    type Dial = Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        addr: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        let Some((local, _)) = address::parse(&addr) else {
            return Err(TransportError::MultiaddrNotSupported(addr));
        };
        let endpoint = Endpoint::listen(&self.shared, local, &self.sockets)?;
        let listener = Listener::new(id, endpoint, self.shared.clone(), self.handshakes.clone())?;
        self.listeners.push(listener);
        // From now on the listener's socket dials; the other one closes with its
        // last connection.
        *self.dialers.slot(local.ip()) = None;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        match self
            .listeners
            .iter_mut()
            .find(|l| l.id == id && l.is_open())
        {
            Some(listener) => {
                listener.close(Ok(()));
                true
            }
            None => false,
        }
    }

    fn dial(
        &mut self,
        addr: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        let Some((remote, peer)) = address::parse(&addr) else {
            return Err(TransportError::MultiaddrNotSupported(addr));
        };
        if remote.port() == 0 || remote.ip().is_unspecified() {
            return Err(TransportError::MultiaddrNotSupported(addr));
        }
        Ok(match opts.role {
            Role::Dialer => self.dial_as_client(remote, peer, opts.port_use)?.boxed(),
            Role::Listener => self.dial_as_server(remote, peer)?,
        })
    }

    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let this = self.get_mut();
        while let Poll::Ready(Some(event)) = this.listeners.poll_next_unpin(cx) {
            let TransportEvent::Incoming {
                listener_id,
                upgrade,
                local_addr,
                send_back_addr,
            } = event
            else {
                return Poll::Ready(event);
            };
            let upgrade = match this.hole_punches.remove(&upgrade.remote_address()) {
                Some(waiting) => match waiting.send(upgrade) {
                    Ok(()) => continue,
                    // That dial was dropped, so this is an ordinary connection.
                    Err(upgrade) => upgrade,
                },
                None => upgrade,
            };
            return Poll::Ready(TransportEvent::Incoming {
                listener_id,
                upgrade,
                local_addr,
                send_back_addr,
            });
        }
        this.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
