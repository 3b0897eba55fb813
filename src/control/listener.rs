//! The socket on which the daemon listens: its mode, its file, and the sockets that an
//! earlier daemon or the service manager has left.

use std::collections::VecDeque;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_io::Async;
use async_std::task::spawn_blocking;
use futures::future::{pending, select};
use nix::sys::socket::UnixAddr;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::system::sockets::{Binding, Sockets};

/// The owner and the group may use the socket. Everybody who may use it can do everything
/// that the node can.
const MODE: u32 = 0o660;

/// The name of the socket in the service manager's store.
const PURPOSE: &str = "control";

/// The number of connections that the kernel queues until the server accepts them, which
/// it does at once. If the queue is full, a program cannot connect at all. The kernel lowers
/// it to `net.core.somaxconn`, 4,096 by default.
const BACKLOG: i32 = 4096;

/// How long the start of a daemon waits for another daemon that opens its socket in the
/// same folder, which takes less than a millisecond. Any user can hold the lock of a
/// folder such as /tmp, and no signal is handled during this wait.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// How often the queue of an inherited socket is emptied to make room for the probe.
/// Clients that connect at the same time can take the room first.
const ADOPT_ROUNDS: usize = 8;

/// How often the lock is tried during that wait.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// Why the control socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another daemon answers there.
    #[error(
        "a daemon is already running at the control socket {0}; stop it, or give this one its own \
         with P2P_CONTROL_SOCKET"
    )]
    Taken(PathBuf),
    /// Something that is no socket is in the way.
    #[error("{0} is in the way of the control socket and is no socket; remove it yourself")]
    NotASocket(PathBuf),
    /// Another process holds the lock of the socket's folder.
    #[error(
        "cannot open the control socket {path}: another process keeps the folder {folder} locked; \
         end that process, or move the socket to a folder of your own with P2P_CONTROL_SOCKET"
    )]
    Locked {
        /// The path of the socket.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// The system refused.
    #[error("cannot open the control socket {path}: {cause} (P2P_CONTROL_SOCKET moves it)")]
    Io {
        /// The path.
        path: PathBuf,
        /// The error of the system.
        cause: io::Error,
    },
}

/// The daemon's listening socket. Its file is removed when this is dropped, unless
/// another daemon has replaced the file in the meantime.
#[derive(Debug)]
pub(super) struct ControlListener {
    listener: Async<UnixListener>,
    /// The socket before this one, when its file was lost and a new one was created: it may
    /// still be reached by another name. Only one is kept, or each loss would cost a
    /// descriptor.
    former: Option<Async<UnixListener>>,
    path: PathBuf,
    sockets: Sockets,
    /// Whether the result of the last check has been logged.
    told: bool,
    /// The device and inode of this socket's file.
    file: (u64, u64),
    /// Whether the service manager keeps the socket; if so, its file stays when this ends.
    kept: bool,
    /// Clients that were in the queue of an inherited socket when it was probed.
    early: Mutex<VecDeque<UnixStream>>,
}

impl ControlListener {
    /// Listens at `path`, replacing the socket file of a daemon that has ended. The socket
    /// that `sockets` has for the path is used if the path leads to it.
    pub(super) fn bind(path: &Path, sockets: &Sockets) -> Result<Self, BindError> {
        Self::bind_within(path, sockets, LOCK_PATIENCE)
    }

    fn bind_within(path: &Path, sockets: &Sockets, patience: Duration) -> Result<Self, BindError> {
        let io = |cause| BindError::Io {
            path: path.to_path_buf(),
            cause,
        };
        // Two daemons that start at the same time would both find the dead socket, and
        // the later one would remove the socket of the earlier one. A lock on the folder,
        // which is held only for these few lines, makes them do this one after the other.
        let folder = folder_of(path);
        let _locked = lock(folder, patience)
            .map_err(io)?
            .ok_or_else(|| BindError::Locked {
                path: path.to_path_buf(),
                folder: folder.to_path_buf(),
            })?;
        if let Some(inherited) = sockets.take_unix(path) {
            match adopt(path, inherited) {
                Ok((listener, early)) => {
                    let ours = fs::symlink_metadata(path).map_err(io)?;
                    return Ok(ControlListener {
                        listener: Async::new(listener).map_err(io)?,
                        former: None,
                        path: path.to_path_buf(),
                        sockets: sockets.clone(),
                        told: false,
                        file: (ours.dev(), ours.ino()),
                        kept: true,
                        early: Mutex::new(early),
                    });
                }
                Err(e) => {
                    log::info!(path:% = path.display(), error:% = e; "the inherited control socket cannot be reached by its path any more; opening a new one");
                }
            }
        }
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(BindError::NotASocket(path.to_path_buf()));
            }
            Ok(_) => match probe(path) {
                // Any answer but "nobody listens" comes from a running daemon, which may
                // be too busy or may belong to another user.
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                    fs::remove_file(path).map_err(io)?;
                    log::debug!(path:% = path.display(); "replaced the control socket of a daemon that is no more");
                }
                _ => return Err(BindError::Taken(path.to_path_buf())),
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io(e)),
        }
        let opened = Opened::at(path).map_err(io)?;
        let kept = sockets.keep(
            PURPOSE,
            &Binding::Unix(path.into()),
            opened.listener.as_fd(),
        );
        Ok(ControlListener {
            listener: Async::new(opened.listener).map_err(io)?,
            former: None,
            path: path.to_path_buf(),
            sockets: sockets.clone(),
            told: false,
            file: opened.file,
            kept,
            early: Mutex::default(),
        })
    }

    /// Checks whether the path still leads here. When the file is gone, nobody could reach
    /// this daemon any more, so a new socket is opened. A file that another process has put
    /// there is left alone. Each change is logged once.
    pub(super) async fn tend(&mut self) {
        let (path, file, sockets) = (self.path.clone(), self.file, self.sockets.clone());
        // If the disk hangs, only new clients have to wait.
        let found = spawn_blocking(move || Found::look(&path, file, &sockets)).await;
        let opened = match found {
            Ok(Found::Ours) => {
                self.told = false;
                return;
            }
            Ok(Found::Busy) => return,
            Ok(Found::Foreign) => {
                if !std::mem::replace(&mut self.told, true) {
                    log::warn!(path:% = self.path.display(); "another process has put its own file in the place of the control socket; it is left there, and commands do not reach this daemon: remove it, and a new socket is opened");
                }
                return;
            }
            Ok(Found::Opened(opened, kept)) => {
                let file = opened.file;
                Async::new(opened.listener).map(|listener| (listener, file, kept))
            }
            Err(e) => Err(e),
        };
        match opened {
            Ok((listener, file, kept)) => {
                self.former = Some(std::mem::replace(&mut self.listener, listener));
                (self.file, self.kept, self.told) = (file, kept, false);
                log::warn!(path:% = self.path.display(); "the file of the control socket was gone; opened a new one");
            }
            Err(e) => {
                if !std::mem::replace(&mut self.told, true) {
                    log::warn!(path:% = self.path.display(), error:% = e; "the file of the control socket is gone and cannot be made again; commands do not reach this daemon, and it is tried again");
                }
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn accept(&self) -> io::Result<Async<UnixStream>> {
        let early = lock_early(&self.early).pop_front();
        if let Some(stream) = early {
            return Async::new(stream);
        }
        let former = async {
            match &self.former {
                Some(former) => former.accept().await,
                None => pending().await,
            }
        };
        let (current, former) = (pin!(self.listener.accept()), pin!(former));
        let (accepted, _) = select(current, former).await.factor_first();
        Ok(accepted?.0)
    }
}

/// A socket that has just been opened.
struct Opened {
    listener: UnixListener,
    /// The device and inode of its file.
    file: (u64, u64),
}

impl Opened {
    /// Listens at a path at which there is no file.
    fn at(path: &Path) -> io::Result<Opened> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // The mode of the socket, reduced by the umask, becomes the mode of the file, so
        // that the file is never more accessible than MODE. chmod then makes the mode
        // exact before `listen`, without which no one can connect.
        nix::sys::stat::fchmod(&socket, nix::sys::stat::Mode::from_bits_truncate(MODE))?;
        socket.bind(&SockAddr::unix(path)?)?;
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
        socket.listen(BACKLOG)?;
        let ours = fs::symlink_metadata(path)?;
        Ok(Opened {
            listener: socket.into(),
            file: (ours.dev(), ours.ino()),
        })
    }
}

/// What was found at the path of a socket that is in use.
enum Found {
    /// The socket's own file.
    Ours,
    /// Another file.
    Foreign,
    /// No file, while another process holds the lock of the folder.
    Busy,
    /// There was no file, so a new socket has been opened. The flag says whether the
    /// service manager keeps it.
    Opened(Opened, bool),
}

impl Found {
    fn look(path: &Path, file: (u64, u64), sockets: &Sockets) -> io::Result<Found> {
        let at = || match fs::symlink_metadata(path) {
            Ok(found) if (found.dev(), found.ino()) == file => Ok(Some(Found::Ours)),
            Ok(_) => Ok(Some(Found::Foreign)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        };
        if let Some(found) = at()? {
            return Ok(found);
        }
        let Some(_locked) = lock(folder_of(path), Duration::ZERO)? else {
            return Ok(Found::Busy);
        };
        if let Some(found) = at()? {
            return Ok(found);
        }
        let opened = Opened::at(path)?;
        let binding = Binding::Unix(path.into());
        let kept = sockets.keep_instead(PURPOSE, &binding, opened.listener.as_fd());
        Ok(Found::Opened(opened, kept))
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

impl Drop for ControlListener {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Ok(found) = fs::symlink_metadata(&self.path)
            && (found.dev(), found.ino()) == self.file
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A queue of sockets is valid even if a thread panicked while it held the lock.
fn lock_early(early: &Mutex<VecDeque<UnixStream>>) -> MutexGuard<'_, VecDeque<UnixStream>> {
    early.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checks that a connection to `path` reaches `listener`, by making one: the file may have
/// been removed or replaced by another daemon's. Returns the listener and the clients that
/// were in its queue.
fn adopt(path: &Path, listener: UnixListener) -> io::Result<(UnixListener, VecDeque<UnixStream>)> {
    let mut early = VecDeque::new();
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    // The probe is bound to a name that the kernel chooses, by which it is recognised
    // when it is accepted.
    nix::sys::socket::bind(probe.as_raw_fd(), &UnixAddr::new_unnamed())?;
    let ours = probe.local_addr()?;
    let own = |address: &SocketAddr| {
        address.as_abstract_name().is_some()
            && address.as_abstract_name() == ours.as_abstract_namespace()
    };
    // Each round makes room in a backlog that may be full.
    let mut connected = false;
    for _ in 0..ADOPT_ROUNDS {
        if !connected {
            match probe.connect(&SockAddr::unix(path)?) {
                Ok(()) => connected = true,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
        loop {
            match listener.accept() {
                Ok((_, address)) if own(&address) => {
                    return Ok((listener, early));
                }
                Ok((stream, _)) => early.push_back(stream),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        if connected {
            break;
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        "another socket listens there",
    ))
}

/// Locks a folder until the returned file is dropped. Returns `None` when another process
/// holds the lock for the whole `patience`.
fn lock(folder: &Path, patience: Duration) -> io::Result<Option<File>> {
    let file = File::open(folder)?;
    let deadline = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(e)) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
            Err(_) if Instant::now() >= deadline => return Ok(None),
            Err(_) => std::thread::sleep(LOCK_RETRY),
        }
    }
}

/// Tries to connect, without waiting when the daemon's queue is full.
fn probe(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

#[cfg(test)]
mod tests;
