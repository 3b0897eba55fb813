//! One listening socket: its addresses, and the connections that arrive there.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures::stream::{self, BoxStream};
use futures::{FutureExt, Stream, StreamExt};
use if_watch::IfEvent;
use if_watch::smol::IfWatcher;
use libp2p::core::transport::{ListenerId, TransportEvent};

use super::connecting::Connecting;
use super::endpoint::{Endpoint, Shared};
use super::handshakes::{Decision, Handshakes};
use super::{Error, address};
use crate::transport::tcp::needs_scope;

/// Attempts that are sent a Retry in one poll, at a few microseconds each. Another thread
/// goes on to queue new ones from addresses that may all be forged.
const RETRIES_A_POLL: usize = 64;

pub(super) type Event = TransportEvent<Connecting, Error>;

/// A listening socket; as a stream, its events until it is closed.
pub(super) struct Listener {
    pub(super) id: ListenerId,
    pub(super) endpoint: Endpoint,
    shared: Arc<Shared>,
    handshakes: Handshakes,
    /// Attempts as quinn hands them out. Ends when the socket is lost.
    arrivals: BoxStream<'static, quinn::Incoming>,
    /// An attempt that waits until a handshake may begin.
    waiting: Option<quinn::Incoming>,
    /// Watches the interfaces, for a wildcard address only.
    interfaces: Option<IfWatcher>,
    /// Addresses that have been announced.
    announced: BTreeSet<IpAddr>,
    state: State,
    waker: Option<Waker>,
}

enum State {
    /// A fixed address that has not been announced.
    Announce,
    Open,
    /// Closed with this reason, which nobody was told yet.
    Closing(Result<(), Error>),
    Closed,
}

impl Listener {
    pub(super) fn new(
        id: ListenerId,
        endpoint: Endpoint,
        shared: Arc<Shared>,
        handshakes: Handshakes,
    ) -> Result<Self, Error> {
        let wildcard = endpoint.local.ip().is_unspecified();
        let interfaces = wildcard
            .then(IfWatcher::new)
            .transpose()
            .map_err(|source| Error::Interfaces {
                address: endpoint.local,
                source,
            })?;
        let arrivals = stream::unfold(endpoint.quinn.clone(), |quinn| async {
            let incoming = quinn.accept().await?;
            Some((incoming, quinn))
        });
        Ok(Self {
            id,
            endpoint,
            shared,
            handshakes,
            arrivals: arrivals.boxed(),
            waiting: None,
            interfaces,
            announced: BTreeSet::new(),
            state: if wildcard {
                State::Open
            } else {
                State::Announce
            },
            waker: None,
        })
    }

    /// Stops accepting. Connections that were made here stay, and the socket with
    /// them.
    pub(super) fn close(&mut self, reason: Result<(), Error>) {
        if !self.is_open() {
            return;
        }
        self.endpoint.quinn.set_server_config(None);
        // Dropping it would refuse it. When it is ignored, its client tries again and
        // may find the next process.
        if let Some(waiting) = self.waiting.take() {
            waiting.ignore();
        }
        self.interfaces = None;
        self.state = State::Closing(reason);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Announce | State::Open)
    }

    /// Whether a packet from this socket can reach `remote`.
    pub(super) fn can_dial(&self, remote: SocketAddr) -> bool {
        let local = self.endpoint.local.ip();
        self.is_open()
            && local.is_ipv4() == remote.is_ipv4()
            && (local.is_unspecified() || local.is_loopback() == remote.ip().is_loopback())
    }

    fn poll_interfaces(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let Some(interfaces) = &mut self.interfaces else {
            return Poll::Pending;
        };
        let local = self.endpoint.local;
        let listener_id = self.id;
        let ours = |ip: IpAddr| ip.is_ipv4() == local.is_ipv4() && !needs_scope(ip);
        let format = |ip| address::format(SocketAddr::new(ip, local.port()));
        while let Poll::Ready(event) = interfaces.poll_if_event(cx) {
            match event {
                Ok(IfEvent::Up(net)) if ours(net.addr()) && self.announced.insert(net.addr()) => {
                    return Poll::Ready(TransportEvent::NewAddress {
                        listener_id,
                        listen_addr: format(net.addr()),
                    });
                }
                Ok(IfEvent::Down(net)) if self.announced.remove(&net.addr()) => {
                    return Poll::Ready(TransportEvent::AddressExpired {
                        listener_id,
                        listen_addr: format(net.addr()),
                    });
                }
                Ok(_) => {}
                Err(source) => {
                    // It never recovers, and would return the error at every poll. The
                    // addresses known so far stay.
                    self.interfaces = None;
                    return Poll::Ready(TransportEvent::ListenerError {
                        listener_id,
                        error: Error::Interfaces {
                            address: local,
                            source,
                        },
                    });
                }
            }
        }
        Poll::Pending
    }

    fn poll_arrivals(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        for _ in 0..RETRIES_A_POLL {
            let incoming = match self.waiting.take() {
                Some(incoming) => incoming,
                None => match self.arrivals.next().poll_unpin(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(incoming)) => incoming,
                    Poll::Ready(None) => {
                        let address = self.endpoint.local;
                        self.close(Err(Error::SocketLost { address }));
                        return Poll::Pending;
                    }
                },
            };
            let remote = incoming.remote_address();
            let validated = incoming.remote_address_validated() || !incoming.may_retry();
            let asked = self
                .handshakes
                .ask(validated, remote.ip(), Instant::now(), cx.waker());
            let permit = match asked {
                Decision::Accept(permit) => permit,
                Decision::Retry => {
                    // Cannot fail: `may_retry` was asked above.
                    let _ = incoming.retry();
                    continue;
                }
                Decision::Wait => {
                    self.waiting = Some(incoming);
                    return Poll::Pending;
                }
            };
            let local_ip = incoming.local_ip().unwrap_or(self.endpoint.local.ip());
            return Poll::Ready(TransportEvent::Incoming {
                listener_id: self.id,
                upgrade: Connecting::inbound(incoming, self.shared.clone(), permit),
                local_addr: address::format(SocketAddr::new(local_ip, self.endpoint.local.port())),
                send_back_addr: address::format(remote),
            });
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Stream for Listener {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let this = self.get_mut();
        loop {
            match &this.state {
                State::Announce => {
                    this.state = State::Open;
                    this.announced.insert(this.endpoint.local.ip());
                    return Poll::Ready(Some(TransportEvent::NewAddress {
                        listener_id: this.id,
                        listen_addr: address::format(this.endpoint.local),
                    }));
                }
                State::Open => {
                    if let Poll::Ready(event) = this.poll_interfaces(cx) {
                        return Poll::Ready(Some(event));
                    }
                    if let Poll::Ready(event) = this.poll_arrivals(cx) {
                        return Poll::Ready(Some(event));
                    }
                    if this.is_open() {
                        this.waker = Some(cx.waker().clone());
                        return Poll::Pending;
                    }
                }
                State::Closing(_) => {
                    let State::Closing(reason) = std::mem::replace(&mut this.state, State::Closed)
                    else {
                        return Poll::Ready(None);
                    };
                    return Poll::Ready(Some(TransportEvent::ListenerClosed {
                        listener_id: this.id,
                        reason,
                    }));
                }
                State::Closed => return Poll::Ready(None),
            }
        }
    }
}
