//! Listening sockets that outlive this process.
//!
//! The service manager keeps a copy of each in its store (`FDSTORE=1`,
//! sd_pid_notify_with_fds(3)) and hands them to the next process
//! (sd_listen_fds(3)). No client is refused while the service restarts; clients wait in
//! the backlog of the kernel. Sockets of a `.socket` unit come the same way.
//!
//! A socket is identified by its own address, which `getsockname` tells, and not by its
//! name. Each address of the configuration takes the socket that fits. A socket that no
//! address asks for is closed and removed from the manager's store.

use std::fmt;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::{Domain, SockRef, Socket, Type};

use super::notify::Notifier;

/// The address that a socket is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Listens for TCP connections.
    Tcp(SocketAddr),
    /// Receives UDP datagrams.
    Udp(SocketAddr),
    /// Listens at the path of a file.
    Unix(PathBuf),
}

impl Binding {
    /// Returns what `socket` is bound to. Returns `None` for a socket that this program
    /// would not have made: one of another kind, one that does not listen, or one for
    /// both families of IP.
    fn of(socket: &OwnedFd) -> Option<Binding> {
        let socket = SockRef::from(socket);
        let kind = socket.r#type().ok()?;
        let address = socket.local_addr().ok()?;
        let listens = kind == Type::DGRAM || socket.is_listener().ok()?;
        match (socket.domain().ok()?, kind) {
            _ if !listens => None,
            (Domain::UNIX, Type::STREAM) => Some(Binding::Unix(address.as_pathname()?.into())),
            (Domain::IPV6, _) if !socket.only_v6().ok()? => None,
            (_, Type::STREAM) => address.as_socket().map(Binding::Tcp),
            (_, Type::DGRAM) => address.as_socket().map(Binding::Udp),
            _ => None,
        }
    }

    /// Returns whether the next process can ask for the same.
    fn lasts(&self) -> bool {
        match self {
            Binding::Tcp(address) | Binding::Udp(address) => address.port() != 0,
            Binding::Unix(_) => true,
        }
    }

    /// Returns its name in the manager's store. People see it in
    /// `systemd-analyze fdstore`, and it tells the manager which socket to forget. A name
    /// has at most 255 bytes and no colon.
    fn name(&self, purpose: &str) -> String {
        match self {
            Binding::Tcp(at) | Binding::Udp(at) => {
                let ip = at.ip().to_string().replace(':', "_");
                format!("{MARK}{purpose}/{ip}/{}", at.port())
            }
            Binding::Unix(_) => format!("{MARK}{purpose}"),
        }
    }
}

/// The beginning of the names of sockets that a process of this program has stored. It
/// distinguishes them from those of a `.socket` unit.
const MARK: &str = "p2p-node/";

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Binding::Tcp(at) => write!(f, "TCP {at}"),
            Binding::Udp(at) => write!(f, "UDP {at}"),
            Binding::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A socket that the manager handed over.
#[derive(Debug)]
struct Inherited {
    name: String,
    binding: Option<Binding>,
    socket: OwnedFd,
}

/// The sockets that were inherited and are not in use yet, and the means to let the
/// manager keep new ones. Clones share them. The default has none and keeps none.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    notifier: Notifier,
    waiting: Arc<Mutex<Vec<Inherited>>>,
}

impl Sockets {
    /// Returns the sockets that the manager handed over, with their names.
    pub fn new(notifier: Notifier, inherited: Vec<(String, OwnedFd)>) -> Sockets {
        let waiting = inherited
            .into_iter()
            .map(|(name, socket)| Inherited {
                name,
                binding: Binding::of(&socket),
                socket,
            })
            .collect();
        Sockets {
            notifier,
            waiting: Arc::new(Mutex::new(waiting)),
        }
    }

    /// Closes every inherited socket that is not `wanted`, and waits until the manager
    /// has closed its copy too, since another socket may need the port. This takes two
    /// seconds if the manager does not answer, so it is not for a task.
    pub fn keep_only(&self, wanted: &[Binding]) {
        let surplus: Vec<Inherited> = {
            let mut waiting = self.lock();
            let mut seen: Vec<Binding> = Vec::new();
            let (kept, surplus) = std::mem::take(&mut *waiting).into_iter().partition(|one| {
                let Some(binding) = &one.binding else {
                    return false;
                };
                let first = wanted.contains(binding) && !seen.contains(binding);
                if first {
                    seen.push(binding.clone());
                }
                first
            });
            *waiting = kept;
            surplus
        };
        self.close(surplus);
    }

    /// Closes the sockets that were not taken.
    pub fn close_rest(&self) {
        let rest = std::mem::take(&mut *self.lock());
        self.close(rest);
    }

    fn close(&self, surplus: Vec<Inherited>) {
        if surplus.is_empty() {
            return;
        }
        for one in surplus {
            let what = one
                .binding
                .as_ref()
                .map_or("unusable".into(), Binding::to_string);
            log::info!(socket = what.as_str(), name = one.name.as_str(); "inherited a socket that is not needed; closing it");
            if one.name.starts_with(MARK) {
                self.notifier.forget(&one.name);
            }
        }
        if !self.notifier.barrier() {
            log::warn!(
                "the service manager has not closed surplus sockets yet; a port may look taken"
            );
        }
    }

    fn take(&self, binding: &Binding) -> Option<OwnedFd> {
        let mut waiting = self.lock();
        let at = waiting
            .iter()
            .position(|one| one.binding.as_ref() == Some(binding))?;
        let found = waiting.swap_remove(at);
        let socket = Socket::from(found.socket);
        if let Err(e) = socket.set_nonblocking(true) {
            log::warn!(socket:% = binding, error:% = e; "an inherited socket is not usable");
            return None;
        }
        log::debug!(socket:% = binding, name = found.name.as_str(); "using the inherited socket");
        Some(socket.into())
    }

    /// Takes the inherited TCP listener at exactly `address`, in non-blocking mode.
    pub fn take_tcp(&self, address: SocketAddr) -> Option<TcpListener> {
        self.take(&Binding::Tcp(address)).map(TcpListener::from)
    }

    /// Takes the inherited UDP socket at exactly `address`, in non-blocking mode.
    pub fn take_udp(&self, address: SocketAddr) -> Option<UdpSocket> {
        self.take(&Binding::Udp(address)).map(UdpSocket::from)
    }

    /// Takes the inherited listener at `path`, in non-blocking mode. The path may no
    /// longer lead to it.
    pub fn take_unix(&self, path: &Path) -> Option<UnixListener> {
        self.take(&Binding::Unix(path.into()))
            .map(UnixListener::from)
    }

    /// Lets the manager keep a socket that was opened for `asked`, under a name with its
    /// `purpose` (a word). A socket with a port that the kernel chose is not kept, since
    /// the next process asks for another. Returns whether the manager was told.
    pub fn keep(&self, purpose: &str, asked: &Binding, socket: BorrowedFd<'_>) -> bool {
        if !asked.lasts() || !self.notifier.is_connected() {
            return false;
        }
        let stored = self.notifier.store(&asked.name(purpose), socket);
        if let Err(e) = &stored {
            log::warn!(socket:% = asked, error:% = e; "the service manager cannot keep a socket; clients that come during a restart will be refused");
        }
        stored.is_ok()
    }

    /// Does the same as [`Sockets::keep`] for a socket that replaces one that was kept
    /// under the same name. The manager forgets that one first.
    pub fn keep_instead(&self, purpose: &str, asked: &Binding, socket: BorrowedFd<'_>) -> bool {
        if self.notifier.is_connected() {
            self.notifier.forget(&asked.name(purpose));
        }
        self.keep(purpose, asked, socket)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Inherited>> {
        // A list of sockets is valid even if a thread panicked while it held the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inherited(sockets: Vec<(&str, OwnedFd)>) -> Sockets {
        let sockets = sockets
            .into_iter()
            .map(|(n, s)| (n.to_owned(), s))
            .collect();
        Sockets::new(Notifier::default(), sockets)
    }

    fn v6(both: bool, kind: Type) -> (SocketAddr, OwnedFd) {
        let socket = Socket::new(Domain::IPV6, kind, None).unwrap();
        socket.set_only_v6(!both).unwrap();
        let any: SocketAddr = "[::]:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        if kind == Type::STREAM {
            socket.listen(1).unwrap();
        }
        (
            socket.local_addr().unwrap().as_socket().unwrap(),
            socket.into(),
        )
    }

    #[test]
    fn a_socket_is_taken_by_its_own_address_and_once() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (tcp_at, udp_at) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
        let sockets = inherited(vec![("x", tcp.into()), ("y", udp.into())]);
        assert!(sockets.take_udp(tcp_at).is_none());
        let any = SocketAddr::new("0.0.0.0".parse().unwrap(), tcp_at.port());
        assert!(sockets.take_tcp(any).is_none());
        let taken = sockets.take_tcp(tcp_at).unwrap();
        assert_eq!(taken.local_addr().unwrap(), tcp_at);
        assert_eq!(
            taken.accept().unwrap_err().kind(),
            std::io::ErrorKind::WouldBlock
        );
        assert!(sockets.take_tcp(tcp_at).is_none());
        assert!(sockets.take_udp(udp_at).is_some());
    }

    #[test]
    fn a_socket_for_both_families_or_one_that_does_not_listen_fits_nothing() {
        let (both_at, both) = v6(true, Type::STREAM);
        let (only_at, only) = v6(false, Type::STREAM);
        let (udp_at, udp) = v6(false, Type::DGRAM);
        let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        silent.bind(&any.into()).unwrap();
        let silent_at = silent.local_addr().unwrap().as_socket().unwrap();
        let sockets = inherited(vec![
            ("a", both),
            ("b", only),
            ("c", silent.into()),
            ("d", udp),
            ("e", std::fs::File::open("/dev/null").unwrap().into()),
        ]);
        assert!(sockets.take_tcp(both_at).is_none());
        assert!(sockets.take_tcp(silent_at).is_none());
        assert!(sockets.take_tcp(only_at).is_some());
        assert!(sockets.take_udp(udp_at).is_some());
    }

    #[test]
    fn what_is_not_wanted_is_closed_and_its_port_free() {
        let keep = TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").unwrap();
        let (keep_at, gone_at) = (keep.local_addr().unwrap(), gone.local_addr().unwrap());
        let twin = keep.try_clone().unwrap();
        let sockets = inherited(vec![
            ("a", keep.into()),
            ("b", gone.into()),
            ("c", twin.into()),
        ]);
        sockets.keep_only(&[Binding::Tcp(keep_at), Binding::Udp(gone_at)]);
        TcpListener::bind(gone_at).unwrap();
        drop(sockets.take_tcp(keep_at).unwrap());
        // The second socket at this address is closed too, or this would fail.
        TcpListener::bind(keep_at).unwrap();
    }

    #[test]
    fn names_suit_the_manager() {
        let tcp = Binding::Tcp("[fe80::1]:4001".parse().unwrap());
        assert_eq!(tcp.name("tcp"), "p2p-node/tcp/fe80__1/4001");
        let control = Binding::Unix("/run/p2p-node/control.sock".into());
        assert_eq!(control.name("control"), "p2p-node/control");
        assert!(!Binding::Udp("0.0.0.0:0".parse().unwrap()).lasts());
    }
}
