//! Addresses for daemons on loopback. Most listen on port 0 and are asked which port
//! they got. These are for the rest, without a port that is merely hoped to be free.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

/// An address that nobody else uses, for a daemon that must have the same one again
/// after a restart, or must be told its own address when it starts.
///
/// Two test programs that run at the same time have different process ids. Such an
/// id has 22 bits: 16 of them are in the IP address and the rest in the port. The
/// last byte of the IP address, and then the port, count within one program. The
/// ports are below those that the kernel gives out by itself, so that no outgoing
/// connection has one of them. `harness.py` does the same.
pub(crate) fn own_socket() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let (block, last) = (n / 254, (n % 254) as u8 + 1);
    let pid = std::process::id();
    let [high, low] = [pid >> 8 & 0xff, pid & 0xff].map(|byte| byte as u8);
    let port = 10_000 + 64 * block + u16::try_from(pid >> 16).unwrap();
    assert!(port < 32_768, "no addresses are left");
    (Ipv4Addr::new(127, high, low, last), port).into()
}

/// The same as a multiaddr of TCP.
pub(crate) fn own_address() -> String {
    let at = own_socket();
    format!("/ip4/{}/tcp/{}", at.ip(), at.port())
}

/// A port at which nobody listens: a dial to it is refused. The socket is bound for
/// as long as this lives, so that nobody else can begin to listen there.
pub(crate) struct Closed(socket2::Socket);

impl Closed {
    pub(crate) fn new() -> Closed {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).unwrap();
        Closed(socket)
    }

    /// Where it is.
    pub(crate) fn socket(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    /// The same as a multiaddr.
    pub(crate) fn address(&self) -> String {
        let at = self.socket();
        format!("/ip4/{}/tcp/{}", at.ip(), at.port())
    }
}
