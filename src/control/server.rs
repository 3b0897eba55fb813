//! The daemon's end of the control socket. It accepts a limited number of clients, runs
//! one task for each, and ends all of them when the daemon stops.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_io::{Async, Timer};
use async_lock::Semaphore;
use async_std::channel::{Receiver, Sender, bounded};
use async_std::future::timeout;
use futures::future::{AbortHandle, Abortable};
use futures::{FutureExt, StreamExt};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::geteuid;

use super::Backend;
use super::clients::{Clients, Entry, User};
pub use super::clients::{MAX_CLIENTS, MAX_CLIENTS_OF_A_USER};
use super::codec::Channel;
use super::connmgr::Tags;
use super::content::MAX_TRANSFERS;
pub use super::listener::BindError;
use super::listener::ControlListener;
use super::requests::Requests;
use super::session::Session;
use super::streams::Handlers;
use crate::control::Metrics;
use crate::system::sockets::Sockets;
use crate::telemetry::coop;

/// How long the server waits before it accepts again when the system has no descriptors
/// left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often the server checks whether the path still leads to its socket.
const TEND_EVERY: Duration = Duration::from_secs(10);

/// How long a client that has just been accepted has to send its request when the daemon
/// stops. The request usually comes in the same millisecond, but on a busy machine the
/// client may have to wait for the processor in between.
const NEWCOMER: Duration = Duration::from_millis(500);

/// How long requests that have arrived then have for their answers. A subscription has no
/// end and is cut off.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// What all clients share.
pub(super) struct Shared {
    pub(super) node: Backend,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tags: Tags,
    pub(super) handlers: Handlers,
    /// Requests that are too large for every client to send one at the same time.
    pub(super) requests: Requests,
    /// Places for uploads and downloads.
    pub(super) transfers: Arc<Semaphore>,
    /// Set while the daemon stops: transfers that are under way go on, and no new one begins.
    pub(super) draining: Arc<AtomicBool>,
}

/// The control socket, which is bound but does not answer yet. A daemon binds it early,
/// so that a second daemon notices the first one before it touches anything else.
#[derive(Debug)]
pub struct Server {
    listener: ControlListener,
}

impl Server {
    /// Binds the socket at `path` with mode 0660. The socket file of a daemon that has
    /// ended is replaced. If `sockets` has a socket for the path, it is used instead.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(path: impl AsRef<Path>, sockets: &Sockets) -> Result<Self, BindError> {
        Ok(Server {
            listener: ControlListener::bind(path.as_ref(), sockets)?,
        })
    }

    /// Returns the path of the socket.
    pub fn path(&self) -> &Path {
        self.listener.path()
    }

    /// Starts to answer requests.
    pub fn serve(self, node: Backend, metrics: Arc<Metrics>) -> Running {
        let (stop_accepting, accept_stopped) = bounded::<()>(1);
        let (wind_down, winding_down) = bounded::<()>(1);
        let (stop_clients, clients_stopped) = bounded::<()>(1);
        let (alive, all_ended) = bounded::<()>(1);
        let shared = Arc::new(Shared {
            node,
            metrics,
            tags: Tags::default(),
            handlers: Handlers::new(clients_stopped.clone()),
            requests: Requests::default(),
            transfers: Arc::new(Semaphore::new(MAX_TRANSFERS)),
            draining: Arc::default(),
        });
        let draining = shared.draining.clone();
        let transfers = shared.transfers.clone();
        let accepting = accept(
            self.listener,
            shared,
            accept_stopped,
            (winding_down, clients_stopped),
            alive,
        );
        async_std::task::spawn(coop::watch("control socket", accepting));
        Running {
            stop_accepting,
            wind_down,
            stop_clients,
            all_ended,
            transfers,
            draining,
        }
    }
}

/// A control socket that answers. Dropping it stops it at once; [`Running::close`] lets
/// clients finish.
#[derive(Debug)]
pub struct Running {
    stop_accepting: Sender<()>,
    wind_down: Sender<()>,
    stop_clients: Sender<()>,
    all_ended: Receiver<()>,
    transfers: Arc<Semaphore>,
    draining: Arc<AtomicBool>,
}

impl Running {
    /// Lets uploads and downloads finish for up to `grace`, and answers other requests in
    /// the meantime (`status` says that the node drains). Then it accepts no further
    /// client, answers the requests that have been sent already, and ends all clients
    /// after a limited time.
    pub async fn close(self, grace: Duration) {
        self.draining.store(true, Ordering::Release);
        // When this holds every place, no transfer is under way.
        let _ = timeout(grace, async {
            let mut places = Vec::with_capacity(MAX_TRANSFERS);
            while places.len() < MAX_TRANSFERS {
                places.push(self.transfers.acquire().await);
            }
        })
        .await;
        self.stop_accepting.close();
        // Nothing is ever sent on this channel: receiving from `all_ended` fails when the
        // last task has dropped its sender. Clients without a request are ended after a
        // short time, and the others after another one.
        if timeout(NEWCOMER, self.all_ended.recv()).await.is_ok() {
            return;
        }
        self.wind_down.close();
        if timeout(LAST_ANSWERS, self.all_ended.recv()).await.is_ok() {
            return;
        }
        self.stop_clients.close();
        let _ = self.all_ended.recv().await;
    }
}

async fn accept(
    mut listener: ControlListener,
    shared: Arc<Shared>,
    accept_stopped: Receiver<()>,
    (winding_down, clients_stopped): (Receiver<()>, Receiver<()>),
    alive: Sender<()>,
) {
    let clients = Clients::default();
    let mut ticks = StreamExt::fuse(Timer::interval(TEND_EVERY));
    loop {
        let accepted = futures::select_biased! {
            _ = accept_stopped.recv().fuse() => return,
            _ = ticks.next() => {
                listener.tend().await;
                continue;
            }
            accepted = listener.accept().fuse() => accepted,
        };
        let io = match accepted {
            Ok(io) => io,
            Err(error) => {
                log::warn!(error:% = error; "cannot accept a client on the control socket");
                Timer::after(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (abort, registration) = AbortHandle::new_pair();
        let (place, entry) = clients.enter(user_of(&io), abort);
        if entry == Entry::Displaced {
            shared
                .metrics
                .control_clients_dropped
                .with_label_values(&["too_many"])
                .inc();
        }
        let session = Session::new(Channel::new(io), Arc::clone(&shared), place);
        let (stopped, alive) = (clients_stopped.clone(), alive.clone());
        let winding_down = winding_down.clone();
        async_std::task::spawn(coop::watch("control client", async move {
            let metrics = session.metrics();
            metrics.control_clients.inc();
            futures::select_biased! {
                _ = stopped.recv().fuse() => {}
                _ = Abortable::new(session.run(winding_down), registration).fuse() => {}
            }
            metrics.control_clients.dec();
            drop(alive);
        }));
    }
}

/// Returns who has connected. Nobody is privileged if the system does not tell.
fn user_of(io: &Async<UnixStream>) -> User {
    let uid = getsockopt(io, PeerCredentials).map(|credentials| credentials.uid());
    match uid {
        Ok(uid) => User {
            uid,
            privileged: uid == 0 || uid == geteuid().as_raw(),
        },
        Err(_) => User {
            uid: u32::MAX,
            privileged: false,
        },
    }
}
