//! The transport, which resolves names and dials the addresses that they stand for.
//!
//! One name often stands for several addresses, some of which do not work from
//! here (no IPv6, a blocked UDP, a host that is down). Tried strictly one after
//! the other, a single silent address would use up the whole time of the dial;
//! tried all at once, every dial would be a burst of handshakes of which all but
//! one are thrown away. So each address gets a head start
//! ([`Options::head_start`]) over the next, as browsers do (RFC 8305, "happy
//! eyeballs"): the first connection that is established wins, and the others are dropped.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use async_io::Timer;
use futures::future::{BoxFuture, Either, select};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, TryFutureExt};
use libp2p::Multiaddr;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};

use super::{
    Attempt, DialError, DialFilter, Error, Failure, MAX_DIALS, Options, Resolver, address,
};

/// A transport that resolves names before it dials through `T`.
#[derive(Debug)]
pub struct Transport<T> {
    /// Shared with dials that are under way; locked for a call only, never
    /// across an await.
    inner: Arc<Mutex<Inner<T>>>,
    resolver: Resolver,
}

#[derive(Debug)]
struct Inner<T> {
    transport: T,
    filter: DialFilter,
    /// Who polls the transport. A transport may count on being polled after
    /// each `dial`; dials of resolved addresses come from another task.
    poller: Option<Waker>,
}

impl<T> Transport<T> {
    /// Wraps `inner`, which has to know the addresses that names stand for.
    ///
    /// # Errors
    ///
    /// When the options can never work, see [`Resolver::new`].
    pub fn new(inner: T, options: Options) -> Result<Self, Error> {
        Ok(Self::with_resolver(inner, Resolver::new(options)?))
    }

    /// As [`Transport::new`], with a resolver that others use too.
    pub fn with_resolver(inner: T, resolver: Resolver) -> Self {
        let inner = Inner {
            transport: inner,
            filter: DialFilter::default(),
            poller: None,
        };
        Transport {
            inner: Arc::new(Mutex::new(inner)),
            resolver,
        }
    }

    /// Asks `filter` before each dial, of names and of addresses.
    #[must_use]
    pub fn with_dial_filter(self, filter: DialFilter) -> Self {
        lock(&self.inner).filter = filter;
        self
    }

    /// The resolver, which shares its cache with this transport's dials.
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }
}

fn with_inner<T, R>(inner: &Mutex<Inner<T>>, f: impl FnOnce(&mut T) -> R) -> R {
    f(&mut lock(inner).transport)
}

fn lock<T>(inner: &Mutex<Inner<T>>) -> MutexGuard<'_, Inner<T>> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> libp2p::core::Transport for Transport<T>
where
    T: libp2p::core::Transport + Send + Unpin + 'static,
    T::Error: Send + 'static,
    T::Dial: Send + 'static,
    T::Output: Send + 'static,
{
    type Output = T::Output;
    type Error = DialError<T::Error>;
    type ListenerUpgrade = futures::future::MapErr<T::ListenerUpgrade, fn(T::Error) -> Self::Error>;
    type Dial = BoxFuture<'static, Result<T::Output, Self::Error>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        addr: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        with_inner(&self.inner, |t| t.listen_on(id, addr)).map_err(|e| e.map(DialError::Inner))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        with_inner(&self.inner, |t| t.remove_listener(id))
    }

    fn dial(
        &mut self,
        addr: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        if !address::has_name(&addr) {
            let allowed = lock(&self.inner).filter.ask(&addr, None);
            if let Err(reason) = allowed {
                let address = addr;
                return Err(TransportError::Other(DialError::Forbidden {
                    address,
                    reason,
                }));
            }
            return match with_inner(&self.inner, |t| t.dial(addr, opts)) {
                Ok(dial) => Ok(dial.map_err(DialError::Inner).boxed()),
                Err(e) => Err(e.map(DialError::Inner)),
            };
        }
        let inner = Arc::clone(&self.inner);
        let resolver = self.resolver.clone();
        Ok(async move {
            let found = resolver.resolve(&addr).await.map_err(DialError::Resolve)?;
            log::debug!(address:% = addr, found = found.len(); "resolved");
            race(&inner, addr, found, opts, resolver.options()).await
        }
        .boxed())
    }

    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let mut inner = lock(&self.inner);
        inner.poller = Some(cx.waker().clone());
        Pin::new(&mut inner.transport).poll(cx).map(|event| {
            event
                .map_upgrade(|upgrade| upgrade.map_err(DialError::Inner as fn(_) -> _))
                .map_err(DialError::Inner)
        })
    }
}

/// Dials `found` in order, each with a head start over the next.
async fn race<T>(
    inner: &Mutex<Inner<T>>,
    address: Multiaddr,
    found: Vec<Multiaddr>,
    opts: DialOpts,
    options: &Options,
) -> Result<T::Output, DialError<T::Error>>
where
    T: libp2p::core::Transport,
{
    let name = address::Named::first(&address).map_or_else(String::new, |named| named.name);
    let mut waiting = found.into_iter();
    let mut running = FuturesUnordered::new();
    let mut attempts = Vec::new();
    let mut dials = 0;
    loop {
        // Start the next address that the inner transport knows how to dial.
        let mut more = false;
        while dials < MAX_DIALS
            && let Some(next) = waiting.next()
        {
            let allowed = lock(inner).filter.ask(&next, Some(&name));
            if let Err(reason) = allowed {
                attempts.push(Attempt {
                    address: next,
                    failure: Failure::Forbidden(reason),
                });
                continue;
            }
            match with_inner(inner, |t| t.dial(next.clone(), opts)) {
                Ok(dial) => {
                    dials += 1;
                    more = dials < MAX_DIALS && waiting.len() > 0;
                    running.push(dial.map(|result| (next, result)));
                    if let Some(poller) = lock(inner).poller.take() {
                        poller.wake();
                    }
                    break;
                }
                Err(TransportError::MultiaddrNotSupported(address)) => {
                    attempts.push(Attempt {
                        address,
                        failure: Failure::Unsupported,
                    });
                }
                Err(TransportError::Other(error)) => {
                    attempts.push(Attempt {
                        address: next,
                        failure: Failure::Dial(error),
                    });
                }
            }
        }
        // Waits until a dial ends or, while other addresses wait, for the head start.
        let ended = if more {
            match select(running.next(), Timer::after(options.head_start)).await {
                Either::Left((ended, _)) => ended,
                Either::Right(_) => continue,
            }
        } else {
            running.next().await
        };
        match ended {
            Some((_, Ok(output))) => return Ok(output),
            Some((address, Err(error))) => attempts.push(Attempt {
                address,
                failure: Failure::Dial(error),
            }),
            None => return Err(DialError::Unreachable { address, attempts }),
        }
    }
}
