//! The metrics port. It serves `/metrics`, `/health/live`, `/health/ready`, and a page
//! for people at `/`.
//!
//! A server of four fixed pages needs no HTTP framework. `httparse` parses the head of a
//! request, no part of a request gets into an answer, and every answer closes its
//! connection. The resources that clients can use are bounded: there are at most
//! [`MAX_CONNECTIONS`] at once, each of them may send [`MAX_HEAD`] bytes and no body, and
//! each has [`TIMEOUT`] to send the head of its request and as long again to take the
//! answer. One task serves all of them, so that a flood of requests does not take any
//! threads from the node.

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

/// The maximum number of connections that are served at once. Further ones wait in the
/// backlog. Prometheus, a container's health check and a few people need only a handful.
pub const MAX_CONNECTIONS: usize = 64;

/// The longest head of a request, which is the usual limit of servers. Prometheus sends
/// some 300 bytes.
pub const MAX_HEAD: usize = 8 * 1024;

/// How long a client may take to send its request, and again to take the answer. The
/// answer fits into the socket buffers of any client that reads at all.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// How long new clients wait for a free place when all places are taken. After that the
/// oldest connection is closed. An honest client is done within milliseconds, so that the
/// oldest connection only occupies its place.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long the last answers may take when the daemon stops. A client that sends its
/// request in one piece has its answer within milliseconds.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How many bytes that a client sends after its answer are still read, and for how long.
/// If the connection were closed with unread input, it would be reset, and the client
/// could lose the answer.
const LINGER_BYTES: usize = 64 * 1024;
const LINGER: Duration = Duration::from_millis(500);

/// An error of the metrics port.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The port is in use.
    #[error(
        "cannot serve metrics on {addr}: the port is taken{}; stop its owner or set P2P_METRICS_PORT to a free port",
        owner(addr)
    )]
    Taken {
        /// The address of the metrics port.
        addr: SocketAddr,
    },
    /// It is not possible to listen on the address.
    #[error(
        "cannot serve metrics on {addr}: {source}; check P2P_METRICS_HOST and P2P_METRICS_PORT"
    )]
    Bind {
        /// The address of the metrics port.
        addr: SocketAddr,
        /// The cause.
        source: io::Error,
    },
}

/// Returns which program probably uses the port, judging by its number.
fn owner(addr: &SocketAddr) -> &'static str {
    match addr.port() {
        9100 => {
            ", probably by Prometheus' node_exporter, whose default it is, or by another p2p-node"
        }
        9090 => ", probably by Prometheus itself",
        _ => "",
    }
}

/// The metrics port, which is bound but not served yet.
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
    /// Binds the port (`P2P_METRICS_HOST`, `P2P_METRICS_PORT`; 0 takes any free port). If
    /// `sockets` has a socket for it, that one is used instead.
    ///
    /// # Errors
    /// Returns [`Error::Taken`] or [`Error::Bind`].
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

    /// Returns the address at which it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `stop` ends. Then it finishes the answers to the clients that are
    /// being served, within a limited time, and leaves those that are still waiting to
    /// the next process, if there is one.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut serving = FuturesUnordered::new();
        // The oldest connection comes first. The entries of finished connections stay
        // until they reach the front or are removed.
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
                        // The process has probably run out of descriptors, so that trying
                        // again at once would use the processor for nothing.
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

/// Returns `None` when `work` takes longer than `limit`.
async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    match select(std::pin::pin!(work), Delay::new(limit)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}

/// Reads one request and answers it. Nothing is reported when the client closes the
/// connection.
async fn serve(mut stream: TcpStream, context: Context) {
    let answer = match within(TIMEOUT, read_head(&mut stream)).await {
        Some(Ok(head)) => context.answer(head, Instant::now()),
        Some(Err(Some(answer))) => answer,
        // The client left before it sent a request.
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

/// Reads up to the end of the head. The result is `Err(None)` when the client has left,
/// and `Err(Some(_))` with the answer when the request is refused.
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
