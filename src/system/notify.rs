//! Messages to the service manager: ready, stopping, the state in one line, and that the
//! event loop makes progress (sd_notify(3)).
//!
//! The crate `sd-notify` writes the messages and reads the environment. The socket is this
//! program's own: `sd-notify` opens one for each message and waits until the manager takes
//! it, and the event loop must not wait.

use std::env;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use sd_notify::NotifyState;

/// How long the sender of an important message waits for a manager whose queue is full.
const PATIENCE: Duration = Duration::from_secs(2);

/// A channel for messages to the service manager. If there is none (`NOTIFY_SOCKET` is
/// not set), nothing is sent and nothing fails. Clones share the socket.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    socket: Option<Arc<UnixDatagram>>,
}

impl Notifier {
    /// Returns a channel to the socket that `NOTIFY_SOCKET` names: a path, or `@` and an
    /// abstract name.
    pub fn from_environment() -> Notifier {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|n| !n.is_empty()) else {
            return Notifier::default();
        };
        match connect(name.as_bytes()) {
            Ok(socket) => Notifier {
                socket: Some(Arc::new(socket)),
            },
            Err(e) => {
                // The log is not open yet. Journald and terminals can read this too.
                eprintln!("p2p-node: cannot reach the service manager at {name:?}: {e}");
                Notifier::default()
            }
        }
    }

    /// Returns whether there is a service manager.
    pub fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    /// Reports that the service is ready.
    pub fn ready(&self, status: &str) {
        self.must(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Reports that the service reads its configuration again. Call [`Self::ready`] at
    /// the end.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.must(&[NotifyState::Reloading, now]),
            Err(_) => self.must(&[NotifyState::Reloading]),
        }
    }

    /// Reports that the service stops, which takes at most `at_most`. The manager does
    /// not kill it before that.
    pub fn stopping(&self, at_most: Duration) {
        self.must(&[
            NotifyState::Stopping,
            NotifyState::Status("draining"),
            extension(at_most),
        ]);
    }

    /// Reports that the start or stop that is under way takes at most `from_now` longer.
    pub fn extend(&self, from_now: Duration) {
        self.may(&[extension(from_now)]);
    }

    /// Reports the state of the service in one line, as `systemctl status` shows it.
    pub fn status(&self, line: &str) {
        self.may(&[NotifyState::Status(line)]);
    }

    /// Reports that the event loop makes progress. Only [`super::watchdog::Watchdog`]
    /// does so.
    pub(super) fn watchdog(&self) {
        self.may(&[NotifyState::Watchdog]);
    }

    /// Lets the manager keep a socket over restarts of this process, under a name
    /// ([`super::sockets`]). With `FDPOLL=0`, the manager does not throw away a UDP
    /// socket because of an error that somebody's ICMP message caused on it.
    pub fn store(&self, name: &str, socket: BorrowedFd<'_>) -> io::Result<()> {
        let text = message(&[
            NotifyState::Custom("FDSTORE=1"),
            NotifyState::Custom("FDPOLL=0"),
            NotifyState::Custom(&format!("FDNAME={name}")),
        ]);
        self.send_within(PATIENCE, text.as_bytes(), &[socket])
    }

    /// Lets the manager forget what it keeps under a name.
    pub fn forget(&self, name: &str) {
        self.must(&[
            NotifyState::Custom("FDSTOREREMOVE=1"),
            NotifyState::Custom(&format!("FDNAME={name}")),
        ]);
    }

    /// Waits, at most two seconds, until the manager has acted on all messages so far.
    /// Returns whether it has.
    pub fn barrier(&self) -> bool {
        if self.socket.is_none() {
            return true;
        }
        let Ok((ours, theirs)) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC) else {
            return false;
        };
        let sent = self.send_within(PATIENCE, b"BARRIER=1\n", &[theirs.as_fd()]);
        drop(theirs);
        // The manager closes its copy when it reaches this message.
        sent.is_ok() && wait_for(&ours, PollFlags::POLLHUP, PATIENCE)
    }

    /// Sends a message, and waits a little if the manager is busy. A failure is logged.
    fn must(&self, states: &[NotifyState<'_>]) {
        if let Err(e) = self.send_within(PATIENCE, message(states).as_bytes(), &[]) {
            log::warn!(error:% = e; "cannot tell the service manager; it may take this service for one that hangs");
        }
    }

    /// Sends a message unless that would mean waiting: a later message has the same
    /// content.
    fn may(&self, states: &[NotifyState<'_>]) {
        if let Err(e) = self.send(message(states).as_bytes(), &[]) {
            log::debug!(error:% = e; "cannot tell the service manager");
        }
    }

    fn send_within(
        &self,
        patience: Duration,
        text: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            match (self.send(text, fds), &self.socket) {
                (Err(e), Some(socket)) if e.kind() == io::ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() || !wait_for(socket, PollFlags::POLLOUT, left) {
                        return Err(e);
                    }
                }
                (result, _) => return result,
            }
        }
    }

    fn send(&self, text: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let rights: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        sendmsg::<()>(
            socket.as_raw_fd(),
            &[IoSlice::new(text)],
            rights,
            flags,
            None,
        )?;
        Ok(())
    }
}

fn connect(name: &[u8]) -> io::Result<UnixDatagram> {
    let address = match name.split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(std::path::Path::new(std::ffi::OsStr::from_bytes(name)))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn message(states: &[NotifyState<'_>]) -> String {
    states.iter().map(|state| format!("{state}\n")).collect()
}

/// sd-notify accepts 71 minutes at most. The longest time that is asked for is
/// `P2P_DRAIN_TIMEOUT`, ten minutes at most, and some seconds.
fn extension(by: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(by.as_micros().try_into().unwrap_or(u32::MAX))
}

/// Waits for `what` on a descriptor. Returns whether it happened in time.
fn wait_for(fd: &impl AsFd, what: PollFlags, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(fd.as_fd(), what)], timeout) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}
