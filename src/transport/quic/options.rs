//! What can be tuned, and why each default is what it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

use super::congestion::{Factory, LastPacket};
use super::socket::MAX_SEGMENTED_SEND;
use super::{Error, credit, window};
use crate::peers::Policy;
use crate::peers::rate::Rate;
use crate::transport::memory::Memory;

/// Tuning of the QUIC transport. [`Options::default`] suits a node on the
/// public internet; the reasons stand at the fields.
#[derive(Clone, Debug)]
pub struct Options {
    /// Streams that a remote may hold open on one connection. 128, the default
    /// of `P2P_MAX_INBOUND_STREAMS`: protocols open one stream per request, and
    /// more in flight than this is a remote that does not wait for answers.
    pub max_inbound_streams: u32,
    /// Silence after which a connection is given up; the smaller of both sides
    /// counts. 30 s, as go-libp2p: long enough to outlive a route change.
    pub idle_timeout: Duration,
    /// Silence after which a keep-alive is sent. 5 s: half of the 10 s idle
    /// timeout of rust-libp2p nodes, and far below the 30 s after which home
    /// routers forget a UDP mapping.
    pub keep_alive: Duration,
    /// Time that a handshake, or a hole punch with its handshake, may take. 10 s:
    /// three lost first packets with their doubling timeouts, and a slow relay.
    pub handshake_timeout: Duration,
    /// Bytes that a remote may send on one stream before they are read, which is what a
    /// stream that nobody reads can make this node hold; quinn grants it once and for
    /// all. 2 MiB keeps 160 Mbit/s busy at 100 ms round trip, and 1 Gbit/s at 16 ms. A
    /// transfer on a longer path uses several streams, or TCP.
    pub stream_receive_window: u32,
    /// Bytes that a remote may send on all streams of a connection before they
    /// are read, and so the memory that one remote can make this node hold, at most. It
    /// begins with 3 MiB and grows while they are read quickly (`window`). 12 MiB: six
    /// streams at their limit.
    pub receive_window: u32,
    /// Bytes written to a connection's streams and not yet acknowledged that are
    /// held for retransmission. 12 MiB: the window of the other side.
    pub send_window: u64,
    /// Largest UDP payload, bytes, that is ever sent; path MTU discovery works
    /// its way up to it. 13,097: a fifth of what the kernel takes in one segmented
    /// send, so that the ten datagrams which quinn sends at once fill two of them,
    /// and more than Ethernet's jumbo frames of 9,000 bytes carry. Only loopback and
    /// some virtual networks carry more. There quinn would keep 64 KiB to send from
    /// for each connection, idle or not, and ten times that once it has sent much.
    /// One large transfer over loopback was as fast in some runs with it as with
    /// 64 KiB, and 18% slower in others. What the way to the remote carries at most
    /// is asked of the kernel for each connection, so that no probe is spent on
    /// sizes above the interface's own.
    pub max_udp_payload: u16,
    /// Bytes asked of the kernel for each of a socket's two buffers. 4 MiB: 33 ms
    /// of arrivals at 1 Gbit/s, about what a busy executor may make them wait.
    /// Most kernels give less until `net.core.rmem_max` and `wmem_max` are raised.
    pub socket_buffer: usize,
    /// Handshakes under way from which on a newcomer must first prove its address
    /// by a Retry. 32: normal churn stays below, so that honest peers rarely pay
    /// the extra round trip, and a flood from forged addresses ends here.
    pub retry_above: usize,
    /// Connections that one subnet may begin without proving its address: four at
    /// once and one each five seconds, so that a peer which comes and stays pays
    /// no extra round trip, and one that comes again and again pays it.
    pub unproven: Rate,
    /// What makes two addresses one subnet.
    pub policy: Policy,
    /// Where the growth of windows is taken from.
    pub memory: Memory,
    /// Handshakes under way on all listeners together; further ones wait in a
    /// queue. 256: each costs about 100 KiB and a millisecond of signatures.
    pub max_pending_handshakes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_inbound_streams: 128,
            idle_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(10),
            stream_receive_window: 2 << 20,
            receive_window: 12 << 20,
            send_window: 12 << 20,
            max_udp_payload: MAX_UDP_PAYLOAD,
            socket_buffer: 4 << 20,
            retry_above: 32,
            unproven: Rate {
                per_second: 0.2,
                burst: 4.0,
            },
            policy: Policy::default(),
            memory: Memory::default(),
            max_pending_handshakes: 256,
        }
    }
}

/// What the remote of an established connection may do.
#[derive(Clone, Debug)]
pub(super) struct Grants {
    /// Streams that it may hold open.
    pub(super) max_inbound_streams: u32,
    /// Bytes that it may send before they are read, at first and at most.
    pub(super) first_window: u32,
    pub(super) max_window: u32,
    /// Where the growth from the one to the other is taken from.
    pub(super) memory: Memory,
}

/// Five of these fill a segmented send.
const MAX_UDP_PAYLOAD: u16 = (MAX_SEGMENTED_SEND / 5) as u16;

/// The least that every QUIC path carries (RFC 9000, section 14).
const MIN_UDP_PAYLOAD: u16 = 1_200;

/// What QUIC may assume to pass on today's internet; used where the kernel does
/// not tell the MTU of a route. Ethernet's 1,500 less IPv6 and UDP headers.
const USUAL_UDP_PAYLOAD: u16 = 1_452;

impl Options {
    /// Refuses combinations that could never work.
    pub(super) fn validate(&self) -> Result<(), Error> {
        let refuse = |reason: &'static str| Err(Error::Options { reason });
        if self.max_udp_payload < MIN_UDP_PAYLOAD {
            return refuse("max_udp_payload must be at least 1200, the least QUIC allows");
        }
        if self.keep_alive >= self.idle_timeout {
            return refuse("keep_alive must be shorter than idle_timeout");
        }
        if self.max_pending_handshakes == 0 {
            return refuse("max_pending_handshakes must be at least 1");
        }
        if IdleTimeout::try_from(self.idle_timeout).is_err() {
            return refuse("idle_timeout is too long");
        }
        Ok(())
    }

    /// What the remote of a connection may do.
    pub(super) fn grants(&self) -> Grants {
        Grants {
            max_inbound_streams: self.max_inbound_streams,
            first_window: window::first(self.stream_receive_window, self.receive_window),
            max_window: self.receive_window,
            memory: self.memory.clone(),
        }
    }

    /// quinn's settings for a connection to `remote` whose route carries IP
    /// packets of `route_mtu` bytes.
    pub(super) fn for_path(
        &self,
        remote: SocketAddr,
        route_mtu: Option<u16>,
        last: &LastPacket,
    ) -> Arc<TransportConfig> {
        let headers = if remote.is_ipv6() { 48 } else { 28 };
        let upper = route_mtu
            .map_or(USUAL_UDP_PAYLOAD, |mtu| mtu.saturating_sub(headers))
            .clamp(MIN_UDP_PAYLOAD, self.max_udp_payload);
        let mut mtu = MtuDiscoveryConfig::default();
        mtu.upper_bound(upper);

        let mut config = TransportConfig::default();
        config
            .max_concurrent_bidi_streams(credit::first(self.max_inbound_streams).into())
            // libp2p uses neither unidirectional streams nor datagrams.
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            .max_idle_timeout(IdleTimeout::try_from(self.idle_timeout).ok())
            .keep_alive_interval(Some(self.keep_alive))
            .stream_receive_window(self.stream_receive_window.into())
            .receive_window(self.grants().first_window.into())
            .send_window(self.send_window)
            // The spin bit lets observers on the path measure the round trip.
            .allow_spin(false)
            .mtu_discovery_config(Some(mtu))
            .congestion_controller_factory(Arc::new(Factory::new(upper, last.clone())));
        Arc::new(config)
    }
}
