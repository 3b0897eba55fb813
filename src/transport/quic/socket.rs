//! A UDP socket for quinn: with batches and segmentation offload, and without the
//! reactor unless the kernel would block.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use async_io::Async;
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use super::Error;
use super::polls::Polls;

/// Largest UDP payload that this node accepts: what IPv6 can carry. Advertised
/// to the remote, which decides by its own probes what it sends.
pub(super) const MAX_RECEIVE_PAYLOAD: u16 = 65_527;

/// Buffers filled by one receive call. Each is 64 KiB, the size of a fully
/// coalesced batch, and becomes resident once it has been used; eight of them
/// bound that to 512 KiB a socket and lose nothing measurable against quinn's 32.
const RECEIVE_BATCH: usize = 8;

/// Bytes that the kernel takes in one segmented send: an IP packet's 65,535 less
/// the longest headers. More is refused with EMSGSIZE.
pub(super) const MAX_SEGMENTED_SEND: usize = 65_535 - 48;

/// Receive errors in a row after which a socket counts as broken. The kernel
/// reports an ICMP error once each, so that so many in a row do not come from the network.
const MAX_RECEIVE_ERRORS: usize = 64;

/// A UDP socket bound for QUIC.
pub(super) struct Socket {
    io: Arc<Async<UdpSocket>>,
    state: UdpSocketState,
    /// Set by a send that would block, cleared when the reactor says otherwise.
    blocked: AtomicBool,
    /// While one of them takes long, nothing is received.
    polls: Polls,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("io", &self.io)
            .finish_non_exhaustive()
    }
}

impl Socket {
    /// Takes over a bound socket.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        Ok(Self {
            state: UdpSocketState::new((&socket).into())?,
            io: Arc::new(Async::new_nonblocking(socket)?),
            blocked: AtomicBool::new(false),
            polls: Polls::default(),
        })
    }

    /// Where the polls of the tasks that use this socket are to be announced.
    pub(super) fn polls(&self) -> Polls {
        self.polls.clone()
    }

    /// The socket itself.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.get_ref().as_fd()
    }

    /// Binds `address` and asks for buffers of `buffer` bytes each way.
    pub(super) fn bind(address: SocketAddr, buffer: usize) -> Result<Self, Error> {
        let open = || -> io::Result<Self> {
            let socket = RawSocket::new(
                Domain::for_address(address),
                Type::DGRAM,
                Some(Protocol::UDP),
            )?;
            if address.is_ipv6() {
                // IPv4 has sockets of its own; one socket for both would hide
                // which family an address belongs to.
                socket.set_only_v6(true)?;
            }
            socket.set_nonblocking(true)?;
            ask_for_buffers(&socket, buffer);
            socket.bind(&address.into())?;
            Self::new(socket.into())
        };
        open().map_err(|source| Error::Bind { address, source })
    }
}

/// Asks for socket buffers of `bytes` each way, and says once in the life of the
/// process when the kernel gives less.
fn ask_for_buffers(socket: &RawSocket, bytes: usize) {
    static SAID: Once = Once::new();
    // Both calls clamp silently; what was given is read back below.
    let _ = socket.set_recv_buffer_size(bytes);
    let _ = socket.set_send_buffer_size(bytes);
    // Linux reports twice the size, to account for its own bookkeeping.
    let given = |size: io::Result<usize>| size.unwrap_or(0) / 2;
    let (receive, send) = (
        given(socket.recv_buffer_size()),
        given(socket.send_buffer_size()),
    );
    if receive < bytes || send < bytes {
        SAID.call_once(|| {
            log::warn!(
                asked = bytes, receive = receive, send = send;
                "the kernel gives QUIC smaller socket buffers than asked for, which costs \
                 throughput; raise them with: sysctl -w net.core.rmem_max={bytes} \
                 net.core.wmem_max={bytes}"
            );
        });
    }
}

/// The largest IP packet, bytes, that the route to `remote` carries as far as
/// this host knows, and whether there is a route at all.
pub(super) fn route_mtu(remote: SocketAddr) -> io::Result<Option<u16>> {
    let socket = RawSocket::new(
        Domain::for_address(remote),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    // Connecting a UDP socket looks up the route and sends nothing.
    socket.connect(&remote.into())?;
    Ok(connected_mtu(&socket))
}

#[cfg(target_os = "linux")]
fn connected_mtu(socket: &RawSocket) -> Option<u16> {
    use nix::sys::socket::{getsockopt, sockopt::IpMtu};
    let mtu = getsockopt(socket, IpMtu).ok()?;
    // Loopback reports 65,536, one more than an IP packet can have.
    Some(u16::try_from(mtu).unwrap_or(if mtu > 0 { u16::MAX } else { return None }))
}

#[cfg(not(target_os = "linux"))]
fn connected_mtu(_: &RawSocket) -> Option<u16> {
    None
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller {
            socket: self,
            writable: None,
        })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let send = |transmit: &Transmit<'_>| {
            let result = self.state.send((&*self.io).into(), transmit);
            if matches!(&result, Err(e) if e.kind() == io::ErrorKind::WouldBlock) {
                self.blocked.store(true, Ordering::Release);
            }
            result
        };
        match transmit.segment_size {
            Some(segment) if transmit.contents.len() > MAX_SEGMENTED_SEND => {
                // quinn counts segments, the kernel bytes. A part that would
                // block is sent again with the whole: duplicates cost QUIC
                // nothing but their bytes, and happen only with jumbo frames.
                let per_send = (MAX_SEGMENTED_SEND / segment).max(1) * segment;
                for part in transmit.contents.chunks(per_send) {
                    send(&Transmit {
                        contents: part,
                        segment_size: (part.len() > segment).then_some(segment),
                        ..transmit.clone()
                    })?;
                }
                Ok(())
            }
            _ => send(transmit),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        ready!(self.polls.poll_none_is_long(Instant::now(), cx));
        let batch = bufs.len().min(RECEIVE_BATCH);
        let mut errors = 0;
        loop {
            match self
                .state
                .recv((&*self.io).into(), &mut bufs[..batch], meta)
            {
                Ok(count) => return Poll::Ready(Ok(count)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.io.poll_readable(cx))?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    // An ICMP answer to something sent, or an interface that went
                    // down: nothing that concerns the socket as a whole.
                    errors += 1;
                    log::debug!(error:% = e; "receiving QUIC datagrams");
                    if errors > MAX_RECEIVE_ERRORS {
                        return Poll::Ready(Err(e));
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        // quinn makes room for this many datagrams of the largest size in each
        // buffer. The kernel coalesces to 64 KiB at most, so that one is enough;
        // its own answer of 64 would make that buffer 134 MB.
        1
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

type Writable = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// Waits until a socket that would have blocked takes datagrams again.
struct Poller {
    socket: Arc<Socket>,
    writable: Option<Writable>,
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl UdpPoller for Poller {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.socket.blocked.load(Ordering::Acquire) {
            this.writable = None;
            return Poll::Ready(Ok(()));
        }
        let writable = this
            .writable
            .get_or_insert_with(|| Box::pin(this.socket.io.clone().writable_owned()));
        let result = ready!(writable.as_mut().poll(cx));
        this.writable = None;
        this.socket.blocked.store(false, Ordering::Release);
        Poll::Ready(result)
    }
}

#[cfg(test)]
mod tests {
    use async_std::task::block_on;
    use futures::future::poll_fn;

    use super::*;

    /// Sends `contents` in segments from one socket to another and returns how
    /// the receiving one got them: bytes and segment size of each buffer.
    fn deliver(address: &str, contents: &[u8], segment: usize) -> Vec<(usize, usize)> {
        let bind = || Socket::bind(address.parse().unwrap(), 1 << 20).unwrap();
        let (from, to) = (bind(), bind());
        from.try_send(&Transmit {
            destination: to.local_addr().unwrap(),
            ecn: None,
            contents,
            segment_size: (contents.len() > segment).then_some(segment),
            src_ip: None,
        })
        .unwrap();
        block_on(async {
            let mut received = Vec::new();
            let mut seen = 0;
            while seen < contents.len() {
                let mut buffers = vec![vec![0; 1 << 16]; 4];
                let mut slices: Vec<_> = buffers.iter_mut().map(|b| IoSliceMut::new(b)).collect();
                let mut meta = vec![RecvMeta::default(); 4];
                let count = poll_fn(|cx| to.poll_recv(cx, &mut slices, &mut meta))
                    .await
                    .unwrap();
                for (slice, meta) in slices.iter().zip(&meta).take(count) {
                    assert_eq!(slice[..meta.len], contents[seen..seen + meta.len]);
                    seen += meta.len;
                    received.push((meta.len, meta.stride));
                }
            }
            received
        })
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i / 7) as u8).collect()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_batch_crosses_the_kernel_in_one_piece() {
        // Segmentation offload on the way out, coalescing on the way in: without
        // either of them ten buffers would arrive.
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let received = deliver(address, &pattern(10 * 1200), 1200);
            assert_eq!(received, [(12_000, 1200)], "{address}");
        }
    }

    #[test]
    fn a_batch_above_what_the_kernel_takes_is_split() {
        let received = deliver("127.0.0.1:0", &pattern(10 * 8952 - 1), 8952);
        assert!(received.len() > 1);
        assert!(received.iter().all(|(_, segment)| *segment <= 8952));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_kernel_tells_what_loopback_carries() {
        for remote in ["127.0.0.1:9", "[::1]:9"] {
            assert!(
                route_mtu(remote.parse().unwrap()).unwrap().unwrap() > 1500,
                "{remote}"
            );
        }
    }

    #[test]
    fn an_address_without_a_route_is_an_error() {
        // A broadcast needs a permission that such a socket does not have.
        assert!(route_mtu("255.255.255.255:9".parse().unwrap()).is_err());
    }
}
