//! The metrics port. It serves `/metrics`, `/health/live`, `/health/ready`, and a page
//! for people at `/`.
//!
//! A server of four fixed pages needs no HTTP framework. `httparse` parses the head of a
//! request, no part of a request gets into an answer, and every answer closes its
//! connection. The resources that clients can use are bounded: there are at most
//! [`MAX_CONNECTIONS`] at once, each of them may send [`MAX_HEAD`] bytes and no body, and
//! each has [`TIMEOUT`] to send the head of its request and as long again to take the
//! answer. When all places are taken, a newcomer gets the place of a slow client at once
//! (`places`). One task serves all of them, so that a flood of requests does not take any
//! threads from the node.

pub(crate) mod answer;
mod health;
mod page;
mod places;
pub(crate) mod request;

pub use health::{NodeProbe, Probe, Readiness};

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_std::net::{TcpListener, TcpStream};
use futures::{
    AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt,
    future::{AbortHandle, Abortable, Aborted, Either, select},
    stream::FuturesUnordered,
};
use futures_timer::Delay;
use socket2::{Domain, Socket, Type};

use crate::system::rlimits;
use crate::system::sockets::{Binding, Sockets};
use crate::telemetry::throttle::Throttle;
use crate::web::{last_hour::LastHour, metrics::Metrics};
use answer::Answer;
use places::{Places, Stage};
use request::Head;

/// The maximum number of connections that are served at once. Prometheus, a container's
/// health check and a few people need only a handful. The rest is for slow clients, since a
/// request that is under way keeps its place until so many others have come: at 1,000
/// newcomers a second, a quarter of a second. A place takes about 10 KiB.
pub const MAX_CONNECTIONS: usize = 256;

/// The share of the file descriptors that this process may open which the metrics port may
/// take: one in so many. Peers and the block store need the others.
const SHARE_OF_DESCRIPTORS: u64 = 16;

/// The maximum number of clients that have asked and do not take the answer. An answer may
/// have 100 KiB, of which the buffers of the socket take most, so these hold some MiB.
const MAX_ANSWERS: usize = 64;

/// The number of clients that the kernel queues until the server accepts them, which it does
/// at once. The kernel lowers it to `net.core.somaxconn`, 4,096 by default. If the queue is
/// full, a client sends its first packet again only after a second.
const BACKLOG: i32 = 4096;

/// How many clients are accepted before other tasks have a turn. Accepting one takes some
/// tens of microseconds, and clients may come faster than that.
const ACCEPTS: u32 = 32;

/// The longest head of a request, which is the usual limit of servers. Prometheus sends
/// some 300 bytes.
pub const MAX_HEAD: usize = 8 * 1024;

/// How long a client may take to send its request, and again to take the answer. The
/// answer fits into the socket buffers of any client that reads at all.
pub const TIMEOUT: Duration = Duration::from_secs(5);

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
                let listener = listen(addr).map_err(sort)?;
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
        let places = Arc::new(Mutex::new(Places::new(most_connections(), MAX_ANSWERS)));
        let mut throttle = Throttle::default();
        let accepting = async {
            let mut accepts = 0_u32;
            loop {
                let accepted = {
                    let accept = pin!(self.listener.accept());
                    // Clients that are here already come first, or a flood of newcomers
                    // would keep them from being served at all.
                    match select(pin!(next_done(&mut serving)), accept).await {
                        Either::Left((Ok(id), _)) => {
                            lock(&places).leave(id);
                            continue;
                        }
                        // It was ended for a newcomer, and its place is gone already.
                        Either::Left((Err(Aborted), _)) => continue,
                        Either::Right((accepted, _)) => accepted,
                    }
                };
                match accepted {
                    Ok((stream, address)) => {
                        let (handle, registration) = AbortHandle::new_pair();
                        let id = lock(&places).enter(address.ip(), handle);
                        let work = serve(stream, self.context.clone(), id, places.clone());
                        serving.push(Abortable::new(work.map(move |()| id), registration));
                    }
                    Err(error) => {
                        if let Some(kept_back) = throttle.allow("accept", Instant::now()) {
                            log::warn!(error:% = error, kept_back; "cannot accept a client of the metrics port");
                        }
                        // The process has probably run out of descriptors, so that trying
                        // again at once would use the processor for nothing.
                        Delay::new(Duration::from_millis(100)).await;
                    }
                }
                accepts = accepts.wrapping_add(1);
                if accepts.is_multiple_of(ACCEPTS) {
                    async_std::task::yield_now().await;
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

/// Listens at `addr`, as `std::net::TcpListener` does, with a longer queue.
fn listen(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Returns how many connections may be served at once.
fn most_connections() -> usize {
    match rlimits::descriptors() {
        Ok(descriptors) => usize::try_from(descriptors / SHARE_OF_DESCRIPTORS)
            .map_or(MAX_CONNECTIONS, |share| share.min(MAX_CONNECTIONS)),
        Err(_) => MAX_CONNECTIONS,
    }
}

fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    // Nothing panics while the lock is held.
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the next client is served. Never ends while there is none.
async fn next_done<F: Future>(serving: &mut FuturesUnordered<F>) -> F::Output {
    match serving.next().await {
        Some(done) => done,
        None => std::future::pending().await,
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
async fn serve(mut stream: TcpStream, context: Context, id: u64, places: Arc<Mutex<Places>>) {
    let reach = |stage| lock(&places).reach(id, stage);
    let answer = match within(TIMEOUT, read_head(&mut stream)).await {
        Some(Ok(head)) => context.answer(head, Instant::now()),
        Some(Err(Some(answer))) => answer,
        // The client left before it sent a request.
        Some(Err(None)) => return,
        None => Answer::timeout(),
    };
    reach(Stage::Answering);
    let sent = within(TIMEOUT, async {
        stream.write_all(&answer.to_bytes()).await?;
        stream.flush().await?;
        stream.close().await
    })
    .await;
    if let Some(Ok(())) = sent {
        reach(Stage::Answered);
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
