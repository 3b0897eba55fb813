//! Handshakes that can be given up from outside.
//!
//! The swarm has no way to end a connection in the making. So the transport
//! wraps each inbound handshake, and leaves what ends it where the gate finds it.

use std::io;
use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll};

use futures::future::{Abortable, BoxFuture};
use futures::stream::AbortHandle;
use futures::{FutureExt, TryFutureExt};
use libp2p::Multiaddr;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};

use super::behaviour::Announced;

/// Passes everything on to `T`, and announces what ends an inbound handshake.
#[derive(Debug)]
pub struct Transport<T> {
    inner: T,
    announced: Announced,
}

impl<T> Transport<T> {
    /// Wraps `inner`. `announced` is shared with the gate.
    pub fn new(inner: T, announced: Announced) -> Self {
        Transport { inner, announced }
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
            event.map_upgrade(|upgrade| {
                let (handle, registration) = AbortHandle::new_pair();
                *this
                    .announced
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = Some(handle);
                Abortable::new(upgrade, registration)
                    .map_err(|_| {
                        io::Error::new(
                            io::ErrorKind::TimedOut,
                            "the handshake was slow, and its place was needed",
                        )
                    })
                    .map(|ended| ended.and_then(|result| result))
                    .boxed()
            })
        })
    }
}
