//! The metrics port: `/metrics`, `/health/live`, `/health/ready`, and `/` for
//! people.
//!
//! A server of four fixed pages needs no HTTP framework. `httparse` parses the head of a
//! request, nothing of a request gets into an answer, and every answer closes its
//! connection. What clients can use up is bounded: at most
//! [`MAX_CONNECTIONS`] at once, [`MAX_HEAD`] bytes and [`TIMEOUT`] for the head
//! of its request, as long again to take the answer, no body. One task serves
//! all of them, so that a flood here costs the node no threads.

pub(crate) mod answer;
mod health;
mod page;
pub(crate) mod request;

pub use health::{NodeProbe, Probe, Readiness};

use std::{
    collections::VecDeque,
    io,
    net::{self, IpAddr, SocketAddr},
    os::fd::AsFd,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use async_std::net::{TcpListener, TcpStream};
use futures::{
    AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt,
    future::{AbortHandle, Abortable, Either, select},
    stream::FuturesUnordered,
};
use futures_timer::Delay;

use crate::system::sockets::{Binding, Sockets};
use crate::telemetry::throttle::Throttle;
use crate::web::{last_hour::LastHour, metrics::Metrics};
use answer::Answer;
use request::Head;

/// Connections that are served at once; further ones wait in the backlog. Prometheus, a
/// container's health check and a few people need no more than a handful.
pub const MAX_CONNECTIONS: usize = 64;

/// The longest head of a request, as other servers have it. Prometheus sends
/// some 300 bytes.
pub const MAX_HEAD: usize = 8 * 1024;

/// Time for a client to send its request, and again to take the answer. The
/// answer fits the socket buffers of any client that reads at all.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// When all places are taken, new clients wait this long for one to come free;
/// then the oldest connection is closed. An honest client is done in milliseconds, so the
/// oldest connection is one that only occupies its place.
const PATIENCE: Duration = Duration::from_millis(250);

/// Time for the last answers when the daemon stops. A client that sends its
/// request in one piece has its answer in milliseconds.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How many bytes are read, and for how long, of what a client still sends after its
/// answer. Closing a connection with unread input would reset it, and the client could
/// lose the answer.
const LINGER_BYTES: usize = 64 * 1024;
const LINGER: Duration = Duration::from_millis(500);

/// An error of the metrics port.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The port is taken.
    #[error(
        "cannot serve metrics on {addr}: the port is taken{}; stop its owner or set P2P_METRICS_PORT to a free port",
        owner(addr)
    )]
    Taken {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error(
        "cannot serve metrics on {addr}: {source}; check P2P_METRICS_HOST and P2P_METRICS_PORT"
    )]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Which program probably has the port, as far as its number tells.
fn owner(addr: &SocketAddr) -> &'static str {
    match addr.port() {
        9100 => {
            ", probably by Prometheus' node_exporter, whose default it is, or by another p2p-node"
        }
        9090 => ", probably by Prometheus itself",
        _ => "",
    }
}

/// The metrics port, bound and not served yet.
#[derive(Debug)]
pub struct Http {
    listener: TcpListener,
    local_addr: SocketAddr,
    context: Context,
}

/// What the answers are made from.
#[derive(Clone)]
struct Context {
    probe: Arc<dyn Probe>,
    metrics: Arc<Metrics>,
    last_hour: Arc<LastHour>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

impl Http {
    /// Binds the port (`P2P_METRICS_HOST`, `P2P_METRICS_PORT`; 0 takes any), or takes the
    /// socket that `sockets` has for it.
    ///
    /// # Errors
    /// [`Error::Taken`] and [`Error::Bind`].
    pub async fn bind(
        host: IpAddr,
        port: u16,
        sockets: Sockets,
        probe: Arc<dyn Probe>,
        metrics: Arc<Metrics>,
        last_hour: Arc<LastHour>,
    ) -> Result<Self, Error> {
        let addr = SocketAddr::new(host, port);
        let sort = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => Error::Taken { addr },
            _ => Error::Bind { addr, source },
        };
        let listener: TcpListener = match sockets.take_tcp(addr) {
            Some(inherited) => inherited.into(),
            None => {
                let listener = net::TcpListener::bind(addr).map_err(sort)?;
                sockets.keep("http", &Binding::Tcp(addr), listener.as_fd());
                listener.into()
            }
        };
        let local_addr = listener.local_addr().map_err(sort)?;
        Ok(Http {
            listener,
            local_addr,
            context: Context {
                probe,
                metrics,
                last_hour,
            },
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `stop`. Then it answers the clients that are being served, in limited
    /// time, and leaves those that still wait to the next process, if there is one.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut serving = FuturesUnordered::new();
        // The oldest first; entries of finished connections stay until they
        // reach the front or the queue is cleaned.
        let mut places: VecDeque<(u64, AbortHandle)> = VecDeque::new();
        let mut next = 0u64;
        let mut throttle = Throttle::default();
        let accepting = async {
            loop {
                if serving.len() >= MAX_CONNECTIONS {
                    let freed = select(serving.next(), Delay::new(PATIENCE)).await;
                    match freed {
                        Either::Left((Some(Ok(id)), _)) => places.retain(|(other, _)| *other != id),
                        Either::Left(_) => {}
                        Either::Right(_) => {
                            if let Some((_, handle)) = places.pop_front() {
                                handle.abort();
                            }
                        }
                    }
                    continue;
                }
                let accepted = {
                    let accept = std::pin::pin!(self.listener.accept());
                    if serving.is_empty() {
                        Some(accept.await)
                    } else {
                        match select(accept, serving.next()).await {
                            Either::Left((accepted, _)) => Some(accepted),
                            Either::Right((done, _)) => {
                                if let Some(Ok(id)) = done {
                                    places.retain(|(other, _)| *other != id);
                                }
                                None
                            }
                        }
                    }
                };
                match accepted {
                    Some(Ok((stream, _))) => {
                        let (handle, registration) = AbortHandle::new_pair();
                        let id = next;
                        next += 1;
                        places.push_back((id, handle));
                        let context = self.context.clone();
                        serving.push(Abortable::new(
                            serve(stream, context).map(move |()| id),
                            registration,
                        ));
                    }
                    Some(Err(error)) => {
                        if let Some(kept_back) = throttle.allow("accept", Instant::now()) {
                            log::warn!(error:% = error, kept_back; "cannot accept a client of the metrics port");
                        }
                        // Most likely out of descriptors: trying again at once
                        // would spin.
                        Delay::new(Duration::from_millis(100)).await;
                    }
                    None => {}
                }
            }
        };
        select(pin!(accepting), pin!(stop)).await;
        drop(self.listener);
        let _ = within(LAST_ANSWERS, async {
            while serving.next().await.is_some() {}
        })
        .await;
    }
}

/// Resolves to `None` when `work` takes longer than `limit`.
async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    match select(std::pin::pin!(work), Delay::new(limit)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}

/// Reads one request and answers it. Nothing is reported when the client goes away.
async fn serve(mut stream: TcpStream, context: Context) {
    let answer = match within(TIMEOUT, read_head(&mut stream)).await {
        Some(Ok(head)) => context.answer(head, Instant::now()),
        Some(Err(Some(answer))) => answer,
        // Gone before it asked.
        Some(Err(None)) => return,
        None => Answer::timeout(),
    };
    let sent = within(TIMEOUT, async {
        stream.write_all(&answer.to_bytes()).await?;
        stream.flush().await?;
        stream.close().await
    })
    .await;
    if let Some(Ok(())) = sent {
        let _ = within(LINGER, drain(&mut stream)).await;
    }
}

async fn drain(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let mut left = LINGER_BYTES;
    while left > 0 {
        match stream.read(&mut buffer).await? {
            0 => break,
            n => left = left.saturating_sub(n),
        }
    }
    Ok(())
}

/// Reads up to the end of the head. `Err(None)` when the client went away,
/// `Err(Some(_))` with what to tell it.
async fn read_head(stream: &mut TcpStream) -> Result<Head, Option<Answer>> {
    let mut buffer = Vec::with_capacity(1024);
    let mut chunk = [0; 1024];
    loop {
        let n = stream.read(&mut chunk).await.map_err(|_| None)?;
        if n == 0 {
            return Err(None);
        }
        buffer.extend_from_slice(&chunk[..n]);
        match request::parse(&buffer) {
            Ok(Some(head)) => return Ok(head),
            Ok(None) if buffer.len() >= MAX_HEAD => return Err(Some(Answer::head_too_large())),
            Ok(None) => {}
            Err(answer) => return Err(Some(answer)),
        }
    }
}

impl Context {
    fn answer(&self, head: Head, now: Instant) -> Answer {
        let answer = match (head.method, head.page) {
            (_, None) => Answer::not_found(),
            (request::Method::Other, Some(_)) => Answer::method_not_allowed(),
            (_, Some(page)) => page::render(page, self, now),
        };
        if head.method == request::Method::Head {
            answer.without_body()
        } else {
            answer
        }
    }
}

#[cfg(test)]
mod tests;
