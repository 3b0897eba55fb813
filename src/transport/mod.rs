//! The transports of the node: how bytes reach other hosts.
//!
//! ```text
//!   swarm
//!     │  (PeerId, StreamMuxer)
//!     ├── relay client ───────── TLS or Noise, yamux
//!     └── names in addresses
//!           ├── QUIC ──────────────── (brings its own of all three)
//!           ├── WebSocket over TCP ── [network key], TLS or Noise, yamux
//!           └── TCP ───────────────── [network key], TLS or Noise, yamux
//! ```
//!
//! | file | holds |
//! |---|---|
//! | [`dns`] | names in addresses |
//! | [`tcp`] | TCP sockets for libp2p |
//! | [`quic`] | QUIC, with its own encryption and multiplexing |
//! | [`yamux`] | the multiplexer on top of them |
//! | [`security`] | TLS 1.3 or Noise |
//! | [`handshake`] | what a connection may do before its remote has proved who it is, and until when |
//! | [`tls`] | TLS 1.3 over a stream of bytes |
//! | [`one_way`] | streams that this side only writes to |
//! | [`memory`] | the memory that all connections together may hold |
//! | [`buffer`] | the memory that connections use while they are busy |
//!
//! libp2p 0.57 has transports for tokio only; these are the same protocols on
//! async-std's reactor.

pub(crate) mod buffer;
pub mod dns;
pub(crate) mod handshake;
pub mod memory;
pub(crate) mod one_way;
pub mod quic;
mod security;
pub mod tcp;
#[cfg(test)]
mod tests;
mod tls;
pub(crate) mod yamux;

use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::Negotiated;
use libp2p::core::Transport;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::{
    InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo, Version,
};
use libp2p::identity::Keypair;
use libp2p::pnet::{PnetConfig, PreSharedKey};
use libp2p::{PeerId, noise, relay, websocket};
use prometheus::{IntCounter, IntCounterVec};

pub(crate) use handshake::REASONS as HANDSHAKE_REASONS;
pub use security::Security;

use crate::system::sockets::Sockets;

/// The transport of the swarm: connections to peers that proved their identity.
pub type Stack = Boxed<(PeerId, StreamMuxerBox)>;

/// Settings of the transports.
#[derive(Clone, Debug)]
pub struct Options {
    /// Key of a private network: only holders of the key can talk to this node.
    pub network_key: Option<PreSharedKey>,
    /// Concurrent streams of one connection that the remote opened.
    pub max_inbound_streams: usize,
    /// Concurrent streams of one connection that this node opened.
    pub max_outbound_streams: usize,
    /// Counts inbound streams over the limit, which are reset.
    pub surplus_streams: Option<IntCounter>,
    /// Counts handshakes that were cut off, by `reason` (`bytes`, `reads`, `deadline`).
    pub handshakes_cut_off: Option<IntCounterVec>,
    /// What all connections together may hold of what peers send.
    pub memory: memory::Memory,
    /// Time from the start of a connection until it is encrypted and
    /// multiplexed, for both directions.
    pub handshake_timeout: Duration,
    /// Which ciphers to offer over TCP, best first.
    pub security: Security,
    /// How names in addresses are resolved.
    pub dns: dns::Options,
    /// Called before each dial of an IP address, whether it was resolved or given.
    pub dial_filter: dns::DialFilter,
    /// Tuning of QUIC. Its stream limit and handshake timeout are taken from
    /// the fields above.
    pub quic: quic::Options,
    /// Listening sockets that the last process left, taken in place of new ones.
    pub sockets: Sockets,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            network_key: None,
            max_inbound_streams: 128,
            max_outbound_streams: 256,
            surplus_streams: None,
            handshakes_cut_off: None,
            memory: memory::Memory::default(),
            handshake_timeout: Duration::from_secs(10),
            security: Security::default(),
            dns: dns::Options::default(),
            dial_filter: dns::DialFilter::default(),
            quic: quic::Options::default(),
            sockets: Sockets::default(),
        }
    }
}

/// The transports could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No Noise key could be made from the identity.
    #[error("cannot make a Noise key for this node's identity: {0}")]
    Noise(#[from] noise::Error),
    /// The resolver of names could not be set up.
    #[error(transparent)]
    Dns(#[from] dns::Error),
    /// QUIC, or TLS with its settings, could not be set up.
    #[error(transparent)]
    Quic(#[from] quic::Error),
}

/// Makes the stack of transports for `identity`, and the behaviour that belongs
/// to its relay part.
///
/// # Errors
/// When the identity cannot sign the keys of the handshakes, or the options of
/// the resolver or of QUIC are not usable.
pub fn build(
    identity: &Keypair,
    options: &Options,
) -> Result<(Stack, relay::client::Behaviour), BuildError> {
    async_std::task::spawn_blocking(seed_random_numbers);
    let upgrade = Upgrade {
        security: security::Config::new(identity, options.security)?,
        muxer: yamux::Config::new(options.max_inbound_streams, options.max_outbound_streams)
            .counting(options.surplus_streams.clone())
            .charging(options.memory.clone()),
        network_key: options.network_key,
        timeout: options.handshake_timeout,
        cut_off: options.handshakes_cut_off.clone(),
    };
    let (relay, behaviour) = relay::client::new(identity.public().to_peer_id());
    let resolver = dns::Resolver::new(options.dns.clone())?;
    let tcp = tcp::Transport::with_sockets(options.sockets.clone());

    // Names are resolved by the outermost transport, so that `/dnsaddr` may lead to
    // any transport. Only WebSocket needs to see the name too, for its Host header and
    // the certificate of `/wss`, and has a resolver below it.
    let named = dns::Transport::with_resolver(tcp.sibling(), resolver.clone())
        .with_dial_filter(options.dial_filter.clone());
    let named_websocket = upgrade.apply_private(framed(named));
    let websocket = upgrade.apply_private(framed(tcp.sibling()));
    let plain = or(websocket, upgrade.apply_private(tcp));
    let plain = match options.network_key {
        // The network key encrypts a stream of bytes, and QUIC has none.
        Some(_) => {
            log::info!("QUIC is off: a private network (P2P_NETWORK_KEY_FILE) is TCP only");
            plain
        }
        None => {
            let tuning = quic::Options {
                max_inbound_streams: options.max_inbound_streams.try_into().unwrap_or(u32::MAX),
                handshake_timeout: options.handshake_timeout,
                memory: options.memory.clone(),
                ..options.quic.clone()
            };
            let quic = quic::Transport::new(identity, tuning)?
                .with_sockets(options.sockets.clone())
                .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
            or(quic.boxed(), plain)
        }
    };
    let resolved = dns::Transport::with_resolver(plain, resolver)
        .with_dial_filter(options.dial_filter.clone())
        .boxed();

    let relay = relay.map(|circuit, _| handshake::Bounded::new(circuit));
    let stack = or(upgrade.apply(relay), or(named_websocket, resolved));
    Ok((stack, behaviour))
}

/// The largest message that this node takes over WebSocket, in one frame or in several.
/// The whole of it is kept in memory, from the moment when its first frame announces its
/// size. Implementations send what they write at once as one frame. That is a record of
/// TLS or a message of Noise, which the specifications limit to 64 KiB, or several that
/// were collected: in this node's own buffers 128 KiB. Others have four times as much.
const MAX_WEBSOCKET_MESSAGE: usize = 512 * 1024;

/// WebSocket over `transport`.
fn framed<T>(transport: T) -> websocket::Config<T>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    let mut websocket = websocket::Config::new(transport);
    websocket
        .set_max_data_size(MAX_WEBSOCKET_MESSAGE)
        // A server that peers may name must not send this node on to another one.
        .set_max_redirects(0);
    websocket
}

/// Makes AWS-LC collect the entropy that its random numbers begin with. It measures the
/// jitter of the processor for that, which takes 50 to 100 ms, once in the process. The
/// first handshake would do it otherwise, and hold a thread of the executor meanwhile.
fn seed_random_numbers() {
    // If there are none, the first handshake fails with the reason.
    let _ = aws_lc_rs::rand::fill(&mut [0; 1]);
}

fn or(first: Stack, second: Stack) -> Stack {
    first
        .or_transport(second)
        .map(|either, _| either.into_inner())
        .boxed()
}

/// Turns streams of bytes into authenticated, multiplexed connections.
#[derive(Clone)]
struct Upgrade {
    security: security::Config,
    muxer: yamux::Config,
    network_key: Option<PreSharedKey>,
    timeout: Duration,
    cut_off: Option<IntCounterVec>,
}

impl Upgrade {
    /// The steps for a transport that crosses the network: the network key first.
    fn apply_private<T>(&self, transport: T) -> Stack
    where
        T: Transport + Send + Unpin + 'static,
        T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        T::Error: Send + Sync + 'static,
        T::Dial: Send + 'static,
        T::ListenerUpgrade: Send + 'static,
    {
        match self.network_key {
            None => self.apply(transport),
            Some(key) => self
                .apply(transport.and_then(move |stream, _| PnetConfig::new(key).handshake(stream))),
        }
    }

    /// Security, then multiplexing, in limited time.
    fn apply<T>(&self, transport: T) -> Stack
    where
        T: Transport + Send + Unpin + 'static,
        T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        T::Error: Send + Sync + 'static,
        T::Dial: Send + 'static,
        T::ListenerUpgrade: Send + 'static,
    {
        let secured = transport
            .upgrade(Version::V1Lazy)
            .authenticate(self.security.clone())
            .multiplex_ext({
                let muxer = self.muxer.clone();
                move |peer, _| muxer.with(*peer)
            })
            .timeout(self.timeout)
            .boxed();
        handshake::Transport::new(secured, self.timeout, self.cut_off.clone()).boxed()
    }
}

/// The caller's `security` and this node's multiplexer over a transport of the
/// caller's: for networks in memory, whose bytes nobody else can see.
#[doc(hidden)]
pub fn over<T, S, C, E>(transport: T, security: S, options: &Options) -> Stack
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    E: std::error::Error + Send + Sync + 'static,
    S: InboundConnectionUpgrade<Negotiated<T::Output>, Output = (PeerId, C), Error = E>,
    S: OutboundConnectionUpgrade<Negotiated<T::Output>, Output = (PeerId, C), Error = E>,
    S: Clone + Send + 'static,
    S::Info: Send,
    <S as UpgradeInfo>::InfoIter: Send,
    <<S as UpgradeInfo>::InfoIter as IntoIterator>::IntoIter: Send,
    <S as InboundConnectionUpgrade<Negotiated<T::Output>>>::Future: Send,
    <S as OutboundConnectionUpgrade<Negotiated<T::Output>>>::Future: Send,
{
    let muxer = yamux::Config::new(options.max_inbound_streams, options.max_outbound_streams)
        .counting(options.surplus_streams.clone())
        .charging(options.memory.clone());
    transport
        .upgrade(Version::V1Lazy)
        .authenticate(security)
        .multiplex(muxer)
        .timeout(options.handshake_timeout)
        .boxed()
}
