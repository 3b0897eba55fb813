//! A transport whose inbound handshakes can be ended from outside.
//!
//! # What libp2p lacks
//!
//! The swarm has no way to end a handshake that is under way, neither for its user nor for
//! a behaviour. So a handshake that is slow on purpose would keep its place until it times
//! out, although somebody else needs it.
//!
//! # What is done instead
//!
//! The transport wraps each inbound handshake, and announces what ends it in [`Pending`],
//! where the connection gate finds it.
//!
//! # What would make this superfluous
//!
//! A method of the swarm, or an order of a behaviour, that ends a pending connection by
//! its [`ConnectionId`](libp2p::swarm::ConnectionId).
//! No issue asks for it. <https://github.com/libp2p/rust-libp2p/issues/2824>
//! gave behaviours their say over connections: they may refuse one when they are asked,
//! but not end it later.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::{Abortable, BoxFuture};
use futures::{FutureExt, TryFutureExt};
use libp2p::Multiaddr;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};

use super::pending_handshakes::Pending;

/// Forwards everything to `T`, and announces what ends each inbound handshake.
#[derive(Debug)]
pub(crate) struct Transport<T> {
    inner: T,
    pending: Pending,
}

impl<T> Transport<T> {
    /// Wraps `inner`. `pending` is shared with the gate.
    pub(crate) fn new(inner: T, pending: Pending) -> Self {
        Transport { inner, pending }
    }
}

impl<T> libp2p::core::Transport for Transport<T>
where
    T: libp2p::core::Transport<Error = io::Error> + Unpin,
    T::ListenerUpgrade: Send + 'static,
{
    type Output = T::Output;
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, Result<T::Output, io::Error>>;
    type Dial = T::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        self.inner.dial(address, opts)
    }

    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let this = self.get_mut();
        Pin::new(&mut this.inner).poll(cx).map(|event| {
            let TransportEvent::Incoming {
                listener_id,
                upgrade,
                local_addr,
                send_back_addr,
            } = event
            else {
                return event.map_upgrade(|upgrade| upgrade.boxed());
            };
            let (registration, announcement) = this.pending.announce(&local_addr, &send_back_addr);
            let upgrade = Abortable::new(upgrade, registration)
                .map_err(|_| {
                    io::Error::new(
                        io::ErrorKind::TimedOut,
                        "the handshake was slow, and its place was needed",
                    )
                })
                .map(|ended| {
                    drop(announcement);
                    ended.and_then(|result| result)
                })
                .boxed();
            TransportEvent::Incoming {
                listener_id,
                upgrade,
                local_addr,
                send_back_addr,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures::future::{Pending as Never, pending};
    use libp2p::core::Transport as _;

    use super::*;

    /// Announces inbound connections from these remotes, whose handshakes never end.
    #[derive(Debug)]
    struct Arrivals(VecDeque<Multiaddr>);

    fn local() -> Multiaddr {
        "/ip4/192.0.2.1/tcp/4001".parse().unwrap()
    }

    impl libp2p::core::Transport for Arrivals {
        type Output = ();
        type Error = io::Error;
        type ListenerUpgrade = Never<Result<(), io::Error>>;
        type Dial = Never<Result<(), io::Error>>;

        fn listen_on(
            &mut self,
            _: ListenerId,
            _: Multiaddr,
        ) -> Result<(), TransportError<io::Error>> {
            Ok(())
        }

        fn remove_listener(&mut self, _: ListenerId) -> bool {
            false
        }

        fn dial(
            &mut self,
            _: Multiaddr,
            _: DialOpts,
        ) -> Result<Self::Dial, TransportError<io::Error>> {
            Ok(pending())
        }

        fn poll(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
            match self.0.pop_front() {
                Some(send_back_addr) => Poll::Ready(TransportEvent::Incoming {
                    listener_id: ListenerId::next(),
                    upgrade: pending(),
                    local_addr: local(),
                    send_back_addr,
                }),
                None => Poll::Pending,
            }
        }
    }

    #[test]
    fn the_handshake_of_the_remote_that_is_named_is_the_one_that_ends() {
        let remotes = [1, 2].map(|n| format!("/ip4/198.51.100.{n}/tcp/9").parse().unwrap());
        let pending = Pending::default();
        let mut transport = Transport::new(Arrivals(remotes.clone().into()), pending.clone());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut next = || match Pin::new(&mut transport).poll(&mut cx) {
            Poll::Ready(TransportEvent::Incoming { upgrade, .. }) => upgrade,
            _ => panic!("nobody has come"),
        };
        // Both are announced before anybody asks about one of them.
        let (mut first, mut second) = (next(), next());
        let handle = pending.take(&local(), &remotes[1]).unwrap();
        handle.abort();
        let ended = (&mut second).now_or_never().map(|ended| ended.is_err());
        assert_eq!(ended, Some(true));
        assert!((&mut first).now_or_never().is_none());
        assert!(pending.take(&local(), &remotes[0]).is_some());
    }
}
